/* edge-eval meter: joules of a command, as perf stat does cycles. */
#include "cmd.h"
#include "meter_job.h"

#include "base/clock.h"
#include "base/fs.h"
#include "energy/baseline.h"
#include "energy/note.h"
#include "metrics/prices.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const usage[] = {
    "meter [OPTIONS] -- COMMAND [ARGUMENT...]",
    "meter [OPTIONS] --pid PID",
    "meter [OPTIONS] --duration SECONDS",
    NULL,
};

enum { MAX_REPEATS = 1000, CANNOT_RUN_STATUS = 126, NOT_FOUND_STATUS = 127 };

struct meter_args {
    bool as_json, with_cost;
    const char *output, *csv, *openmetrics, *source, *gpus, *idle, *region, *prices;
    int64_t interval_ms, repeats, pid;
    double duration_s, usd_per_kwh;
    char *const *command;
    int n_command;
};

static int check_args(const struct meter_args *a, struct err *e) {
    if (a->command && (a->pid || a->duration_s > 0)) {
        return err_set(e, EE_USAGE,
                       "give a command or --pid or --duration: a command is measured "
                       "until it ends");
    }
    if (!a->command && !a->pid && a->duration_s <= 0) {
        return err_set(e, EE_USAGE, "usage: edge-eval %s (see: edge-eval help meter)", usage[0]);
    }
    if (a->pid < 0 || a->pid > INT32_MAX || a->duration_s < 0) {
        return err_set(e, EE_USAGE, "--pid and --duration must be positive");
    }
    if (a->repeats < 1 || a->repeats > MAX_REPEATS) {
        return err_set(e, EE_USAGE, "--repeat must be 1 to %d", MAX_REPEATS);
    }
    if (a->repeats > 1 && !a->command) {
        return err_set(e, EE_USAGE, "--repeat needs a command that can be run again");
    }
    if (a->interval_ms && (a->interval_ms < 10 || a->interval_ms > 10000)) {
        return err_set(e, EE_USAGE, "--interval must be 10 to 10000 ms");
    }
    if (a->with_cost && isnan(a->usd_per_kwh) && !a->region) {
        return err_set(e, EE_USAGE,
                       "--cost needs the price of electricity: --kwh-usd 0.15, or --electricity "
                       "REGION of the price book");
    }
    if (a->region && !isnan(a->usd_per_kwh)) {
        return err_set(e, EE_USAGE, "give --kwh-usd or --electricity, not both");
    }
    if (a->prices && !a->region) {
        return err_set(e, EE_USAGE, "--prices needs --electricity REGION, an entry of it");
    }
    if (a->usd_per_kwh < 0) {
        return err_set(e, EE_USAGE, "--kwh-usd must not be negative");
    }
    return 0;
}

/* "sleep 5", "process 4711", "this machine for 5 s". */
static void describe(const struct meter_args *a, struct buf *out) {
    if (a->command) {
        for (int i = 0; i < a->n_command; i++) {
            buf_addf(out, "%s%s", i ? " " : "", a->command[i]);
        }
        for (size_t i = 0; i < out->len; i++) { /* a script may hold whole lines */
            out->data[i] = iscntrl((unsigned char)out->data[i]) ? ' ' : out->data[i];
        }
    } else if (a->pid) {
        buf_addf(out, "process %lld", (long long)a->pid);
    } else {
        buf_addf(out, "this machine for %g s", a->duration_s);
    }
}

/* ---- results ---- */

static int write_file(const char *path, const struct buf *text, struct err *e) {
    int rc = buf_check(text, path, e);
    return rc ? rc : fs_write_atomic(path, text->data, text->len, e);
}

static int write_result(const struct meter_args *a, const struct measurement *m,
                        const struct measurement_summary *s, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = 0;
    if (a->as_json) {
        rc = measurement_json(m, s, &text, e);
        buf_addch(&text, '\n');
    } else {
        measurement_text(m, s, &text);
    }
    rc = rc ? rc : buf_check(&text, "the result", e);
    if (!rc && a->output) {
        rc = write_file(a->output, &text, e);
    } else if (!rc) {
        /* A command's standard output is its own, so what is said about it goes beside it. */
        fputs(text.data, a->command ? stderr : stdout);
    }
    buf_release(&text);
    return rc;
}

static int write_openmetrics(const struct meter_args *a, const struct measurement *m,
                             const struct measurement_summary *s, struct err *e) {
    struct buf text;
    struct timespec now;
    if (!a->openmetrics) {
        return 0;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    buf_init(&text);
    measurement_openmetrics(m, s, (double)now.tv_sec + (double)now.tv_nsec / 1e9, &text);
    int rc = write_file(a->openmetrics, &text, e);
    buf_release(&text);
    return rc;
}

static int write_all(const struct meter_args *a, struct measurement *m, struct meter *meter,
                     struct err *e) {
    struct measurement_summary *s = malloc(sizeof(*s));
    if (!s) {
        return err_set(e, EE_NOMEM, "out of memory for the result");
    }
    meter_stats(meter, &m->stats);
    m->meter_cpu_s = clock_ns_to_s(clock_process_cpu_ns());
    int rc = measurement_summarise(m, s, e);
    rc = rc ? rc : write_result(a, m, s, e);
    rc = rc ? rc : write_openmetrics(a, m, s, e);
    free(s);
    return rc;
}

/* ---- the price book ---- */

static int price_of(const struct price_book *book, const char *region, struct meter_args *a,
                    struct buf *source, struct err *e) {
    const struct price_entry *entry = prices_find(book, PRICE_ELECTRICITY, region);
    char today[24];
    if (!entry) {
        struct buf names;
        buf_init(&names);
        prices_list_names(book, PRICE_ELECTRICITY, &names);
        int rc = err_set(e, EE_USAGE, "the price book has no electricity \"%.60s\"; it has: %s",
                         region, names.data);
        buf_release(&names);
        return rc;
    }
    if (entry->problem || strcmp(entry->currency ? entry->currency : "USD", "USD") != 0) {
        return err_set(e, EE_FORMAT, "%s",
                       entry->problem ? entry->problem
                                      : "the price of electricity must be in USD (docs/prices.md)");
    }
    a->usd_per_kwh = price_value(entry, "per_kwh");
    clock_wall_iso8601(today, sizeof(today));
    buf_addf(source, "%s, %s%s", entry->name, entry->date,
             price_is_stale(entry, today) ? ", stale" : "");
    return buf_check(source, "the price's source", e);
}

static int find_price(struct meter_args *a, struct buf *source, struct err *e) {
    struct arena arena = ARENA_INIT;
    struct price_book book = {0};
    if (!a->region) {
        return 0;
    }
    int rc = cmd_shipped_prices(&arena, &book, e);
    rc = rc || !a->prices ? rc : prices_load(a->prices, &arena, &book, e);
    rc = rc ? rc : price_of(&book, a->region, a, source, e);
    arena_release(&arena);
    return rc;
}

/* ---- measuring ---- */

static int open_csv(const struct meter_args *a, struct meter *meter, FILE **csv, struct err *e) {
    if (!a->csv) {
        return 0;
    }
    *csv = fopen(a->csv, "we");
    if (!*csv) {
        return err_errno(e, errno, "cannot write %s", a->csv);
    }
    meter_job_csv_header(meter, *csv);
    return 0;
}

static int close_csv(const struct meter_args *a, FILE *csv, struct err *e) {
    if (!csv) {
        return 0;
    }
    bool failed = ferror(csv) != 0;
    failed |= fclose(csv) != 0;
    return failed ? err_errno(e, errno, "cannot write all of %s", a->csv) : 0;
}

/* A repeat that a signal cut short is no repeat of the others. */
/*
 * By default a baseline that is there is used, and none is measured: that takes up to a minute, in
 * which a person waits for a command that has not begun.
 */
static int set_idle(const struct meter_args *a, struct meter *meter, struct baseline *b,
                    struct measurement *m, struct err *e) {
    struct err missing = ERR_INIT;
    bool measures = a->idle && strcmp(a->idle, "measure") == 0;
    const struct baseline_opts opts = {.use = measures ? BASELINE_MEASURE : BASELINE_CACHED};
    if ((a->idle && strcmp(a->idle, "none") == 0) || meter_n_components(meter) == 0) {
        return 0;
    }
    if (measures) {
        fputs("edge-eval: measuring idle power, for a minute at most\n", stderr);
    }
    int rc = baseline_get(meter, &opts, b, &missing);
    m->idle_note = b->note;
    if (rc == 0) {
        m->has_idle = true;
        m->idle_is_settled = b->idle.settled;
        m->idle_age_s = b->age_s;
        meter_set_idle(meter, &b->idle);
    } else if (measures) {
        return err_set(e, missing.code, "%s", missing.msg);
    } else {
        note_set(b->note, sizeof(b->note), "%.180s: --idle measure does it", missing.msg);
    }
    return 0;
}

static int measure(const struct meter_args *a, struct meter_job *job, struct measurement *m,
                   struct err *e) {
    int rc = 0;
    for (int64_t k = 0; k < a->repeats && !rc && !meter_job_is_stopped(); k++) {
        job->run = (size_t)k;
        rc = meter_job_run(job, &m->runs[k], e);
        m->n_runs += rc == 0 && (k == 0 || !meter_job_is_stopped());
    }
    if (!rc && (int64_t)m->n_runs < a->repeats) {
        cmd_warn("stopped after %zu of %lld runs", m->n_runs, (long long)a->repeats);
    }
    return rc;
}

/* Of the first repeat that failed, one cut short included. */
static int command_status(const struct meter_args *a, const struct measurement *m) {
    for (int64_t k = 0; k < a->repeats; k++) {
        if (m->runs[k].has_process && m->runs[k].exit_status != 0) {
            return m->runs[k].exit_status;
        }
    }
    return EXIT_OK;
}

/* Told before the command runs and not after hours of it. */
static int check_writable(const char *path, struct err *e) {
    if (!path) {
        return 0;
    }
    char *dir = fs_dirname(path);
    if (!dir) {
        return err_set(e, EE_NOMEM, "out of memory");
    }
    int rc = access(dir, W_OK | X_OK) == 0
                 ? 0
                 : err_set(e, EE_IO, "cannot write %s: %s", path, strerror(errno));
    free(dir);
    return rc;
}

static int run(const struct meter_args *a, struct meter_job *job, struct measurement *m,
               struct err *e) {
    const struct meter_opts opts = {.period_ms = (int)a->interval_ms,
                                    .source = a->source,
                                    .gpus = a->gpus,
                                    .stop = meter_job_stop_flag()};
    int rc = check_writable(a->output, e);
    rc = rc ? rc : check_writable(a->openmetrics, e);
    rc = rc ? rc : meter_start(&job->meter, &opts, e);
    if (rc) {
        return rc;
    }
    m->n_components = meter_n_components(job->meter);
    for (size_t i = 0; i < m->n_components; i++) {
        meter_component_info(job->meter, i, &m->components[i]);
    }
    struct baseline *idle = calloc(1, sizeof(*idle));
    meter_job_catch_signals();
    rc = idle ? set_idle(a, job->meter, idle, m, e) : err_set(e, EE_NOMEM, "out of memory");
    rc = rc ? rc : open_csv(a, job->meter, &job->csv, e);
    rc = rc ? rc : measure(a, job, m, e);
    int csv_rc = close_csv(a, job->csv, rc ? NULL : e);
    if (m->n_runs > 0) {
        int out_rc = write_all(a, m, job->meter, rc ? NULL : e);
        rc = rc ? rc : out_rc;
    }
    meter_stop(job->meter);
    free(idle);
    return rc ? rc : csv_rc;
}

static int meter_main(struct meter_args *a, const struct process_fds *fds) {
    struct err e = ERR_INIT;
    struct buf label;
    struct buf price_source;
    buf_init(&label);
    buf_init(&price_source);
    struct measurement *m = calloc(1, sizeof(*m));
    struct measurement_run *runs = calloc((size_t)a->repeats, sizeof(*runs));
    struct meter_job job = {
        .command = a->command, .fds = *fds, .pid = (pid_t)a->pid, .seconds = a->duration_s};
    describe(a, &label);
    int rc = buf_check(&label, "the command's name", &e);
    rc = rc ? rc : find_price(a, &price_source, &e);
    if (!rc && (!m || !runs)) {
        rc = err_set(&e, EE_NOMEM, "out of memory for %lld repeats", (long long)a->repeats);
    }
    int status = EXIT_FAILED;
    if (!rc) {
        m->label = label.data;
        m->runs = runs;
        m->usd_per_kwh = a->usd_per_kwh;
        m->price_source = price_source.len ? price_source.data : NULL;
        job.gpus = m->gpus;
        rc = run(a, &job, m, &e);
        status = command_status(a, m);
    }
    if (rc) {
        status = cmd_fail(&e);
    }
    if (job.cannot_start) {
        status = rc == EE_MISSING ? NOT_FOUND_STATUS : CANNOT_RUN_STATUS;
    }
    free(runs);
    free(m);
    buf_release(&label);
    buf_release(&price_source);
    return status;
}

static const char *const idle_modes[] = {"cached", "measure", "none", NULL};

int cmd_meter(int argc, char **argv) {
    struct process_fds fds;
    process_fds_now(&fds);
    struct meter_args a = {.repeats = 1, .usd_per_kwh = NAN};
    const struct opt options[] = {
        {OPT_FLAG, 0, "json", &a.as_json, NULL, "print JSON", NULL},
        {OPT_STR, 'o', "output", &a.output, "FILE", "write the result there", NULL},
        {OPT_STR, 0, "csv", &a.csv, "FILE", "write the power of every period as a time series",
         NULL},
        {OPT_INT, 'I', "interval", &a.interval_ms, "MS",
         "period of sampling (default 100; 50 for fast sensors)", NULL},
        {OPT_INT, 'r', "repeat", &a.repeats, "N", "run the command N times, and show the spread",
         NULL},
        {OPT_INT, 'p', "pid", &a.pid, "PID", "measure until that process ends, or Ctrl-C", NULL},
        {OPT_NUM, 0, "duration", &a.duration_s, "SECONDS", "measure that long, no command", NULL},
        {OPT_FLAG, 0, "cost", &a.with_cost, NULL, "what the electricity costs; with one of:", NULL},
        {OPT_NUM, 0, "kwh-usd", &a.usd_per_kwh, "PRICE", "US dollars a kWh, such as 0.15", NULL},
        {OPT_STR, 0, "electricity", &a.region, "REGION", "an entry of the price book, such as eu",
         NULL},
        {OPT_STR, 0, "prices", &a.prices, "FILE", "prices that override the shipped ones", NULL},
        {OPT_STR, 0, "openmetrics", &a.openmetrics, "FILE",
         "write OpenMetrics text, for a node exporter's textfile collector", NULL},
        {OPT_STR, 0, "source", &a.source, "LIST", "energy sources (docs/energy.md; default auto)",
         NULL},
        {OPT_CHOICE, 0, "idle", &a.idle, "MODE", "idle baseline: cached (default), measure or none",
         idle_modes},
        {OPT_STR, 0, "gpus", &a.gpus, "LIST", "only these GPUs: UUIDs, bus ids, gpu0 (default all)",
         NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "meter",
        .usage = usage,
        .summary = "Measure the joules of a command, a process, or the machine.",
        .details =
            "The table goes to standard error when a command runs, whose standard output stays\n"
            "its own; to standard output otherwise. Signals are passed on to the command. Exit\n"
            "status: the command's own, 128 + n when signal n killed it, 127 when it is not\n"
            "there, 126 when it cannot be run; of several runs, that of the first that failed.\n"
            "edge-eval doctor tells which sensors this machine has and how to get more.",
        .options = options,
        .max_operands = -1};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    argv[n_operands] = NULL;
    a.command = n_operands ? argv : NULL;
    a.n_command = n_operands;
    struct err e = ERR_INIT;
    return check_args(&a, &e) ? cmd_fail(&e) : meter_main(&a, &fds);
}
