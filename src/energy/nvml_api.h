/*
 * The part of NVIDIA's Management Library that the meter uses, declared here so that nothing is
 * needed to build or link it. Layouts and numbers as documented in NVIDIA's NVML API Reference
 * Guide; the library is opened at run time (libnvidia-ml.so.1 comes with the driver).
 */
#ifndef ENERGY_NVML_API_H
#define ENERGY_NVML_API_H

typedef int nvml_rc; /* nvmlReturn_t */
typedef void *nvml_device;

enum {
    NVML_RC_SUCCESS = 0,
    NVML_RC_NOT_SUPPORTED = 3,
    NVML_RC_NO_PERMISSION = 4,
    NVML_RC_NOT_FOUND = 6,
    NVML_RC_DRIVER_NOT_LOADED = 9,
    NVML_RC_GPU_IS_LOST = 15,
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
    X("nvmlDeviceGetMigMode", mig, (nvml_device d, unsigned *current, unsigned *pending))

#define NVML_MEMBER(symbol, member, params) nvml_rc(*member) params;

struct nvml_api {
    void *library;
    const char *(*error_string)(nvml_rc rc); /* may be NULL */
    NVML_REQUIRED(NVML_MEMBER)
    NVML_OPTIONAL(NVML_MEMBER)
};

#endif
