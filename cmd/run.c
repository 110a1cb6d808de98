/* edge-eval run: a plan from quantizing to the report, resumable. */
#include "cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "lifecycle/run.h"
#include "metrics/prices.h"
#include "progress.h"
#include "report/report.h"
#include "stop.h"

#include <stdlib.h>
#include <string.h>

static const char *const usage[] = {
    "run PLAN [--out DIR] [--only STAGE] [--prices FILE] [--quiet]",
    "run --resume DIR [--only STAGE] [--quiet] [--budget SECONDS] [--scratch DIR]",
    "run PLAN --dry-run",
    NULL,
};

struct run_args {
    const char *plan;
    const char *out;
    const char *resume;
    const char *only;
    const char *prices;
    const char *scratch;
    double budget_s;
    bool same_machine;
    bool dry_run;
    bool quiet;
};

static int check_args(const struct run_args *a, struct err *e) {
    if (a->plan && a->resume) {
        return err_set(e, EE_USAGE, "give a plan or --resume, not both: a run brings its own plan");
    }
    if (!a->plan && !a->resume) {
        return err_set(e, EE_USAGE, "usage: edge-eval %s (see: edge-eval help run)", usage[0]);
    }
    if (a->resume && (a->out || a->dry_run || a->prices)) {
        return err_set(
            e, EE_USAGE,
            "--resume goes with none of --out, --dry-run and --prices (edge-eval metrics "
            "takes other prices)");
    }
    if (a->same_machine && !a->resume) {
        return err_set(e, EE_USAGE, "--same-machine goes with --resume");
    }
    if (a->only && !run_is_stage_kind(a->only)) {
        return err_set(e, EE_USAGE,
                       "--only is \"%.40s\"; allowed: adapt, merge, quantize, load, serve, "
                       "score",
                       a->only);
    }
    return 0;
}

static int dry_run(const struct run_args *a, const struct run_opts *opts, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = run_describe(a->plan, opts, &text, e);
    fputs(text.data, stdout);
    buf_release(&text);
    return rc;
}

static int open_run(const struct run_args *a, const struct run_opts *opts, char **dir,
                    struct run **run, struct err *e) {
    int rc = 0;
    if (a->resume || a->out) {
        *dir = strdup(a->resume ? a->resume : a->out);
        rc = *dir ? 0 : err_set(e, EE_NOMEM, "out of memory");
    } else {
        rc = run_default_dir(a->plan, opts, "runs", dir, e);
    }
    if (rc) {
        return rc;
    }
    return a->resume ? run_resume(*dir, opts, run, e) : run_create(a->plan, *dir, opts, run, e);
}

static int show_report(const char *dir, const char *data_dir, struct err *e) {
    struct buf text;
    buf_init(&text);
    const char *const dirs[] = {dir};
    const struct report_opts opts = {.data_dir = data_dir, .width = cmd_columns()};
    int rc = report_write_files(dir, data_dir, e);
    rc = rc ? rc : report_format(dirs, 1, "text", &opts, &text, e);
    fputs(text.data, stdout);
    if (!rc) {
        printf("Report: %s/report.html\n", dir);
    }
    buf_release(&text);
    return rc;
}

static int measure(const struct run_args *a, const struct run_opts *opts, struct progress *p,
                   struct err *e) {
    struct run *run = NULL;
    struct run_outcome out = {0};
    char *dir = NULL;
    int rc = open_run(a, opts, &dir, &run, e);
    if (!rc) {
        stop_on_signals();
        stop_after(a->budget_s);
        if (!a->quiet) {
            fprintf(stderr, "Measuring into %s\n", dir);
        }
        rc = run_execute(run, a->only, &out, e);
        progress_end_line(p);
        run_close(run);
        rc = rc ? rc : show_report(dir, opts->data_dir, e);
        if (rc) {
            fprintf(stderr, "What is done is kept. To go on: edge-eval run --resume %s\n", dir);
        }
    }
    if (!rc && out.n_failed + out.n_skipped > 0) {
        rc = err_set(e, EE_FAIL,
                     "%zu stages failed and %zu were not run; mend the cause, then: edge-eval run "
                     "--resume %s",
                     out.n_failed, out.n_skipped, dir);
    }
    free(dir);
    return rc;
}

/* The shipped price book with the user's entries, as text to be kept with the run. A data directory
 * without prices has none, and then nothing is priced. */
static int load_prices(const char *data_dir, const char *own, struct buf *out, struct err *e) {
    struct arena a = ARENA_INIT;
    struct price_book book = {0};
    char *shipped = fs_join(data_dir, "prices");
    int rc = shipped ? 0 : err_set(e, EE_NOMEM, "out of memory");
    rc = rc || !fs_exists(shipped) ? rc : prices_load(shipped, &a, &book, e);
    rc = rc || !own ? rc : prices_load(own, &a, &book, e);
    rc = rc ? rc : prices_dump(&book, out, e);
    free(shipped);
    arena_release(&a);
    return rc;
}

int cmd_run(int argc, char **argv) {
    struct run_args a = {0};
    const struct opt options[] = {
        {OPT_STR, 'o', "out", &a.out, "DIR", "measure into DIR (default: runs/NAME)", NULL},
        {OPT_STR, 0, "resume", &a.resume, "DIR", "go on with the run in DIR", NULL},
        {OPT_STR, 0, "only", &a.only, "STAGE", "adapt, merge, quantize, load, serve or score",
         NULL},
        {OPT_STR, 0, "prices", &a.prices, "FILE", "prices that override the shipped ones", NULL},
        {OPT_NUM, 0, "budget", &a.budget_s, "SECONDS", "end after so long, to go on later", NULL},
        {OPT_STR, 0, "scratch", &a.scratch, "DIR",
         "write model files there (default: artifacts/ of the run)", NULL},
        {OPT_FLAG, 0, "same-machine", &a.same_machine, NULL,
         "with --resume: this machine counts as the one the run began on", NULL},
        {OPT_FLAG, 0, "dry-run", &a.dry_run, NULL, "say what would run, and stop", NULL},
        {OPT_FLAG, 'q', "quiet", &a.quiet, NULL, "no progress, only failures", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "run",
        .usage = usage,
        .summary = "Measure a plan on this machine and report what it found.",
        .details =
            "A run killed at any moment goes on with --resume; Ctrl-C stops it cleanly. A stage\n"
            "that fails costs its variants and nothing else. With --budget no stage begins that\n"
            "took longer the last time than is left, and one that still runs at the end is stopped.\n"
            "Exit status: 0 all measured, 1 something failed or was stopped, 2 wrong usage.",
        .options = options,
        .max_operands = 1};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    a.plan = n_operands ? argv[0] : NULL;
    struct err e = ERR_INIT;
    struct progress p;
    progress_init(&p, a.quiet);
    char *exe = fs_exe_path();
    char *data_dir = NULL;
    struct buf prices;
    buf_init(&prices);
    int rc = check_args(&a, &e);
    rc = rc ? rc : cmd_data_dir(&data_dir, &e);
    rc = rc ? rc : load_prices(data_dir, a.prices, &prices, &e);
    if (!rc && !exe) {
        rc = err_set(&e, EE_IO, "cannot tell where this program lies (is /proc mounted?)");
    }
    if (!rc) {
        int64_t deadline_ns = a.budget_s > 0 ? clock_mono_ns() + (int64_t)(a.budget_s * 1e9) : 0;
        const struct run_opts opts = {.exe = exe,
                                      .data_dir = data_dir,
                                      .version = EDGE_EVAL_VERSION,
                                      .prices = prices.data,
                                      .observer = &p.observer,
                                      .stop = &stop_requested,
                                      .scratch = a.scratch,
                                      .same_machine = a.same_machine,
                                      .deadline_ns = deadline_ns};
        rc = a.dry_run ? dry_run(&a, &opts, &e) : measure(&a, &opts, &p, &e);
    }
    buf_release(&prices);
    free(data_dir);
    free(exe);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
