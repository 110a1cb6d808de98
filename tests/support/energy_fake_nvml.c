/* A libnvidia-ml.so that answers what the test wrote into its state. */
#include "support/energy_fake_nvml.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static struct fake_nvml state;
void (*fake_nvml_refresh)(struct fake_nvml *nv);

static void refresh(void) {
    if (fake_nvml_refresh) {
        fake_nvml_refresh(&state);
    }
}

struct fake_nvml *fake_nvml_state(void) {
    return &state;
}

void fake_nvml_set_up(unsigned n) {
    memset(&state, 0, sizeof(state));
    state.n = n;
    for (unsigned i = 0; i < n && i < FAKE_GPUS; i++) {
        state.gpu[i] = (struct fake_gpu){.energy_mj = 5000000000ULL,
                                         .usage_mw = 90000,
                                         .instant_mw = 100000,
                                         .instant_type = NVML_TYPE_UINT,
                                         .average_mw = 90000,
                                         .module_rc = NVML_RC_NOT_SUPPORTED};
    }
}

static struct fake_gpu *gpu_of(nvml_device d) {
    return d;
}

const char *nvmlErrorString(nvml_rc rc);
nvml_rc nvmlInit_v2(void);
nvml_rc nvmlShutdown(void);
nvml_rc nvmlDeviceGetCount_v2(unsigned *n);
nvml_rc nvmlDeviceGetHandleByIndex_v2(unsigned index, nvml_device *d);
nvml_rc nvmlDeviceGetUUID(nvml_device d, char *out, unsigned size);
nvml_rc nvmlDeviceGetPciInfo_v3(nvml_device d, struct nvml_pci *out);
nvml_rc nvmlDeviceGetName(nvml_device d, char *out, unsigned size);
nvml_rc nvmlDeviceGetPowerUsage(nvml_device d, unsigned *mw);
nvml_rc nvmlDeviceGetTotalEnergyConsumption(nvml_device d, unsigned long long *mj);
nvml_rc nvmlDeviceGetFieldValues(nvml_device d, int n, struct nvml_field *f);
nvml_rc nvmlDeviceGetMemoryInfo(nvml_device d, struct nvml_memory *out);
nvml_rc nvmlDeviceGetMigMode(nvml_device d, unsigned *current, unsigned *pending);
nvml_rc nvmlSystemGetDriverVersion(char *out, unsigned size);
nvml_rc nvmlDeviceGetVirtualizationMode(nvml_device d, int *mode);
nvml_rc nvmlDeviceGetUtilizationRates(nvml_device d, struct nvml_utilization *out);
nvml_rc nvmlDeviceGetTemperature(nvml_device d, int sensor, unsigned *celsius);
nvml_rc nvmlDeviceGetClockInfo(nvml_device d, int type, unsigned *mhz);
nvml_rc nvmlDeviceGetMaxClockInfo(nvml_device d, int type, unsigned *mhz);
nvml_rc nvmlDeviceGetEnforcedPowerLimit(nvml_device d, unsigned *mw);
nvml_rc nvmlDeviceGetCurrentClocksEventReasons(nvml_device d, unsigned long long *bits);
nvml_rc nvmlDeviceGetComputeRunningProcesses_v3(nvml_device d, unsigned *n,
                                                struct nvml_process *found);

const char *nvmlErrorString(nvml_rc rc) {
    switch (rc) {
    case NVML_RC_NOT_SUPPORTED:
        return "Not Supported";
    case NVML_RC_GPU_IS_LOST:
        return "GPU is lost";
    default:
        return "Unknown Error";
    }
}

nvml_rc nvmlInit_v2(void) {
    return state.init_rc;
}

nvml_rc nvmlShutdown(void) {
    state.shutdowns++;
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlDeviceGetCount_v2(unsigned *n) {
    *n = state.n;
    return state.count_rc;
}

nvml_rc nvmlDeviceGetHandleByIndex_v2(unsigned index, nvml_device *d) {
    *d = &state.gpu[index];
    return state.gpu[index].handle_rc;
}

nvml_rc nvmlDeviceGetUUID(nvml_device d, char *out, unsigned size) {
    snprintf(out, size, "GPU-0000000%td", gpu_of(d) - state.gpu);
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlDeviceGetPciInfo_v3(nvml_device d, struct nvml_pci *out) {
    memset(out, 0, sizeof(*out));
    snprintf(out->bus_id, sizeof(out->bus_id), "00000000:%02tX:00.0",
             0x1a + (gpu_of(d) - state.gpu));
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlDeviceGetName(nvml_device d, char *out, unsigned size) {
    (void)d;
    snprintf(out, size, "Fake GPU");
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlDeviceGetPowerUsage(nvml_device d, unsigned *mw) {
    *mw = gpu_of(d)->usage_mw;
    return gpu_of(d)->usage_rc;
}

nvml_rc nvmlDeviceGetTotalEnergyConsumption(nvml_device d, unsigned long long *mj) {
    state.energy_calls++;
    refresh();
    *mj = gpu_of(d)->energy_mj;
    return gpu_of(d)->energy_rc;
}

static void answer(struct nvml_field *f, unsigned mw, unsigned type, nvml_rc rc) {
    memset(&f->value, 0xff, sizeof(f->value)); /* what is not of the type is garbage */
    f->type = type;
    f->rc = rc;
    if (type == NVML_TYPE_DOUBLE) {
        f->value.d = mw;
    } else if (type == NVML_TYPE_ULLONG) {
        f->value.ull = mw;
    } else {
        f->value.u = mw;
    }
}

nvml_rc nvmlDeviceGetFieldValues(nvml_device d, int n, struct nvml_field *f) {
    const struct fake_gpu *g = gpu_of(d);
    for (int i = 0; i < n; i++) {
        if (f[i].scope == NVML_SCOPE_MODULE) {
            answer(&f[i], g->module_mw, NVML_TYPE_UINT, g->module_rc);
        } else if (f[i].field == NVML_FIELD_POWER_INSTANT) {
            answer(&f[i], g->instant_mw, g->instant_type, g->instant_rc);
        } else {
            answer(&f[i], g->average_mw, NVML_TYPE_UINT, g->average_rc);
        }
    }
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlDeviceGetMemoryInfo(nvml_device d, struct nvml_memory *out) {
    (void)d;
    *out = (struct nvml_memory){
        .total = 80000000000ULL, .free = 60000000000ULL, .used = 20000000000ULL};
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlDeviceGetMigMode(nvml_device d, unsigned *current, unsigned *pending) {
    *current = *pending = gpu_of(d)->mig;
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlSystemGetDriverVersion(char *out, unsigned size) {
    snprintf(out, size, "%s", state.driver);
    return NVML_RC_SUCCESS;
}

nvml_rc nvmlDeviceGetVirtualizationMode(nvml_device d, int *mode) {
    *mode = gpu_of(d)->virtualization;
    return gpu_of(d)->state_rc;
}

nvml_rc nvmlDeviceGetUtilizationRates(nvml_device d, struct nvml_utilization *out) {
    *out = (struct nvml_utilization){gpu_of(d)->busy_percent, 1};
    return gpu_of(d)->state_rc;
}

nvml_rc nvmlDeviceGetTemperature(nvml_device d, int sensor, unsigned *celsius) {
    *celsius = sensor == 0 ? gpu_of(d)->celsius : 0;
    return gpu_of(d)->state_rc;
}

nvml_rc nvmlDeviceGetClockInfo(nvml_device d, int type, unsigned *mhz) {
    *mhz = type == NVML_CLOCK_SM ? gpu_of(d)->sm_mhz : 2600;
    return gpu_of(d)->state_rc;
}

nvml_rc nvmlDeviceGetMaxClockInfo(nvml_device d, int type, unsigned *mhz) {
    *mhz = type == NVML_CLOCK_SM ? 1980 : 0;
    return gpu_of(d)->state_rc;
}

nvml_rc nvmlDeviceGetEnforcedPowerLimit(nvml_device d, unsigned *mw) {
    *mw = gpu_of(d)->limit_mw;
    return gpu_of(d)->state_rc;
}

nvml_rc nvmlDeviceGetCurrentClocksEventReasons(nvml_device d, unsigned long long *bits) {
    *bits = gpu_of(d)->event_reasons;
    return gpu_of(d)->state_rc;
}

nvml_rc nvmlDeviceGetComputeRunningProcesses_v3(nvml_device d, unsigned *n,
                                                struct nvml_process *found) {
    refresh();
    const struct fake_gpu *g = gpu_of(d);
    *n = g->n_pids;
    for (unsigned i = 0; i < g->n_pids && i < 4; i++) {
        found[i] = (struct nvml_process){.pid = g->pids[i]};
    }
    return g->state_rc;
}
