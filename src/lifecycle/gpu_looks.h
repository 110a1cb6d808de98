/*
 * What GPUs were seen to do beside a worker's energy window: whether they were held back, and whether
 * somebody else was on them. Both spoil a measurement without changing its form.
 *
 * Looked at about once a second; what is between two looks is not seen.
 */
#ifndef LIFECYCLE_GPU_LOOKS_H
#define LIFECYCLE_GPU_LOOKS_H

#include "energy/meter.h"

#include <stdbool.h>
#include <sys/types.h>

/* Of one GPU in one window. Zeroed: nothing was seen. */
struct gpu_looks {
    int n;
    int n_told, n_throttled; /* of the looks in which the driver told what holds the clocks back */
    uint64_t throttle;       /* all of it together; meter_throttle_text names it */
    bool others_told;
    int most_others; /* processes at once that are neither this one nor the worker */
    int n_busy;
    double busy_sum;                                  /* over n_busy looks */
    double max_temperature_c, min_sm_mhz, max_sm_mhz; /* hold with n > 0; NAN: not told */
};

/*
 * Adds a look. worker is the process whose GPU work is ours, as this process is. A driver that names
 * processes nobody here can see (a container) or none at all while the GPU is busy tells nothing of
 * others.
 */
void gpu_looks_add(struct gpu_looks *g, const struct meter_gpu_state *state, pid_t worker);

#endif
