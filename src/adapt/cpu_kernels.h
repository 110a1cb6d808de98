/*
 * The CPU's inner loops: F32 products over matrices of any ggml type, fused attention, and the
 * elementwise work of a layer. One source, compiled for several instruction sets; the best that
 * this machine has is picked at run time.
 *
 * A kernel computes thread ith's share of nth. Shares never overlap and no result depends on nth:
 * every output is summed up in one fixed order.
 */
#ifndef ADAPT_CPU_KERNELS_H
#define ADAPT_CPU_KERNELS_H

#include "adapt/ops.h"

#include <ggml.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GEMM_KC = 256, /* values of the sum at once: a panel of B then fits the first-level cache */
    GEMM_NC = 512, /* columns at once: a block of B then fits the second-level cache */
    GEMM_MC = 96,  /* rows at once */
    GEMM_MAX_PANEL = 32,
    GEMM_TERMS = 2,
};

/* Memory of one thread. */
struct cpu_scratch {
    float *b;    /* [GEMM_KC * GEMM_NC] packed */
    float *a;    /* [GEMM_MC * GEMM_KC] masked */
    float *rows; /* [GEMM_MAX_PANEL * GEMM_KC] dequantized; at least GEMM_NC */
    float *attn; /* [cpu_attention_floats] */
};

/* alpha * A B, masked where a mask is given: 1 keeps a value, 0 drops it. */
struct gemm_term {
    int64_t k;
    const float *a; /* A[i][k] at a[i * a_row + k * a_col]; one of both is 1 */
    int64_t a_row;
    int64_t a_col;
    const uint8_t *a_mask; /* of A, rows of k values; or NULL */
    const void *b;         /* rows of b_row_bytes of b_type */
    enum ggml_type b_type;
    size_t b_row_bytes;
    bool b_is_columns;     /* b's rows are B's columns, as in y = W x; else B's rows */
    const uint8_t *b_mask; /* of b's rows of n values, where they are B's rows; or NULL */
    float alpha;
    const uint8_t *c_mask; /* of the product, rows of n values; or NULL */
};

/* C = bias + sum of terms, or C + ... with add. */
struct gemm {
    int64_t m;
    int64_t n;
    float *c;
    int64_t c_row;
    const float *bias; /* [n] or NULL */
    bool add;
    int n_terms;
    struct gemm_term terms[GEMM_TERMS];
};

/* Rows of heads: value d of head h at token t is at p[t * row + h * head_dim + d]. */
struct head_rows {
    float *p;
    int64_t row;
};

struct attention_job {
    struct head_rows q, k, v;
    struct head_rows out;        /* forward: written. backward: the gradient of it, read */
    struct head_rows dq, dk, dv; /* backward */
    int head_dim;
    int n_head;
    int n_head_kv;
    float scale;
    const struct segment *segments;
    int n_segments;
};

struct cpu_kernels {
    const char *name;
    bool (*usable)(void);
    void (*gemm)(const struct gemm *g, const struct cpu_scratch *s, int ith, int nth);
    void (*attention)(const struct attention_job *j, const struct cpu_scratch *s, int ith, int nth);
    void (*attention_back)(const struct attention_job *j, const struct cpu_scratch *s, int ith,
                           int nth);
    /* x [rows][n]: softmax minus target, times weight, in place; losses [rows]. targets are
     * row * n + column. */
    void (*cross_entropy)(float *x, const int32_t *targets, float *losses, int64_t n, int64_t rows,
                          float weight, int ith, int nth);
    void (*norm)(const float *x, const float *w, float *y, int64_t n, int64_t rows, float eps,
                 int ith, int nth);
    /* dx = sum + gradient; sum may be NULL. */
    void (*norm_back)(const float *x, const float *w, const float *dy, const float *sum, float *dx,
                      int64_t n, int64_t rows, float eps, int ith, int nth);
    void (*swiglu)(const float *gate, const float *up, float *y, int64_t n, int ith, int nth);
    /* d[0] and d[1]: gradients of gate and up, n values each, behind one another. */
    void (*swiglu_back)(const float *gate, const float *up, const float *dy, float *d, int64_t n,
                        int ith, int nth);
};

/* Fastest first; NULL-terminated. The last runs anywhere. */
extern const struct cpu_kernels *const cpu_kernel_sets[];
/* The fastest usable set. */
const struct cpu_kernels *cpu_kernels_best(void);
/* Floats of cpu_scratch.attn for sequences of up to max_len tokens. */
size_t cpu_attention_floats(int max_len, int head_dim);

#endif
