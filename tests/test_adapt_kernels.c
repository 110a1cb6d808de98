/* Every set of CPU kernels against the definitions in double precision, at awkward sizes. */
#include "adapt/cpu_kernels.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_LEN = 150 };

static struct rng rng;

static float *randoms(size_t n) {
    float *p = malloc(n * sizeof(*p));
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        p[i] = (float)rng_uniform(&rng) - 0.5F;
    }
    return p;
}

static uint8_t *random_bits(size_t n) {
    uint8_t *p = malloc(n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        p[i] = rng_uniform(&rng) < 0.7;
    }
    return p;
}

static struct cpu_scratch scratch;

static int set_up(void **state) {
    (void)state;
    rng_init(&rng, 1);
    scratch.b = malloc(sizeof(float) * GEMM_KC * GEMM_NC);
    scratch.a = malloc(sizeof(float) * GEMM_MC * GEMM_KC);
    scratch.rows = malloc(sizeof(float) * GEMM_MAX_PANEL * GEMM_KC);
    scratch.attn = malloc(sizeof(float) * cpu_attention_floats(MAX_LEN, 64));
    return scratch.b && scratch.a && scratch.rows && scratch.attn ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    free(scratch.b);
    free(scratch.a);
    free(scratch.rows);
    free(scratch.attn);
    return 0;
}

typedef void kernel_test(const struct cpu_kernels *k);

static void for_each_set(kernel_test *test) {
    int n = 0;
    for (const struct cpu_kernels *const *k = cpu_kernel_sets; *k; k++) {
        if ((*k)->usable()) {
            test(*k);
            n++;
        }
    }
    assert_true(n > 0);
}

static void check_near(const struct cpu_kernels *k, const char *what, double got, double want,
                       double tolerance) {
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("%s: %s is %.9g and should be %.9g", k->name, what, got, want);
    }
}

/* --- Products -------------------------------------------------------------------------------- */

struct gemm_case {
    int64_t m, n, k;
    bool a_columns; /* A lies transposed */
    bool b_is_columns;
    bool masks;
    bool bias;
    bool add;
    enum ggml_type type;
};

static void run_threads(const struct cpu_kernels *k, const struct gemm *g, int nth) {
    for (int ith = 0; ith < nth; ith++) {
        k->gemm(g, &scratch, ith, nth);
    }
}

/* B as the kernel sees it: quantized and back. */
static void *quantize(enum ggml_type type, float *b, int64_t rows, int64_t row) {
    void *q = malloc(ggml_row_size(type, row) * (size_t)rows);
    assert_non_null(q);
    if (type == GGML_TYPE_F32) {
        memcpy(q, b, (size_t)(rows * row) * sizeof(float));
    } else {
        ggml_quantize_chunk(type, b, q, 0, rows, row, NULL);
        ggml_get_type_traits(type)->to_float(q, b, rows * row);
    }
    return q;
}

static void check_gemm(const struct cpu_kernels *kernels, const struct gemm_case *c, int nth) {
    float *a = randoms((size_t)(c->m * c->k));
    float *b = randoms((size_t)(c->n * c->k));
    float *bias = randoms((size_t)c->n);
    float *out = randoms((size_t)(c->m * c->n));
    uint8_t *a_mask = random_bits((size_t)(c->m * c->k));
    uint8_t *b_mask = random_bits((size_t)(c->n * c->k));
    uint8_t *c_mask = random_bits((size_t)(c->m * c->n));
    double *want = malloc((size_t)(c->m * c->n) * sizeof(*want));
    const int64_t b_row = c->b_is_columns ? c->k : c->n;
    const int64_t b_rows = c->b_is_columns ? c->n : c->k;
    void *held = quantize(c->type, b, b_rows, b_row);
    const bool mask_a = c->masks && !c->a_columns;
    const bool mask_b = c->masks && !c->b_is_columns;
    for (int64_t i = 0; i < c->m; i++) {
        for (int64_t j = 0; j < c->n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < c->k; k++) {
                float x = c->a_columns ? a[k * c->m + i] : a[i * c->k + k];
                float y = c->b_is_columns ? b[j * c->k + k] : b[k * c->n + j];
                x = mask_a && !a_mask[i * c->k + k] ? 0 : x;
                y = mask_b && !b_mask[k * c->n + j] ? 0 : y;
                sum += (double)x * (double)y;
            }
            sum *= c->masks && !c_mask[i * c->n + j] ? 0 : 2;
            sum += c->bias ? (double)bias[j] : 0;
            want[i * c->n + j] = sum + (c->add ? (double)out[i * c->n + j] : 0);
        }
    }
    const struct gemm g = {.m = c->m,
                           .n = c->n,
                           .c = out,
                           .c_row = c->n,
                           .bias = c->bias ? bias : NULL,
                           .add = c->add,
                           .n_terms = 1,
                           .terms = {{.k = c->k,
                                      .a = a,
                                      .a_row = c->a_columns ? 1 : c->k,
                                      .a_col = c->a_columns ? c->m : 1,
                                      .a_mask = mask_a ? a_mask : NULL,
                                      .b = held,
                                      .b_type = c->type,
                                      .b_row_bytes = ggml_row_size(c->type, b_row),
                                      .b_is_columns = c->b_is_columns,
                                      .b_mask = mask_b ? b_mask : NULL,
                                      .alpha = 2,
                                      .c_mask = c->masks ? c_mask : NULL}}};
    run_threads(kernels, &g, nth);
    for (int64_t i = 0; i < c->m * c->n; i++) {
        check_near(kernels, "a product", (double)out[i], want[i], 2e-5 * sqrt((double)c->k));
    }
    free(a);
    free(b);
    free(bias);
    free(out);
    free(a_mask);
    free(b_mask);
    free(c_mask);
    free(want);
    free(held);
}

static void check_gemms(const struct cpu_kernels *k) {
    static const struct gemm_case cases[] = {
        {1, 1, 1, false, true, false, false, false, GGML_TYPE_F32},
        {13, 33, 7, false, true, false, true, false, GGML_TYPE_F32},
        {100, 70, 300, false, true, true, true, true, GGML_TYPE_F32},
        {29, 48, 65, true, false, true, false, true, GGML_TYPE_F32},
        {16, 31, 130, true, false, false, false, true, GGML_TYPE_F32},
        {25, 600, 40, false, false, true, false, false, GGML_TYPE_F32},
        {37, 96, 64, false, true, false, false, false, GGML_TYPE_F16},
        {37, 96, 64, false, false, false, false, false, GGML_TYPE_BF16},
        {20, 64, 320, false, true, false, true, false, GGML_TYPE_Q8_0},
        {20, 320, 64, false, false, false, false, false, GGML_TYPE_Q4_1},
        {17, 40, 512, false, true, false, false, false, GGML_TYPE_Q4_K},
        {17, 768, 40, false, false, false, false, false, GGML_TYPE_Q4_K},
        {17, 160, 96, false, false, false, false, false, GGML_TYPE_IQ4_NL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int nth = 1; nth <= 4; nth++) {
            check_gemm(k, &cases[i], nth);
        }
    }
}

static void products(void **state) {
    (void)state;
    for_each_set(check_gemms);
}

/* --- Attention ------------------------------------------------------------------------------- */

enum { HEAD_DIM = 48, N_HEAD = 4, N_KV = 2 };

struct attention_data {
    float *q, *k, *v, *dout;
    int n;
};

static float *row_of(float *p, int token, int head, int n_heads) {
    return p + ((int64_t)token * n_heads + head) * HEAD_DIM;
}

static double dot(const float *a, const float *b) {
    double s = 0;
    for (int d = 0; d < HEAD_DIM; d++) {
        s += (double)a[d] * (double)b[d];
    }
    return s;
}

/* Probabilities of one query over [start, token]. */
static void probabilities(const struct attention_data *x, int start, int token, int head,
                          double *p) {
    double sum = 0;
    for (int j = start; j <= token; j++) {
        p[j - start] = exp(0.3 * dot(row_of(x->q, token, head, N_HEAD),
                                     row_of(x->k, j, head / (N_HEAD / N_KV), N_KV)));
        sum += p[j - start];
    }
    for (int j = start; j <= token; j++) {
        p[j - start] /= sum;
    }
}

/* Output, and gradients by the definition, of one segment. */
static void reference(const struct attention_data *x, struct segment s, double *out, double *dq,
                      double *dk, double *dv) {
    double p[MAX_LEN];
    double dp[MAX_LEN];
    for (int t = s.start; t < s.start + s.len; t++) {
        for (int h = 0; h < N_HEAD; h++) {
            const int kv = h / (N_HEAD / N_KV);
            const int64_t at = ((int64_t)t * N_HEAD + h) * HEAD_DIM;
            const float *d = x->dout + at;
            double mean = 0;
            probabilities(x, s.start, t, h, p);
            for (int j = s.start; j <= t; j++) {
                dp[j - s.start] = dot(d, row_of(x->v, j, kv, N_KV));
                mean += p[j - s.start] * dp[j - s.start];
            }
            for (int j = s.start; j <= t; j++) {
                const double pj = p[j - s.start];
                const double ds = 0.3 * pj * (dp[j - s.start] - mean);
                const int64_t kv_at = ((int64_t)j * N_KV + kv) * HEAD_DIM;
                for (int c = 0; c < HEAD_DIM; c++) {
                    out[at + c] += pj * (double)x->v[kv_at + c];
                    dq[at + c] += ds * (double)x->k[kv_at + c];
                    dk[kv_at + c] += ds * (double)x->q[at + c];
                    dv[kv_at + c] += pj * (double)d[c];
                }
            }
        }
    }
}

static void check_all_near(const struct cpu_kernels *k, const char *what, const float *got,
                           const double *want, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        check_near(k, what, (double)got[i], want[i], 1e-5);
    }
}

static void check_attention(const struct cpu_kernels *k) {
    static const struct segment segments[] = {{0, 1}, {1, 63}, {64, MAX_LEN}};
    enum { N = 64 + MAX_LEN, Q = N * N_HEAD * HEAD_DIM, KV = N * N_KV * HEAD_DIM };
    struct attention_data x = {randoms(Q), randoms(KV), randoms(KV), randoms(Q), N};
    double *want = calloc(2 * (Q + KV), sizeof(*want));
    float *got = malloc(2 * (Q + KV) * sizeof(*got));
    assert_non_null(want);
    assert_non_null(got);
    for (size_t i = 0; i < 3; i++) {
        reference(&x, segments[i], want, want + Q, want + 2 * Q, want + 2 * Q + KV);
    }
    struct attention_job j = {.q = {x.q, N_HEAD * HEAD_DIM},
                              .k = {x.k, N_KV * HEAD_DIM},
                              .v = {x.v, N_KV * HEAD_DIM},
                              .out = {got, N_HEAD * HEAD_DIM},
                              .dq = {got + Q, N_HEAD * HEAD_DIM},
                              .dk = {got + 2 * Q, N_KV * HEAD_DIM},
                              .dv = {got + 2 * Q + KV, N_KV * HEAD_DIM},
                              .head_dim = HEAD_DIM,
                              .n_head = N_HEAD,
                              .n_head_kv = N_KV,
                              .scale = 0.3F,
                              .segments = segments,
                              .n_segments = 3};
    for (int ith = 0; ith < 3; ith++) {
        k->attention(&j, &scratch, ith, 3);
    }
    check_all_near(k, "attention", got, want, Q);
    j.out.p = x.dout;
    for (int ith = 0; ith < 2; ith++) {
        k->attention_back(&j, &scratch, ith, 2);
    }
    check_all_near(k, "attention's gradient", got + Q, want + Q, Q + 2 * KV);
    free(x.q);
    free(x.k);
    free(x.v);
    free(x.dout);
    free(want);
    free(got);
}

static void attention_and_its_gradient(void **state) {
    (void)state;
    for_each_set(check_attention);
}

/* --- Rows ------------------------------------------------------------------------------------ */

static void check_cross_entropy(const struct cpu_kernels *k) {
    enum { N = 61, ROWS = 3 };
    float *x = randoms((size_t)N * ROWS);
    float *logits = malloc(sizeof(float) * N * ROWS);
    int32_t targets[ROWS] = {5, N + 60, 2 * N};
    float losses[ROWS];
    assert_non_null(logits);
    for (int i = 0; i < N * ROWS; i++) {
        x[i] *= 40; /* some of them far below the largest */
    }
    memcpy(logits, x, sizeof(float) * N * ROWS);
    k->cross_entropy(x, targets, losses, N, ROWS, 0.25F, 0, 2);
    k->cross_entropy(x, targets, losses, N, ROWS, 0.25F, 1, 2);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0;
        for (int i = 0; i < N; i++) {
            sum += exp((double)logits[r * N + i]);
        }
        check_near(k, "a loss", (double)losses[r], log(sum) - (double)logits[targets[r]], 2e-5);
        for (int i = 0; i < N; i++) {
            double p = exp((double)logits[r * N + i]) / sum;
            check_near(k, "a loss's gradient", (double)x[r * N + i],
                       0.25 * (p - (r * N + i == targets[r])), 1e-6);
        }
    }
    free(x);
    free(logits);
}

static void check_norm(const struct cpu_kernels *k) {
    enum { N = 37, ROWS = 5 };
    float *x = randoms((size_t)N * ROWS);
    float *w = randoms(N);
    float *dy = randoms((size_t)N * ROWS);
    float *sum = randoms((size_t)N * ROWS);
    float y[N * ROWS];
    float dx[N * ROWS];
    for (int ith = 0; ith < 2; ith++) {
        k->norm(x, w, y, N, ROWS, 1e-5F, ith, 2);
        k->norm_back(x, w, dy, sum, dx, N, ROWS, 1e-5F, ith, 2);
    }
    for (int r = 0; r < ROWS; r++) {
        double squares = 0;
        double back = 0;
        for (int i = r * N; i < (r + 1) * N; i++) {
            squares += (double)x[i] * (double)x[i];
            back += (double)w[i - r * N] * (double)dy[i] * (double)x[i];
        }
        const double s = 1 / sqrt(squares / N + 1e-5);
        for (int i = r * N; i < (r + 1) * N; i++) {
            const double wi = (double)w[i - r * N];
            check_near(k, "a norm", (double)y[i], (double)x[i] * s * wi, 1e-6);
            check_near(k, "a norm's gradient", (double)dx[i],
                       (double)sum[i] + s * wi * (double)dy[i] -
                           (double)x[i] * s * s * s / N * back,
                       1e-5);
        }
    }
    free(x);
    free(w);
    free(dy);
    free(sum);
}

static void check_swiglu(const struct cpu_kernels *k) {
    enum { N = 83 };
    float *g = randoms(N);
    float *u = randoms(N);
    float *dy = randoms(N);
    float y[N];
    float d[2 * N];
    for (int i = 0; i < N; i++) {
        g[i] *= i < 40 ? 10 : 300; /* where the sigmoid is flat, too */
    }
    for (int ith = 0; ith < 3; ith++) {
        k->swiglu(g, u, y, N, ith, 3);
        k->swiglu_back(g, u, dy, d, N, ith, 3);
    }
    for (int i = 0; i < N; i++) {
        const double x = (double)g[i];
        const double s = 1 / (1 + exp(-x));
        check_near(k, "swiglu", (double)y[i], x * s * (double)u[i], 2e-6 * (1 + fabs(x)));
        check_near(k, "swiglu's gate gradient", (double)d[i],
                   (double)dy[i] * (double)u[i] * s * (1 + x * (1 - s)), 2e-6 * (1 + fabs(x)));
        check_near(k, "swiglu's up gradient", (double)d[N + i], (double)dy[i] * x * s,
                   2e-6 * (1 + fabs(x)));
    }
    free(g);
    free(u);
    free(dy);
}

static void rows(void **state) {
    (void)state;
    for_each_set(check_cross_entropy);
    for_each_set(check_norm);
    for_each_set(check_swiglu);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(attention_and_its_gradient),
        cmocka_unit_test(rows),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
