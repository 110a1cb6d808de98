/*
 * What the fake libnvidia-ml.so answers. The test compiles energy_fake_nvml.c into a shared
 * library, opens it, and writes here through fake_nvml_state.
 */
#ifndef TESTS_SUPPORT_ENERGY_FAKE_NVML_H
#define TESTS_SUPPORT_ENERGY_FAKE_NVML_H

#include "energy/nvml_api.h"

#define FAKE_GPUS 8

struct fake_gpu {
    nvml_rc handle_rc;
    unsigned long long energy_mj;
    nvml_rc energy_rc;
    unsigned usage_mw;
    nvml_rc usage_rc;
    unsigned instant_mw;
    unsigned instant_type; /* NVML_TYPE_...: which member of the value is filled */
    nvml_rc instant_rc;    /* of the entry; the call itself succeeds */
    unsigned average_mw;
    nvml_rc average_rc;
    unsigned module_mw;
    nvml_rc module_rc;
    unsigned mig;
    int virtualization; /* nvmlGpuVirtualizationMode_t */
    nvml_rc state_rc;   /* of everything that is not energy or power */
    unsigned celsius, busy_percent, sm_mhz, limit_mw;
    unsigned long long event_reasons;
    unsigned n_pids;
    unsigned pids[4];
};

struct fake_nvml {
    unsigned n;
    nvml_rc init_rc, count_rc;
    char driver[80];
    struct fake_gpu gpu[FAKE_GPUS];
    unsigned energy_calls, shutdowns;
};

struct fake_nvml *fake_nvml_state(void);
/* Called before energy and processes are told, so that a library of its own can move them. */
extern void (*fake_nvml_refresh)(struct fake_nvml *nv);
/* n GPUs that tell counter and power. */
void fake_nvml_set_up(unsigned n);
typedef struct fake_nvml *fake_nvml_state_fn(void);

#endif
