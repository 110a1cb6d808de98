#include "lifecycle/gpu_looks.h"

#include <math.h>
#include <signal.h>
#include <errno.h>
#include <unistd.h>

/* Busier than that, somebody uses it. */
static const double in_use = 0.05;

static bool is_here(pid_t pid) {
    return kill(pid, 0) == 0 || errno == EPERM;
}

/* How many of the processes are others'; -1 when that cannot be told. */
static int count_others(const struct meter_gpu_state *s, pid_t worker) {
    int others = 0;
    bool has_own = false;
    bool all_here = true;
    if (!s->has_pids) {
        return -1;
    }
    for (size_t i = 0; i < s->n_pids; i++) {
        bool own = s->pids[i] == worker || s->pids[i] == getpid();
        has_own = has_own || own;
        others += !own;
        all_here = all_here && is_here(s->pids[i]);
    }
    if (s->n_pids == 0) {
        return s->busy > in_use ? -1 : 0;
    }
    return has_own || all_here ? others : -1;
}

void gpu_looks_add(struct gpu_looks *g, const struct meter_gpu_state *s, pid_t worker) {
    char slowed[64];
    if (g->n == 0) {
        g->max_temperature_c = g->min_sm_mhz = g->max_sm_mhz = (double)NAN;
    }
    g->n++;
    meter_throttle_text(s->throttle, slowed, sizeof(slowed));
    g->n_told += s->has_throttle;
    g->n_throttled += s->has_throttle && slowed[0];
    g->throttle |= s->has_throttle ? s->throttle : 0;
    int others = count_others(s, worker);
    g->others_told = g->others_told || others >= 0;
    g->most_others = others > g->most_others ? others : g->most_others;
    if (isfinite(s->busy)) {
        g->n_busy++;
        g->busy_sum += s->busy;
    }
    g->max_temperature_c = fmax(g->max_temperature_c, s->temperature_c); /* of a NAN the other */
    g->min_sm_mhz = fmin(g->min_sm_mhz, s->sm_mhz);
    g->max_sm_mhz = fmax(g->max_sm_mhz, s->sm_mhz);
}
