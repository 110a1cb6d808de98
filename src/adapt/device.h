/*
 * Where training computes: one ggml backend. The CPU gets our own kernels beside ggml's; any other
 * device computes with ggml's operations alone, and so can the CPU, to test that road.
 */
#ifndef ADAPT_DEVICE_H
#define ADAPT_DEVICE_H

#include "base/err.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <stdbool.h>
#include <stdint.h>

struct device {
    ggml_backend_t backend;
    int n_threads;          /* of the CPU; 1 on other devices */
    bool own_kernels;       /* cpu_*.h serve it */
    enum ggml_type compute; /* of products with frozen matrices: F32, BF16 or F16 */
    char name[128];         /* "CPU", or the accelerator's */
};

/*
 * name: NULL or "cpu"; "gpu" for the first accelerator; else a backend device's name as ggml knows
 * it ("CUDA1"). n_threads 0: one a hardware thread. plain_ops: ggml's operations on the CPU too.
 */
int device_open(const char *name, int n_threads, bool plain_ops, struct device *d,
                struct err *e) EE_MUST_CHECK;
void device_close(struct device *d);

/* Names for device_set_compute, NULL-terminated: auto, f32, bf16, f16. */
extern const char *const compute_names[];
/*
 * What both factors of products with frozen matrices are rounded to before they are multiplied, as
 * mixed-precision training does: F32 after device_open. NULL or "auto": see device_auto_compute. Our
 * kernels know F32 alone; other types are refused where they serve. in_blocks: the base is quantized.
 */
int device_set_compute(struct device *d, const char *name, bool in_blocks,
                       struct err *e) EE_MUST_CHECK;
/* F32 on a CPU, and for a base in blocks, which becomes F32 on the way in any case: to round and to turn
 * that over once more costs an H100 more than its faster products save. Else BF16. */
enum ggml_type device_auto_compute(bool is_cpu, bool in_blocks);

/* Makes the tensors of ctx look allocated, so that graphs over them can be measured; nothing may read
 * or write them. */
void device_pretend(struct ggml_context *ctx);

/* Bytes that may still be allocated on it; 0 when nobody knows. */
uint64_t device_free_bytes(const struct device *d);

#endif
