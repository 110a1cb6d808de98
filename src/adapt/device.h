/*
 * Where training computes: one ggml backend. The CPU gets our own kernels beside ggml's; any other
 * device computes with ggml's operations alone, and so can the CPU, to test that road.
 */
#ifndef ADAPT_DEVICE_H
#define ADAPT_DEVICE_H

#include "base/err.h"

#include <ggml-backend.h>
#include <stdbool.h>
#include <stdint.h>

struct device {
    ggml_backend_t backend;
    int n_threads;    /* of the CPU; 1 on other devices */
    bool own_kernels; /* cpu_*.h serve it */
    char name[128];   /* "CPU", or the accelerator's */
};

/*
 * name: NULL or "cpu"; "gpu" for the first accelerator; else a backend device's name as ggml knows
 * it ("CUDA1"). n_threads 0: one a hardware thread. plain_ops: ggml's operations on the CPU too.
 */
int device_open(const char *name, int n_threads, bool plain_ops, struct device *d,
                struct err *e) EE_MUST_CHECK;
void device_close(struct device *d);

/* Makes the tensors of ctx look allocated, so that graphs over them can be measured; nothing may read
 * or write them. */
void device_pretend(struct ggml_context *ctx);

/* Bytes that may still be allocated on it; 0 when nobody knows. */
uint64_t device_free_bytes(const struct device *d);

#endif
