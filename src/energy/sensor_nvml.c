/*
 * NVIDIA GPUs by NVML.
 *
 * What a GPU offers is found by asking it, never from its model's name:
 *   1. its energy counter, in steps of 100 ms. A read takes some 4 ms (17 ms seen), so it is read
 *      at window edges and about once a second;
 *   2. its power. Beside a counter POWER_INSTANT, which follows the load: on an H100 its integral
 *      over 16 s with a step inside came to within 0.5 % of the counter, while the one-second
 *      averages of POWER_AVERAGE and nvmlDeviceGetPowerUsage lagged and came out 2.9 % short.
 *      Without a counter POWER_AVERAGE: its lag is bounded by the interval, but POWER_INSTANT looks
 *      at about a quarter of the time only and may be in step with the load. On a module (Grace Hopper) the counter holds CPU and memory too: it is told by the module
 * scope of the power fields, which other GPUs refuse.
 */
#include "energy/counter.h"
#include "energy/note.h"
#include "energy/nvml_api.h"
#include "energy/sensor.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_LIBRARY "libnvidia-ml.so.1"
#define GAIN_NVML 0.05
#define UPDATE_NS (100 * NS_PER_MS)
#define AVERAGING_NS (1100 * NS_PER_MS) /* a second, renewed every 100 ms */
#define INSTANT_DUTY 0.25
#define MAX_GPU_W 5000 /* above any module: tells a jump of the counter from energy */

struct gpu {
    nvml_device handle;
    bool has_counter;
    unsigned power_field; /* 0: nvmlDeviceGetPowerUsage */
    unsigned scope;
    struct counter counter;
};

struct nvml {
    struct nvml_api api;
    bool initialised;
    struct gpu gpus[METER_MAX_COMPONENTS];
};

static const char *reason_of(const struct nvml_api *api, nvml_rc rc) {
    const char *text = api->error_string ? api->error_string(rc) : NULL;
    return text ? text : "unknown NVML error";
}

/* ---- the library ---- */

/* ISO C has no conversion from void * to a function pointer; POSIX requires it to work. */
#define NVML_LOAD(symbol, member, params)                                                          \
    do {                                                                                           \
        void *found = dlsym(api->loaded, symbol);                                                  \
        memcpy(&api->member, &found, sizeof(found));                                               \
    } while (0);

#define NVML_HAVE(symbol, member, params) api->member &&

static bool load_library(struct nvml_api *api, const char *path) {
    api->loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!api->loaded) {
        return false;
    }
    NVML_LOAD("nvmlErrorString", error_string, )
    NVML_REQUIRED(NVML_LOAD)
    NVML_OPTIONAL(NVML_LOAD)
    return NVML_REQUIRED(NVML_HAVE) true;
}

/* ---- power ---- */

static double field_mw(const struct nvml_field *f) {
    switch (f->type) {
    case NVML_TYPE_DOUBLE:
        return f->value.d;
    case NVML_TYPE_UINT:
        return f->value.u;
    case NVML_TYPE_ULONG:
        return (double)f->value.ul;
    case NVML_TYPE_ULLONG:
        return (double)f->value.ull;
    case NVML_TYPE_LLONG:
        return (double)f->value.ll;
    case NVML_TYPE_INT:
        return f->value.i;
    case NVML_TYPE_USHORT:
        return f->value.us;
    default:
        return -1;
    }
}

static nvml_rc field_power(const struct nvml_api *api, nvml_device d, unsigned field,
                           unsigned scope, double *mw) {
    struct nvml_field f = {.field = field, .scope = scope};
    nvml_rc rc = api->fields ? api->fields(d, 1, &f) : NVML_RC_NOT_SUPPORTED;
    if (rc != NVML_RC_SUCCESS) {
        return rc;
    }
    if (f.rc != NVML_RC_SUCCESS) {
        return f.rc;
    }
    *mw = field_mw(&f);
    return *mw >= 0 ? NVML_RC_SUCCESS : NVML_RC_UNKNOWN;
}

static nvml_rc gpu_power(const struct nvml_api *api, const struct gpu *g, double *mw) {
    nvml_rc rc;
    if (g->power_field) {
        rc = field_power(api, g->handle, g->power_field, g->scope, mw);
    } else {
        unsigned usage_mw = 0;
        rc = api->power(g->handle, &usage_mw);
        *mw = usage_mw;
    }
    /* Values of all ones mean "unknown" in some drivers. */
    return rc == NVML_RC_SUCCESS && *mw > MAX_GPU_W * 1e3 ? NVML_RC_UNKNOWN : rc;
}

/* ---- probing ---- */

enum { WAY_INSTANT, WAY_AVERAGE, WAY_USAGE, N_WAYS };

static const struct {
    unsigned field; /* 0: nvmlDeviceGetPowerUsage */
    const char *source;
    int64_t update_ns;
    double duty;
} ways[N_WAYS] = {
    [WAY_INSTANT] = {NVML_FIELD_POWER_INSTANT, "nvml instant power", UPDATE_NS, INSTANT_DUTY},
    [WAY_AVERAGE] = {NVML_FIELD_POWER_AVERAGE, "nvml average power", AVERAGING_NS, 1},
    [WAY_USAGE] = {0, "nvml power", AVERAGING_NS, 1},
};

/* What the GPU answers with, in order of preference; false when it tells no power. */
static bool choose_power(const struct nvml_api *api, struct gpu *g, struct sensor_component *c) {
    static const int beside_counter[N_WAYS] = {WAY_INSTANT, WAY_AVERAGE, WAY_USAGE};
    static const int alone[N_WAYS] = {WAY_AVERAGE, WAY_USAGE, WAY_INSTANT};
    for (int i = 0; i < N_WAYS; i++) {
        int way = g->has_counter ? beside_counter[i] : alone[i];
        double mw;
        g->power_field = ways[way].field;
        if (gpu_power(api, g, &mw) == NVML_RC_SUCCESS && mw > 0) {
            note_set(c->power_source, sizeof(c->power_source), "%s", ways[way].source);
            c->power_update_ns = ways[way].update_ns;
            c->power_duty = ways[way].duty;
            return true;
        }
    }
    return false;
}

static nvml_rc choose_counter(const struct nvml_api *api, struct gpu *g,
                              struct sensor_component *c) {
    unsigned long long mj;
    nvml_rc rc = api->energy ? api->energy(g->handle, &mj) : NVML_RC_NOT_SUPPORTED;
    if (rc == NVML_RC_SUCCESS) {
        g->has_counter = true;
        g->counter = (struct counter){.unit_j = 1e-3, .max_w = MAX_GPU_W};
        c->counter_update_ns = UPDATE_NS;
        note_set(c->counter_source, sizeof(c->counter_source), "nvml counter");
    }
    return rc;
}

static bool is_module(const struct nvml_api *api, nvml_device d) {
    double mw;
    return field_power(api, d, NVML_FIELD_POWER_INSTANT, NVML_SCOPE_MODULE, &mw) ==
               NVML_RC_SUCCESS &&
           mw > 0;
}

static void identify(const struct nvml_api *api, nvml_device d, struct meter_component *info) {
    struct nvml_pci pci;
    if (api->name(d, info->device_name, sizeof(info->device_name)) != NVML_RC_SUCCESS) {
        info->device_name[0] = '\0';
    }
    if (api->uuid(d, info->device_id, sizeof(info->device_id)) != NVML_RC_SUCCESS) {
        info->device_id[0] = '\0';
    }
    if (api->pci(d, &pci) == NVML_RC_SUCCESS) {
        note_set(info->pci, sizeof(info->pci), "%s", pci.bus_id);
    }
}

/* "0000:65:00.0" is "00000000:65:00.0": compared from the end, in either case. */
static bool same_bus_id(const char *wanted, size_t len, const char *pci) {
    size_t have = strlen(pci);
    return len >= strlen("65:00.0") && len <= have &&
           strncasecmp(pci + have - len, wanted, len) == 0;
}

/* Is it this GPU that the first len characters of wanted mean? */
static bool means(const char *wanted, size_t len, const struct meter_component *info) {
    return (len == strlen(info->name) && strncmp(wanted, info->name, len) == 0) ||
           (len == strlen(info->device_id) && strncasecmp(wanted, info->device_id, len) == 0) ||
           same_bus_id(wanted, len, info->pci);
}

/* Is the GPU in the list of names, UUIDs and bus ids? An empty list has all. */
static bool selected(const char *list, const struct meter_component *info) {
    if (!list || !*list) {
        return true;
    }
    for (const char *at = list; at;) {
        size_t len = strcspn(at, ",");
        if (means(at, len, info)) {
            return true;
        }
        at = at[len] ? at + len + 1 : NULL;
    }
    return false;
}

/* A GPU that was asked for and is not there must not go unnoticed. */
static int check_all_found(const struct sensor *s, const char *list, struct err *e) {
    for (const char *at = list && *list ? list : NULL; at;) {
        size_t len = strcspn(at, ",");
        bool found = false;
        for (size_t i = 0; i < s->n; i++) {
            found = found || means(at, len, &s->c[i].info);
        }
        if (!found) {
            return err_set(e, EE_USAGE,
                           "no GPU is called %.*s: give a UUID or PCI bus id as nvidia-smi -L and "
                           "nvidia-smi print them",
                           (int)len, at);
        }
        at = at[len] ? at + len + 1 : NULL;
    }
    return 0;
}

static bool is_virtual(const struct nvml_api *api, nvml_device d) {
    int mode = 0;
    return api->virtualization && api->virtualization(d, &mode) == NVML_RC_SUCCESS &&
           mode == NVML_VIRTUALIZATION_VGPU;
}

/* A GPU without energy and power: why, and what to do. */
static void explain_silence(const struct nvml_api *api, nvml_device d, nvml_rc rc,
                            struct sensor_component *c) {
    if (is_virtual(api, d)) {
        note_set(c->missing, sizeof(c->missing),
                 "a virtual GPU (vGPU) tells neither energy nor power");
        note_set(c->fix, sizeof(c->fix), "%s",
                 "measure on the host of the virtual machine, or pass the whole GPU through to it");
        return;
    }
    note_set(c->missing, sizeof(c->missing),
             "NVML tells neither energy nor power of this GPU (%s): Jetson boards and some old or "
             "small GPUs refuse",
             reason_of(api, rc));
}

static void add_gpu(struct sensor *s, const char *name, nvml_device d, const char *gpus) {
    struct nvml *nv = s->state;
    bool module = is_module(&nv->api, d);
    struct sensor_component *c = sensor_add(s, name, module ? "module" : "gpu");
    if (!c) {
        return;
    }
    identify(&nv->api, d, &c->info);
    if (!selected(gpus, &c->info)) {
        s->n--;
        return;
    }
    struct gpu *g = &nv->gpus[s->n - 1];
    *g = (struct gpu){.handle = d, .scope = module ? NVML_SCOPE_MODULE : NVML_SCOPE_GPU};
    c->info.gain = GAIN_NVML;
    nvml_rc rc = choose_counter(&nv->api, g, c);
    bool has_power = choose_power(&nv->api, g, c);
    if (!has_power && !g->has_counter) {
        explain_silence(&nv->api, d, rc, c);
    }
    note_set(c->info.source, sizeof(c->info.source), "%s",
             g->has_counter ? c->counter_source : c->power_source);
    if (module) {
        s->covers |= SENSOR_CPU | SENSOR_DRAM;
        note_set(c->info.detail, sizeof(c->info.detail), "GPU, CPU and memory of the module");
    }
    unsigned mig = 0, pending = 0;
    if (nv->api.mig && nv->api.mig(d, &mig, &pending) == NVML_RC_SUCCESS && mig) {
        c->info.shared = true;
        note_add(c->info.detail, sizeof(c->info.detail), "; ",
                 "MIG is on: the whole GPU, not one slice of it");
    }
}

/* The driver is there and refuses: a GPU that may be at work and is not counted. */
static void add_refusal(struct sensor *s, const char *name, nvml_rc rc) {
    const struct nvml *nv = s->state;
    struct sensor_component *c = sensor_add(s, name, "gpu");
    if (c) {
        note_set(c->info.source, sizeof(c->info.source), "nvml");
        note_set(c->missing, sizeof(c->missing), "NVML: %s", reason_of(&nv->api, rc));
        note_set(c->fix, sizeof(c->fix), "%s",
                 rc == NVML_RC_VERSION_MISMATCH ? "the driver was updated while loaded: sudo reboot"
                 : rc == NVML_RC_NO_PERMISSION
                     ? "ls -l /dev/nvidia*: this user needs to read and write them (often: sudo "
                       "usermod -aG video,render $USER, then log in again)"
                     : "");
    }
}

static int find_gpus(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct nvml *nv = s->state;
    unsigned n = 0;
    nvml_rc rc = nv->api.count(&n);
    if (rc != NVML_RC_SUCCESS) {
        add_refusal(s, "gpu", rc);
        return 0;
    }
    for (unsigned i = 0; i < n; i++) {
        nvml_device d;
        char name[24];
        note_set(name, sizeof(name), "gpu%u", i);
        rc = nv->api.handle(i, &d);
        if (rc == NVML_RC_SUCCESS) {
            add_gpu(s, name, d, env->gpus);
        } else if (rc != NVML_RC_NO_PERMISSION && !env->gpus) { /* else: not ours to use */
            add_refusal(s, name, rc);
        }
    }
    if (n == 0) {
        return err_set(e, EE_MISSING, "the driver shows no NVIDIA GPU");
    }
    return check_all_found(s, env->gpus, e);
}

static int nvml_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct nvml *nv = calloc(1, sizeof(*nv));
    s->state = nv;
    if (!nv) {
        return err_set(e, EE_NOMEM, "out of memory for the NVML sensor");
    }
    const char *path = env->nvml_path ? env->nvml_path : DEFAULT_LIBRARY;
    if (!load_library(&nv->api, path)) {
        return err_set(
            e, EE_MISSING,
            "no usable %s: no NVIDIA driver is installed, or a container was started without the "
            "GPU",
            path);
    }
    nvml_rc rc = nv->api.init();
    if (rc == NVML_RC_DRIVER_NOT_LOADED) {
        return err_set(e, EE_MISSING, "the NVIDIA driver is not loaded: sudo modprobe nvidia");
    }
    if (rc != NVML_RC_SUCCESS) {
        add_refusal(s, "gpu", rc);
        return 0;
    }
    nv->initialised = true;
    return find_gpus(s, env, e);
}

/* ---- reading ---- */

static void read_power(const struct nvml *nv, const struct gpu *g, struct sensor *s,
                       struct sensor_value *out) {
    double mw;
    nvml_rc rc = gpu_power(&nv->api, g, &mw);
    if (rc == NVML_RC_SUCCESS) {
        sensor_value_ok_power(out, sensor_now_ns(s), mw / 1e3);
    } else {
        out->power = SENSOR_FAILED;
        note_set(out->power_why, sizeof(out->power_why), "NVML: %s", reason_of(&nv->api, rc));
    }
}

static void read_counter(const struct nvml *nv, struct gpu *g, struct sensor *s,
                         struct sensor_value *out) {
    unsigned long long mj;
    char why[200];
    nvml_rc rc = nv->api.energy(g->handle, &mj);
    int64_t now_ns = sensor_now_ns(s);
    if (rc != NVML_RC_SUCCESS) {
        counter_forget(&g->counter);
        out->counter = SENSOR_FAILED;
        note_set(out->counter_why, sizeof(out->counter_why), "NVML: %s", reason_of(&nv->api, rc));
    } else if (counter_advance(&g->counter, mj, now_ns, why, sizeof(why)) < 0) {
        out->counter = SENSOR_FAILED;
        note_set(out->counter_why, sizeof(out->counter_why), "NVML's counter %s", why);
    } else {
        sensor_value_ok_counter(out, now_ns, counter_joules(&g->counter));
    }
}

static void nvml_read(struct sensor *s, size_t i, enum sensor_depth depth,
                      struct sensor_value *out) {
    struct nvml *nv = s->state;
    struct gpu *g = &nv->gpus[i];
    const struct sensor_component *c = &s->c[i];
    if (c->power_source[0]) {
        read_power(nv, g, s, out);
    }
    /* Without a power reading the counter is all there is: read it at every sample. */
    if (g->has_counter && (depth == SENSOR_FULL || !c->power_source[0])) {
        read_counter(nv, g, s, out);
    }
}

static int nvml_memory(struct sensor *s, size_t i, uint64_t *used, uint64_t *total, struct err *e) {
    struct nvml *nv = s->state;
    struct nvml_memory mem;
    nvml_rc rc = nv->api.memory ? nv->api.memory(nv->gpus[i].handle, &mem) : NVML_RC_NOT_SUPPORTED;
    if (rc != NVML_RC_SUCCESS) {
        return err_set(e, EE_UNSUPPORTED, "memory of %s: %s", s->c[i].info.name,
                       reason_of(&nv->api, rc));
    }
    *used = mem.used;
    *total = mem.total;
    return 0;
}

static int nvml_gpu_state(struct sensor *s, size_t i, struct meter_gpu_state *out, struct err *e) {
    struct nvml *nv = s->state;
    if (!nv->gpus[i].handle) {
        return err_set(e, EE_UNSUPPORTED, "%s cannot be asked: %s", s->c[i].info.name,
                       s->c[i].missing);
    }
    nvml_state(&nv->api, nv->gpus[i].handle, out);
    return 0;
}

static void nvml_close(struct sensor *s) {
    struct nvml *nv = s->state;
    if (!nv) {
        return;
    }
    if (nv->initialised) {
        nv->api.shutdown();
    }
    if (nv->api.loaded) {
        dlclose(nv->api.loaded);
    }
    free(nv);
}

/* A GPU on the bus, whether or not there is a driver for it. */
static void look_for_nvidia(const char *entry, void *ctx) {
    const struct sensor_env **env = ctx;
    char dir[SYSFILE_PATH_MAX];
    char path[SYSFILE_PATH_MAX];
    char vendor[16];
    char class[16];
    if (*env && sysfile_path(dir, "", "/sys/bus/pci/devices", entry) &&
        sysfile_path(path, (*env)->root, dir, "vendor") &&
        sysfile_read_line(path, vendor, sizeof(vendor)) > 0 &&
        sysfile_path(path, (*env)->root, dir, "class") &&
        sysfile_read_line(path, class, sizeof(class)) > 0 && strcmp(vendor, "0x10de") == 0 &&
        strncmp(class, "0x03", 4) == 0) {
        *env = NULL; /* found */
    }
}

static void nvml_advise(const struct sensor_env *env, char *out, size_t size) {
    const char *root = env->root;
    const struct sensor_env *left = env;
    sensor_each_entry(root, "/sys/bus/pci/devices", look_for_nvidia, &left);
    if (left) {
        return; /* no such GPU */
    }
    note_set(out, size, "%s",
             sensor_in_container(root)
                 ? "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ..."
                 : "install NVIDIA's driver (sudo apt install nvidia-driver), or sudo modprobe "
                   "nvidia where it is installed");
}

const struct sensor_ops sensor_nvml = {
    .name = "nvml",
    .what = "NVIDIA GPUs by NVML",
    .covers = SENSOR_GPU,
    .automatic = true,
    .probe = nvml_probe,
    .read = nvml_read,
    .advise = nvml_advise,
    .memory = nvml_memory,
    .gpu_state = nvml_gpu_state,
    .close = nvml_close,
};
