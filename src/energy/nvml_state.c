/* What NVML tells of a GPU besides its energy: clocks, heat, load, limits, who is on it. */
#include "energy/note.h"
#include "energy/nvml_api.h"

#include <math.h>
#include <string.h>

/* nvmlClocksEventReason..., the bits that mean that the GPU would run faster if it could. */
static const struct {
    uint64_t bits;
    const char *text;
} slowings[] = {
    {0x4, "power cap"},   {0x20 | 0x40, "heat"},      {0x80, "power brake"},
    {0x10, "sync boost"}, {0x8, "hardware slowdown"},
};

void meter_throttle_text(uint64_t reasons, char *out, size_t size) {
    out[0] = '\0';
    for (size_t i = 0; i < sizeof(slowings) / sizeof(slowings[0]); i++) {
        if (reasons & slowings[i].bits) {
            note_add(out, size, ", ", "%s", slowings[i].text);
        }
    }
}

/* value by its address: the call that fills it is an argument too. */
static double number_or_nan(nvml_rc rc, const unsigned *value, double unit) {
    return rc == NVML_RC_SUCCESS ? *value * unit : NAN;
}

static double clock_mhz(nvml_rc (*ask)(nvml_device, int, unsigned *), nvml_device d, int type) {
    unsigned mhz = 0;
    return ask ? number_or_nan(ask(d, type, &mhz), &mhz, 1) : NAN;
}

static void read_load(const struct nvml_api *api, nvml_device d, struct meter_gpu_state *out) {
    unsigned value = 0;
    struct nvml_utilization use = {0};
    out->temperature_c = out->busy = out->power_w = out->power_limit_w = NAN;
    if (api->temperature) {
        out->temperature_c = number_or_nan(api->temperature(d, 0, &value), &value, 1);
    }
    if (api->utilization) {
        out->busy = number_or_nan(api->utilization(d, &use), &use.gpu, 0.01);
    }
    if (api->power_limit) {
        out->power_limit_w = number_or_nan(api->power_limit(d, &value), &value, 1e-3);
    }
    out->power_w = number_or_nan(api->power(d, &value), &value, 1e-3);
    out->sm_mhz = clock_mhz(api->clock, d, NVML_CLOCK_SM);
    out->memory_mhz = clock_mhz(api->clock, d, NVML_CLOCK_MEMORY);
    out->max_sm_mhz = clock_mhz(api->max_clock, d, NVML_CLOCK_SM);
}

static void read_throttle(const struct nvml_api *api, nvml_device d, struct meter_gpu_state *out) {
    unsigned long long bits = 0;
    nvml_rc rc = NVML_RC_NOT_SUPPORTED;
    if (api->event_reasons) {
        rc = api->event_reasons(d, &bits);
    } else if (api->throttle_reasons) {
        rc = api->throttle_reasons(d, &bits);
    }
    out->has_throttle = rc == NVML_RC_SUCCESS;
    out->throttle = out->has_throttle ? bits : 0;
}

static void read_processes(const struct nvml_api *api, nvml_device d, struct meter_gpu_state *out) {
    struct nvml_process found[METER_MAX_GPU_PIDS];
    unsigned n = METER_MAX_GPU_PIDS;
    nvml_rc rc = api->processes ? api->processes(d, &n, found) : NVML_RC_NOT_SUPPORTED;
    out->has_pids = rc == NVML_RC_SUCCESS && n <= METER_MAX_GPU_PIDS;
    for (unsigned i = 0; out->has_pids && i < n; i++) {
        out->pids[out->n_pids++] = (pid_t)found[i].pid;
    }
}

void nvml_state(const struct nvml_api *api, nvml_device d, struct meter_gpu_state *out) {
    unsigned mig = 0;
    unsigned pending = 0;
    int mode = 0;
    memset(out, 0, sizeof(*out));
    if (!api->driver || api->driver(out->driver, sizeof(out->driver)) != NVML_RC_SUCCESS) {
        out->driver[0] = '\0';
    }
    out->driver[sizeof(out->driver) - 1] = '\0';
    out->mig = api->mig && api->mig(d, &mig, &pending) == NVML_RC_SUCCESS && mig;
    out->virtual_gpu = api->virtualization && api->virtualization(d, &mode) == NVML_RC_SUCCESS &&
                       mode == NVML_VIRTUALIZATION_VGPU;
    read_load(api, d, out);
    read_throttle(api, d, out);
    read_processes(api, d, out);
}
