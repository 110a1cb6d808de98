#include "meter_job.h"

#include "base/clock.h"
#include "energy/cputime.h"
#include "energy/proctree.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    RING_ROWS = 36000, /* an hour at 100 ms; emptied every second */
    SIGNAL_STATUS = 128,
};
#define TICK_NS NS_PER_S
#define FOLLOW_NS (50 * NS_PER_MS) /* how often a process that is not ours is looked for */

/* Of the handlers. */
static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t command_pid;
static volatile sig_atomic_t early_signal; /* came while the command was being started */

/* A terminal sends its signals to the command as well: only those sent to us alone are passed on. */
static void on_signal(int sig, siginfo_t *info, void *context) {
    (void)context;
    if (sig != SIGUSR1 && sig != SIGUSR2) {
        stop_signal = sig;
    }
    if (info->si_code > 0) {
        return;
    }
    if (command_pid > 0) {
        kill((pid_t)command_pid, sig);
    } else {
        early_signal = sig;
    }
}

void meter_job_catch_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction old;
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(signals[i], &act, NULL);
        }
    }
    /* What the command leaves behind becomes our child, so that it can be seen. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

const volatile sig_atomic_t *meter_job_stop_flag(void) {
    return &stop_signal;
}

bool meter_job_is_stopped(void) {
    return stop_signal != 0;
}

/* ---- looking while it runs ---- */

struct watch {
    struct meter_job *job;
    struct proctree *tree; /* whose GPUs are the job's; NULL: nobody's */
    int64_t start_ns, next_tick_ns;
};

void meter_job_csv_header(struct meter *m, FILE *csv) {
    fputs("run,t_s", csv);
    for (size_t i = 0; i < meter_n_components(m); i++) {
        struct meter_component c;
        meter_component_info(m, i, &c);
        fprintf(csv, ",%s_w", c.name);
    }
    fputc('\n', csv);
}

static void write_samples(const struct watch *w) {
    struct meter_sample rows[64];
    size_t n;
    while (w->job->csv && (n = meter_samples_take(w->job->meter, rows, 64)) > 0) {
        for (size_t k = 0; k < n; k++) {
            fprintf(w->job->csv, "%zu,%.4f", w->job->run + 1,
                    clock_ns_to_s(rows[k].t_ns - w->start_ns));
            for (size_t i = 0; i < meter_n_components(w->job->meter); i++) {
                if (isnan(rows[k].watts[i])) {
                    fputc(',', w->job->csv);
                } else {
                    fprintf(w->job->csv, ",%.6g", (double)rows[k].watts[i]);
                }
            }
            fputc('\n', w->job->csv);
        }
    }
}

static bool holds_pid(const struct proctree *t, pid_t pid) {
    for (size_t i = 0; i < t->n; i++) {
        if (t->entries[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static void look_at_gpus(const struct watch *w) {
    bool has_looked = false;
    for (size_t i = 0; i < meter_n_components(w->job->meter); i++) {
        struct meter_gpu_state state;
        if (meter_gpu_state(w->job->meter, i, &state, NULL)) {
            continue;
        }
        if (w->tree && state.n_pids > 0 && !has_looked) {
            proctree_update(w->tree, true);
            has_looked = true;
        }
        struct measurement_gpu *g = &w->job->gpus[i];
        measurement_gpu_look(g, &state);
        for (size_t k = 0; w->tree && k < state.n_pids; k++) {
            g->is_used = g->is_used || holds_pid(w->tree, state.pids[k]);
        }
    }
}

static void tick(struct watch *w) {
    if (clock_mono_ns() < w->next_tick_ns) {
        return;
    }
    look_at_gpus(w);
    write_samples(w);
    w->next_tick_ns = clock_mono_ns() + TICK_NS;
}

/* CPU time of the whole machine until now; NAN where it is not told. */
static double machine_cpu_s(void) {
    int64_t ns;
    return cputime_machine_ns("/proc/stat", &ns) == 0 ? clock_ns_to_s(ns) : NAN;
}

/* ---- a command ---- */

/* How many processes live on that became ours when their parents ended. */
static size_t count_left(void) {
    char path[64];
    size_t n = 0;
    long pid;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "r");
    while (f && fscanf(f, "%ld", &pid) == 1) {
        struct process_stat st;
        /* A child of our own leads its group in our session. */
        bool is_left = process_stat_read((pid_t)pid, &st) && st.state != 'Z' &&
                       !(st.group == pid && st.session == getsid(0));
        n += is_left;
    }
    if (f) {
        fclose(f);
    }
    return n;
}

static void describe_end(const struct process *p, struct measurement_run *out) {
    out->has_process = true;
    out->exit_status = p->end == PROCESS_EXITED ? p->status : SIGNAL_STATUS + p->signal;
    out->cpu_s = clock_ns_to_s(p->cpu_ns);
    out->max_rss_bytes = p->max_rss_bytes;
    out->n_left = count_left();
}

static int spawn(const struct meter_job *job, struct process *p, struct err *e) {
    const struct process_spec spec = {
        .argv = (const char *const *)job->command, .foreground = true, .keep_fds = &job->fds};
    early_signal = stop_signal; /* it came after the last look at it */
    int rc = process_spawn(p, &spec, e);
    if (rc) {
        return rc;
    }
    command_pid = p->pid;
    if (early_signal) {
        kill(p->pid, early_signal);
    }
    return 0;
}

static int run_command(struct meter_job *job, struct watch *w, int window,
                       struct measurement_run *out, struct err *e) {
    struct process p;
    struct err ignored = ERR_INIT;
    int rc = spawn(job, &p, e);
    if (rc) {
        job->cannot_start = true;
        return rc;
    }
    /* One that has ended already has nothing to watch; its window is the whole machine's. */
    bool watched = meter_watch_pid(job->meter, p.pid, &ignored) == 0;
    if (w->tree && proctree_watch(w->tree, p.pid, &ignored)) {
        w->tree = NULL;
    }
    while (!process_wait_unreaped(&p, w->next_tick_ns)) {
        tick(w);
    }
    rc = meter_window_close(job->meter, window, &out->reading, e);
    if (watched) {
        meter_unwatch_pid(job->meter, p.pid);
    }
    command_pid = 0;
    process_poll(&p);
    describe_end(&p, out);
    out->job_cpu_s = out->cpu_s;
    return rc;
}

/* ---- without a command ---- */

static bool is_alive(pid_t pid, unsigned long long start_ticks) {
    struct process_stat st;
    return process_stat_read(pid, &st) && st.state != 'Z' && st.start_ticks == start_ticks;
}

static int wait_for_process(struct meter_job *job, struct watch *w, int window,
                            struct measurement_run *out, struct err *e) {
    struct process_stat st = {.start_ticks = 0};
    const int64_t end_ns = job->seconds > 0 ? w->start_ns + (int64_t)(job->seconds * 1e9)
                                            : INT64_MAX;
    if (job->pid && (!process_stat_read(job->pid, &st) || st.state == 'Z')) {
        return err_set(e, EE_MISSING, "there is no process %d to measure", (int)job->pid);
    }
    int rc = job->pid ? meter_watch_pid(job->meter, job->pid, e) : 0;
    if (!rc && job->pid && w->tree) {
        rc = proctree_watch(w->tree, job->pid, e);
    }
    while (!rc && !stop_signal && clock_mono_ns() < end_ns &&
           (!job->pid || is_alive(job->pid, st.start_ticks))) {
        int64_t next_ns = job->pid ? clock_mono_ns() + FOLLOW_NS : w->next_tick_ns;
        clock_sleep_until_ns(next_ns < end_ns ? next_ns : end_ns);
        tick(w);
    }
    rc = rc ? rc : meter_window_close(job->meter, window, &out->reading, e);
    if (job->pid) {
        meter_unwatch_pid(job->meter, job->pid);
        proctree_update(w->tree, true);
        out->job_cpu_s = clock_ns_to_s(w->tree->cpu_ns);
    }
    return rc;
}

int meter_job_run(struct meter_job *job, struct measurement_run *out, struct err *e) {
    struct watch w = {.job = job, .tree = malloc(sizeof(*w.tree))};
    if (!w.tree) {
        return err_set(e, EE_NOMEM, "out of memory for the processes to follow");
    }
    struct proctree *tree = w.tree;
    proctree_init(tree, "");
    memset(out, 0, sizeof(*out));
    const double busy_s = machine_cpu_s();
    out->job_cpu_s = NAN;
    int rc = job->csv ? meter_samples_begin(job->meter, RING_ROWS, e) : 0;
    int window = rc ? rc : meter_window_open(job->meter, "meter", METER_NO_PARENT, e);
    if (window < 0) {
        rc = window;
    } else {
        w.start_ns = clock_mono_ns();
        w.next_tick_ns = w.start_ns + TICK_NS;
        rc = job->command ? run_command(job, &w, window, out, e)
                          : wait_for_process(job, &w, window, out, e);
    }
    out->machine_cpu_s = machine_cpu_s() - busy_s;
    if (!rc) {
        look_at_gpus(&w);
    }
    write_samples(&w);
    if (job->csv) {
        meter_samples_end(job->meter);
    }
    free(tree);
    return rc;
}
