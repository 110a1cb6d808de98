/*
 * The part of NVIDIA's Management Library that the meter uses, declared here so that nothing is
 * needed to build or link it. Layouts and numbers as documented in NVIDIA's NVML API Reference
 * Guide; the library is opened at run time (libnvidia-ml.so.1 comes with the driver).
 */
#ifndef ENERGY_NVML_API_H
#define ENERGY_NVML_API_H

#include "energy/meter.h"

typedef int nvml_rc; /* nvmlReturn_t */
typedef void *nvml_device;

enum {
    NVML_RC_SUCCESS = 0,
    NVML_RC_NOT_SUPPORTED = 3,
    NVML_RC_NO_PERMISSION = 4,
    NVML_RC_NOT_FOUND = 6,
    NVML_RC_DRIVER_NOT_LOADED = 9,
    NVML_RC_GPU_IS_LOST = 15,
    NVML_RC_VERSION_MISMATCH = 18,
    NVML_RC_UNKNOWN = 999,
};

/* nvmlPciInfo_t, version 3 */
struct nvml_pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device;
    unsigned pci_device_id, pci_subsystem_id;
    char bus_id[32]; /* "00000000:65:00.0" */
};

struct nvml_memory {
    unsigned long long total, free, used; /* bytes */
};

struct nvml_utilization {
    unsigned gpu, memory; /* percent of the last sampling period */
};

/* nvmlProcessInfo_t, versions 2 and 3 */
struct nvml_process {
    unsigned pid;
    unsigned long long used; /* bytes */
    unsigned gpu_instance, compute_instance;
};

enum { NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2 };
enum { NVML_VIRTUALIZATION_VGPU = 2 }; /* nvmlGpuVirtualizationMode_t: inside a virtual machine */

enum {
    NVML_FIELD_POWER_AVERAGE = 185, /* mW over the last second */
    NVML_FIELD_POWER_INSTANT = 186, /* mW */
};

enum { NVML_SCOPE_GPU = 0, NVML_SCOPE_MODULE = 1 };

/* nvmlValueType_t: which member of the value is set */
enum {
    NVML_TYPE_DOUBLE = 0,
    NVML_TYPE_UINT = 1,
    NVML_TYPE_ULONG = 2,
    NVML_TYPE_ULLONG = 3,
    NVML_TYPE_LLONG = 4,
    NVML_TYPE_INT = 5,
    NVML_TYPE_USHORT = 6,
};

/* nvmlFieldValue_t. Each entry has its own return code: the call succeeds even if none does. */
struct nvml_field {
    unsigned field;
    unsigned scope;
    long long timestamp_us;
    long long latency_us;
    unsigned type;
    nvml_rc rc;
    union {
        double d;
        int i;
        unsigned u;
        unsigned long ul;
        unsigned long long ull;
        long long ll;
        unsigned short us;
    } value;
};

/* name of the C function, name of the member, parameters; required functions first */
#define NVML_REQUIRED(X)                                                                           \
    X("nvmlInit_v2", init, (void))                                                                 \
    X("nvmlShutdown", shutdown, (void))                                                            \
    X("nvmlDeviceGetCount_v2", count, (unsigned *n))                                               \
    X("nvmlDeviceGetHandleByIndex_v2", handle, (unsigned index, nvml_device *d))                   \
    X("nvmlDeviceGetUUID", uuid, (nvml_device d, char *out, unsigned size))                        \
    X("nvmlDeviceGetPciInfo_v3", pci, (nvml_device d, struct nvml_pci * out))                      \
    X("nvmlDeviceGetName", name, (nvml_device d, char *out, unsigned size))                        \
    X("nvmlDeviceGetPowerUsage", power, (nvml_device d, unsigned *mw))

/* Missing from old drivers: the member is then NULL. */
#define NVML_OPTIONAL(X)                                                                           \
    X("nvmlDeviceGetTotalEnergyConsumption", energy, (nvml_device d, unsigned long long *mj))      \
    X("nvmlDeviceGetFieldValues", fields, (nvml_device d, int n, struct nvml_field *f))            \
    X("nvmlDeviceGetMemoryInfo", memory, (nvml_device d, struct nvml_memory * out))                \
    X("nvmlDeviceGetMigMode", mig, (nvml_device d, unsigned *current, unsigned *pending))          \
    X("nvmlSystemGetDriverVersion", driver, (char *out, unsigned size))                            \
    X("nvmlDeviceGetVirtualizationMode", virtualization, (nvml_device d, int *mode))               \
    X("nvmlDeviceGetUtilizationRates", utilization,                                                \
      (nvml_device d, struct nvml_utilization * out))                                              \
    X("nvmlDeviceGetTemperature", temperature, (nvml_device d, int sensor, unsigned *celsius))     \
    X("nvmlDeviceGetClockInfo", clock, (nvml_device d, int type, unsigned *mhz))                   \
    X("nvmlDeviceGetMaxClockInfo", max_clock, (nvml_device d, int type, unsigned *mhz))            \
    X("nvmlDeviceGetEnforcedPowerLimit", power_limit, (nvml_device d, unsigned *mw))               \
    X("nvmlDeviceGetCurrentClocksEventReasons", event_reasons,                                     \
      (nvml_device d, unsigned long long *bits))                                                   \
    X("nvmlDeviceGetCurrentClocksThrottleReasons", throttle_reasons,                               \
      (nvml_device d, unsigned long long *bits))                                                   \
    X("nvmlDeviceGetComputeRunningProcesses_v3", processes,                                        \
      (nvml_device d, unsigned *n, struct nvml_process *found))

#define NVML_MEMBER(symbol, member, params) nvml_rc(*member) params;

struct nvml_api {
    void *loaded;
    const char *(*error_string)(nvml_rc rc); /* may be NULL */
    NVML_REQUIRED(NVML_MEMBER)
    NVML_OPTIONAL(NVML_MEMBER)
};

/* Asks everything of struct meter_gpu_state; what is refused stays NAN or false. */
void nvml_state(const struct nvml_api *api, nvml_device d, struct meter_gpu_state *out);

#endif
