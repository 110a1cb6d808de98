#include "adapt/device.h"

#include "base/machine.h"
#include "engine/engine.h"
#include "engine/llama_internal.h"

#include <stdio.h>
#include <string.h>

static ggml_backend_dev_t find_device(const char *name) {
    if (!name || strcmp(name, "cpu") == 0) {
        return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    }
    if (strcmp(name, "gpu") == 0) {
        ggml_backend_dev_t gpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
        return gpu ? gpu : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU);
    }
    return ggml_backend_dev_by_name(name);
}

static int no_such_device(const char *name, struct err *e) {
    struct buf all;
    buf_init(&all);
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        buf_addf(&all, "%s%s", i ? ", " : "", ggml_backend_dev_name(ggml_backend_dev_get(i)));
    }
    int rc = err_set(e, EE_MISSING, "no device \"%.60s\" here; there are: %s", name, all.data);
    buf_release(&all);
    return rc;
}

static void set_threads(ggml_backend_dev_t dev, struct device *d) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(dev);
    /* The CPU backend is loaded at run time, so its functions are asked for by name. */
    ggml_backend_set_n_threads_t set = (ggml_backend_set_n_threads_t)(uintptr_t)
        ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    if (set) {
        set(d->backend, d->n_threads);
    }
}

int device_open(const char *name, int n_threads, bool plain_ops, struct device *d, struct err *e) {
    *d = (struct device){0};
    int rc = llama_start_backends(e);
    if (rc) {
        return rc;
    }
    ggml_backend_dev_t dev = find_device(name);
    if (!dev) {
        return no_such_device(name, e);
    }
    bool is_cpu = ggml_backend_dev_type(dev) == GGML_BACKEND_DEVICE_TYPE_CPU;
    d->backend = ggml_backend_dev_init(dev, NULL);
    if (!d->backend) {
        return err_set(e, EE_FAIL, "the device %s does not start", ggml_backend_dev_name(dev));
    }
    d->own_kernels = is_cpu && !plain_ops;
    d->n_threads = !is_cpu ? 1 : n_threads > 0 ? n_threads : machine_hw_threads();
    snprintf(d->name, sizeof(d->name), "%s", is_cpu ? "CPU" : ggml_backend_dev_description(dev));
    set_threads(dev, d);
    return 0;
}

const char *const compute_names[] = {"auto", "f32", "bf16", "f16", NULL};

enum ggml_type device_auto_compute(bool is_cpu, bool in_blocks) {
    return is_cpu || in_blocks ? GGML_TYPE_F32 : GGML_TYPE_BF16;
}

int device_set_compute(struct device *d, const char *name, bool in_blocks, struct err *e) {
    static const enum ggml_type types[] = {GGML_TYPE_COUNT, GGML_TYPE_F32, GGML_TYPE_BF16,
                                           GGML_TYPE_F16};
    ggml_backend_dev_t dev = ggml_backend_get_device(d->backend);
    bool is_cpu = ggml_backend_dev_type(dev) == GGML_BACKEND_DEVICE_TYPE_CPU;
    int i = 0;
    while (name && compute_names[i] && strcmp(compute_names[i], name) != 0) {
        i++;
    }
    if (!compute_names[i]) {
        return err_set(e, EE_USAGE,
                       "unknown compute type \"%.40s\"; there are: auto, f32, bf16, f16", name);
    }
    d->compute = i > 0 ? types[i] : device_auto_compute(is_cpu, in_blocks);
    if (d->own_kernels && d->compute != GGML_TYPE_F32) {
        return err_set(e, EE_UNSUPPORTED,
                       "the CPU computes in f32 here, not in %s; --plain-ops does, slowly", name);
    }
    return 0;
}

void device_close(struct device *d) {
    if (d->backend) {
        ggml_backend_free(d->backend);
    }
    *d = (struct device){0};
}

void device_pretend(struct ggml_context *ctx) {
    static char nowhere[64];
    for (struct ggml_tensor *t = ggml_get_first_tensor(ctx); t; t = ggml_get_next_tensor(ctx, t)) {
        t->data = nowhere;
    }
}

uint64_t device_free_bytes(const struct device *d) {
    ggml_backend_dev_t dev = ggml_backend_get_device(d->backend);
    if (ggml_backend_dev_type(dev) == GGML_BACKEND_DEVICE_TYPE_CPU) {
        return machine_available_memory_bytes();
    }
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    ggml_backend_dev_memory(dev, &free_bytes, &total_bytes);
    return free_bytes;
}
