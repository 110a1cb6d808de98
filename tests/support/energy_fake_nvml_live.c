/*
 * A libnvidia-ml.so.1 for end-to-end tests: two GPUs of 100 W and 250 W whose energy follows the
 * clock in steps of 100 ms, as NVIDIA's does. $FAKE_NVML_PIDS names a file with the process on the
 * second GPU; $FAKE_NVML_THROTTLE holds the clocks of both back. The tests compile it with
 * FAKE_NVML_LIVE, beside energy_fake_nvml.c; without, there is nothing here.
 */
#include "support/energy_fake_nvml.h"

#ifdef FAKE_NVML_LIVE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS_PER_S = 10, NS_PER_STEP = 100000000 };

nvml_rc nvmlDeviceGetHandleByUUID(const char *uuid, nvml_device *d);

static void follow_the_clock(struct fake_nvml *nv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned long long steps = (unsigned long long)(now.tv_sec * STEPS_PER_S +
                                                    now.tv_nsec / NS_PER_STEP);
    for (unsigned i = 0; i < nv->n; i++) {
        nv->gpu[i].energy_mj = steps * (nv->gpu[i].instant_mw / STEPS_PER_S);
    }
    const char *path = getenv("FAKE_NVML_PIDS");
    FILE *f = path ? fopen(path, "r") : NULL;
    nv->gpu[1].n_pids = f && fscanf(f, "%u", &nv->gpu[1].pids[0]) == 1;
    if (f) {
        fclose(f);
    }
}

__attribute__((constructor)) static void set_up(void) {
    fake_nvml_set_up(2);
    struct fake_nvml *nv = fake_nvml_state();
    strcpy(nv->driver, "999.1");
    nv->gpu[1].instant_mw = 250000;
    for (unsigned i = 0; i < nv->n; i++) {
        nv->gpu[i].celsius = 60;
        nv->gpu[i].sm_mhz = 1500;
        nv->gpu[i].event_reasons = getenv("FAKE_NVML_THROTTLE") ? 0x4 : 0x1;
    }
    fake_nvml_refresh = follow_the_clock;
}

nvml_rc nvmlDeviceGetHandleByUUID(const char *uuid, nvml_device *d) {
    struct fake_nvml *nv = fake_nvml_state();
    *d = &nv->gpu[uuid[strlen(uuid) - 1] - '0'];
    return NVML_RC_SUCCESS;
}

#endif
