/*
 * A pass on the CPU: every heavy operation is a custom node that runs one of cpu_kernels.h. What
 * differs from ops_plain.c is speed and memory, not values: matrices are dequantized a panel at a
 * time for many tokens at once, the adapter's part is added inside the product, dropout masks are
 * bytes, attention keeps no probabilities.
 */
#include "adapt/ops_cpu.h"

#include "adapt/cpu_kernels.h"
#include "adapt/ops.h"

#include <stdlib.h>

enum { CACHE_LINE = 64 };

struct work {
    const struct cpu_kernels *kernels;
    int n_threads;
    float *memory;
    struct cpu_scratch scratch[];
};

static size_t scratch_floats(const struct model_shape *s, int max_segment) {
    return (size_t)GEMM_KC * GEMM_NC + (size_t)GEMM_MC * GEMM_KC +
           (size_t)GEMM_MAX_PANEL * GEMM_KC + cpu_attention_floats(max_segment, s->head_dim);
}

uint64_t ops_cpu_work_bytes(int n_threads, const struct model_shape *s, int max_segment) {
    return (uint64_t)n_threads * scratch_floats(s, max_segment) * sizeof(float);
}

int ops_cpu_work_create(int n_threads, const struct model_shape *s, int max_segment, void **out,
                        struct err *e) {
    size_t each = scratch_floats(s, max_segment);
    struct work *w = calloc(1, sizeof(*w) + (size_t)n_threads * sizeof(w->scratch[0]));
    size_t bytes = (size_t)n_threads * each * sizeof(float);
    bytes = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    float *p = w ? aligned_alloc(CACHE_LINE, bytes) : NULL;
    if (!p) {
        free(w);
        return err_set(e, EE_NOMEM, "no %.1f MiB for the CPU's kernels", (double)bytes / (1 << 20));
    }
    w->kernels = cpu_kernels_best();
    w->n_threads = n_threads;
    w->memory = p;
    for (int i = 0; i < n_threads; i++) {
        struct cpu_scratch *c = &w->scratch[i];
        c->b = p + (size_t)i * each;
        c->a = c->b + (size_t)GEMM_KC * GEMM_NC;
        c->rows = c->a + (size_t)GEMM_MC * GEMM_KC;
        c->attn = c->rows + (size_t)GEMM_MAX_PANEL * GEMM_KC;
    }
    *out = w;
    return 0;
}

void ops_cpu_work_free(void *work) {
    struct work *w = work;
    if (w) {
        free(w->memory);
        free(w);
    }
}

/* --- Custom nodes ---------------------------------------------------------------------------- */

/* What a node needs when it runs; lives in the graph's arena. */
struct call {
    const struct work *work;
    const struct ops *ops; /* dropout */
    struct linear linear;
    struct attention attention;
    float number;
    bool flag;
};

static struct call *new_call(struct ops *o) {
    struct call *c = arena_alloc(o->arena, sizeof(*c));
    if (c) {
        c->work = o->work;
        c->ops = o;
    }
    return c;
}

/* A node of shape [ne0, ne1] that depends on args (NULLs are left out) and runs fn. */
static struct ggml_tensor *node(struct ops *o, int64_t ne0, int64_t ne1, struct ggml_tensor **args,
                                int n_args, ggml_custom_op_t fn, struct call *c) {
    struct ggml_tensor *given[GGML_MAX_SRC];
    int n = 0;
    for (int i = 0; i < n_args; i++) {
        if (args[i]) {
            given[n++] = args[i];
        }
    }
    return ggml_custom_4d(o->ctx, GGML_TYPE_F32, ne0, ne1, 1, 1, given, n, fn, GGML_N_TASKS_MAX, c);
}

/* The same, writing into `at`. */
static struct ggml_tensor *node_into(struct ops *o, struct ggml_tensor *at,
                                     struct ggml_tensor **args, int n_args, ggml_custom_op_t fn,
                                     struct call *c) {
    return ggml_custom_inplace(o->ctx, at, args, n_args, fn, GGML_N_TASKS_MAX, c);
}

static const uint8_t *mask_of(const struct call *c) {
    return c->linear.mask_offset >= 0 ? c->ops->dropout->keep + c->linear.mask_offset : NULL;
}

static int64_t row_floats(const struct ggml_tensor *t) {
    return (int64_t)(t->nb[1] / sizeof(float));
}

/* B of a term from a tensor; its rows are B's columns or B's rows. */
static void set_b(struct gemm_term *t, const struct ggml_tensor *w, bool is_columns) {
    t->b = w->data;
    t->b_type = w->type;
    t->b_row_bytes = w->nb[1];
    t->b_is_columns = is_columns;
}

/* A of a term: a row of it for each token. */
static struct gemm_term term_of(const struct ggml_tensor *x) {
    return (struct gemm_term){
        .k = x->ne[0], .a = x->data, .a_row = row_floats(x), .a_col = 1, .alpha = 1};
}

static void run_gemm(const struct call *c, struct gemm *g, struct ggml_tensor *dst, int ith,
                     int nth) {
    g->n = dst->ne[0];
    g->m = dst->ne[1];
    g->c = dst->data;
    g->c_row = row_floats(dst);
    c->work->kernels->gemm(g, &c->work->scratch[ith], ith, nth);
}

/* u = a (keep x); dst->src: x, a */
static void run_down(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    struct gemm g = {.n_terms = 1, .terms = {term_of(dst->src[0])}};
    g.terms[0].a_mask = mask_of(c);
    set_b(&g.terms[0], dst->src[1], true);
    run_gemm(c, &g, dst, ith, nth);
}

/* y = w x + bias + scale * b u; dst->src: x, w, [bias], [u, b] */
static void run_linear(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    int next = 2;
    struct gemm g = {.n_terms = 1, .terms = {term_of(dst->src[0])}};
    set_b(&g.terms[0], dst->src[1], true);
    if (c->linear.bias) {
        g.bias = dst->src[next++]->data;
    }
    if (c->linear.a) {
        g.terms[1] = term_of(dst->src[next]);
        set_b(&g.terms[1], dst->src[next + 1], true);
        g.terms[1].alpha = c->linear.scale;
        g.n_terms = 2;
    }
    run_gemm(c, &g, dst, ith, nth);
}

static struct ggml_tensor *linear(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                  struct linear_tape *tape) {
    struct call *c = new_call(o);
    *tape = (struct linear_tape){0};
    if (!c) {
        return x;
    }
    c->linear = *l;
    if (l->a) {
        tape->u = node(o, l->a->ne[1], x->ne[1], (struct ggml_tensor *[]){x, l->a}, 2, run_down, c);
    }
    return node(o, l->w->ne[1], x->ne[1],
                (struct ggml_tensor *[]){x, l->w, l->bias, tape->u, l->a ? l->b : NULL}, 5,
                run_linear, c);
}

/* du = scale * b^T dy; dst->src: dy, b */
static void run_down_back(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    struct gemm g = {.n_terms = 1, .terms = {term_of(dst->src[0])}};
    g.terms[0].alpha = c->linear.scale;
    set_b(&g.terms[0], dst->src[1], false);
    run_gemm(c, &g, dst, ith, nth);
}

/* grad_b += scale * dy u^T; dst->src: grad_b, dy, u */
static void run_grad_b(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    const struct ggml_tensor *dy = dst->src[1];
    struct gemm g = {.add = true, .n_terms = 1};
    g.terms[0] = (struct gemm_term){.k = dy->ne[1],
                                    .a = dy->data,
                                    .a_row = 1,
                                    .a_col = row_floats(dy),
                                    .alpha = c->linear.scale};
    set_b(&g.terms[0], dst->src[2], false);
    run_gemm(c, &g, dst, ith, nth);
}

/* grad_a += du (keep x)^T; dst->src: grad_a, du, x */
static void run_grad_a(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    const struct ggml_tensor *du = dst->src[1];
    struct gemm g = {.add = true, .n_terms = 1};
    g.terms[0] = (struct gemm_term){.k = du->ne[1],
                                    .a = du->data,
                                    .a_row = 1,
                                    .a_col = row_floats(du),
                                    .b_mask = mask_of(c),
                                    .alpha = 1};
    set_b(&g.terms[0], dst->src[2], false);
    run_gemm(c, &g, dst, ith, nth);
}

/* dx (+)= w^T dy + keep a^T du; dst->src: [dx], dy, w, [du, a] */
static void run_linear_back(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    int next = c->flag ? 1 : 0;
    struct gemm g = {.add = c->flag, .n_terms = 1, .terms = {term_of(dst->src[next])}};
    set_b(&g.terms[0], dst->src[next + 1], false);
    if (c->linear.a) {
        g.terms[1] = term_of(dst->src[next + 2]);
        g.terms[1].c_mask = mask_of(c);
        set_b(&g.terms[1], dst->src[next + 3], false);
        g.n_terms = 2;
    }
    run_gemm(c, &g, dst, ith, nth);
}

static struct ggml_tensor *linear_back(struct ops *o, const struct linear *l, struct ggml_tensor *x,
                                       const struct linear_tape *tape, struct ggml_tensor *dy,
                                       struct ggml_tensor *sum, bool want_dx) {
    struct call *c = new_call(o);
    struct ggml_tensor *du = NULL;
    if (!c) {
        return dy;
    }
    c->linear = *l;
    c->flag = sum != NULL;
    if (l->a) {
        du = node(o, l->b->ne[0], dy->ne[1], (struct ggml_tensor *[]){dy, l->b}, 2, run_down_back,
                  c);
        ggml_build_forward_expand(
            o->graph,
            node_into(o, l->grad_b, (struct ggml_tensor *[]){dy, tape->u}, 2, run_grad_b, c));
        ggml_build_forward_expand(
            o->graph, node_into(o, l->grad_a, (struct ggml_tensor *[]){du, x}, 2, run_grad_a, c));
    }
    if (!want_dx) {
        return NULL;
    }
    struct ggml_tensor *args[] = {dy, l->w, du, l->a};
    int n_args = l->a ? 4 : 2;
    return sum ? node_into(o, sum, args, n_args, run_linear_back, c)
               : node(o, l->w->ne[0], dy->ne[1], args, n_args, run_linear_back, c);
}

/* --- Attention ------------------------------------------------------------------------------- */

static struct head_rows heads_of(const struct ggml_tensor *t) {
    return (struct head_rows){t->data, (int64_t)(t->nb[2] / sizeof(float))};
}

static struct attention_job job_of(const struct call *c, struct ggml_tensor *const *qkv) {
    return (struct attention_job){.q = heads_of(qkv[0]),
                                  .k = heads_of(qkv[1]),
                                  .v = heads_of(qkv[2]),
                                  .head_dim = (int)qkv[0]->ne[0],
                                  .n_head = (int)qkv[0]->ne[1],
                                  .n_head_kv = (int)qkv[1]->ne[1],
                                  .scale = c->attention.scale,
                                  .segments = c->attention.segments,
                                  .n_segments = c->attention.n_segments};
}

/* dst->src: q, k, v */
static void run_attention(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    struct attention_job j = job_of(c, dst->src);
    j.out = (struct head_rows){dst->data, row_floats(dst)};
    c->work->kernels->attention(&j, &c->work->scratch[ith], ith, nth);
}

static struct ggml_tensor *attention(struct ops *o, struct attention *at) {
    struct call *c = new_call(o);
    if (!c) {
        return at->q;
    }
    c->attention = *at;
    return node(o, at->q->ne[0] * at->q->ne[1], at->q->ne[2],
                (struct ggml_tensor *[]){at->q, at->k, at->v}, 3, run_attention, c);
}

/* A token's row of dst is dq, dk, dv. dst->src: q, k, v, dout */
static void run_attention_back(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    struct attention_job j = job_of(c, dst->src);
    float *p = dst->data;
    int64_t row = row_floats(dst);
    j.out = (struct head_rows){dst->src[3]->data, row_floats(dst->src[3])};
    j.dq = (struct head_rows){p, row};
    j.dk = (struct head_rows){p + (int64_t)j.n_head * j.head_dim, row};
    j.dv = (struct head_rows){j.dk.p + (int64_t)j.n_head_kv * j.head_dim, row};
    c->work->kernels->attention_back(&j, &c->work->scratch[ith], ith, nth);
}

static void attention_back(struct ops *o, const struct attention *at, struct ggml_tensor *dout,
                           struct ggml_tensor **dq, struct ggml_tensor **dk,
                           struct ggml_tensor **dv) {
    struct call *c = new_call(o);
    *dq = at->q;
    *dk = at->k;
    *dv = at->v;
    if (!c) {
        return;
    }
    c->attention = *at;
    const int64_t d = at->q->ne[0];
    const int64_t n = at->q->ne[2];
    const int64_t nq = at->q->ne[1];
    const int64_t nk = at->k->ne[1];
    struct ggml_tensor *all = node(o, d * (nq + 2 * nk), n,
                                   (struct ggml_tensor *[]){at->q, at->k, at->v, dout}, 4,
                                   run_attention_back, c);
    const size_t head = (size_t)d * sizeof(float);
    *dq = ggml_view_3d(o->ctx, all, d, nq, n, head, all->nb[1], 0);
    *dk = ggml_view_3d(o->ctx, all, d, nk, n, head, all->nb[1], (size_t)nq * head);
    *dv = ggml_view_3d(o->ctx, all, d, nk, n, head, all->nb[1], (size_t)(nq + nk) * head);
}

/* --- The rest -------------------------------------------------------------------------------- */

/* A row of losses behind the logits' gradients would move them; so the losses are a node of their own
 * whose kernel turns the logits, its source, into gradients. dst->src: logits, targets */
static void run_cross_entropy(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    const struct ggml_tensor *x = dst->src[0];
    c->work->kernels->cross_entropy(x->data, dst->src[1]->data, dst->data, x->ne[0], x->ne[1],
                                    c->number, ith, nth);
}

/* Nothing to do: it stands for the logits after the losses were computed. */
static void run_nothing(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    (void)dst;
    (void)ith;
    (void)nth;
    (void)userdata;
}

static void cross_entropy(struct ops *o, struct ggml_tensor *logits, struct ggml_tensor *targets,
                          float weight, struct ggml_tensor **loss, struct ggml_tensor **dlogits) {
    struct call *c = new_call(o);
    *loss = logits;
    *dlogits = logits;
    if (!c) {
        return;
    }
    c->number = weight;
    *loss = node(o, logits->ne[1], 1, (struct ggml_tensor *[]){logits, targets}, 2,
                 run_cross_entropy, c);
    *dlogits = node_into(o, logits, (struct ggml_tensor *[]){*loss}, 1, run_nothing, c);
}

/* dst->src: x, w */
static void run_norm(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    const struct ggml_tensor *x = dst->src[0];
    c->work->kernels->norm(x->data, dst->src[1]->data, dst->data, x->ne[0], x->ne[1], c->number,
                           ith, nth);
}

static struct ggml_tensor *norm(struct ops *o, struct ggml_tensor *x, struct ggml_tensor *w,
                                float eps) {
    struct call *c = new_call(o);
    if (!c) {
        return x;
    }
    c->number = eps;
    return node(o, x->ne[0], x->ne[1], (struct ggml_tensor *[]){x, w}, 2, run_norm, c);
}

/* dst->src: x, w, dy, [sum] */
static void run_norm_back(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    const struct ggml_tensor *x = dst->src[0];
    c->work->kernels->norm_back(x->data, dst->src[1]->data, dst->src[2]->data,
                                c->flag ? dst->src[3]->data : NULL, dst->data, x->ne[0], x->ne[1],
                                c->number, ith, nth);
}

static struct ggml_tensor *norm_back(struct ops *o, struct ggml_tensor *x, struct ggml_tensor *w,
                                     float eps, struct ggml_tensor *dy, struct ggml_tensor *sum) {
    struct call *c = new_call(o);
    if (!c) {
        return x;
    }
    c->number = eps;
    c->flag = sum != NULL;
    return node(o, x->ne[0], x->ne[1], (struct ggml_tensor *[]){x, w, dy, sum}, 4, run_norm_back,
                c);
}

/* dst->src: gate, up */
static void run_swiglu(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    c->work->kernels->swiglu(dst->src[0]->data, dst->src[1]->data, dst->data, ggml_nelements(dst),
                             ith, nth);
}

static struct ggml_tensor *swiglu(struct ops *o, struct ggml_tensor *gate, struct ggml_tensor *up) {
    struct call *c = new_call(o);
    return c ? node(o, gate->ne[0], gate->ne[1], (struct ggml_tensor *[]){gate, up}, 2, run_swiglu,
                    c)
             : gate;
}

/* dst->src: gate, up, dy */
static void run_swiglu_back(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    const struct call *c = userdata;
    c->work->kernels->swiglu_back(dst->src[0]->data, dst->src[1]->data, dst->src[2]->data,
                                  dst->data, ggml_nelements(dst->src[0]), ith, nth);
}

static void swiglu_back(struct ops *o, struct ggml_tensor *gate, struct ggml_tensor *up,
                        struct ggml_tensor *dy, struct ggml_tensor **dgate,
                        struct ggml_tensor **d_up) {
    struct call *c = new_call(o);
    *dgate = gate;
    *d_up = up;
    if (!c) {
        return;
    }
    const int64_t n = gate->ne[1];
    struct ggml_tensor *both = node(o, gate->ne[0], 2 * n, (struct ggml_tensor *[]){gate, up, dy},
                                    3, run_swiglu_back, c);
    *dgate = ggml_view_2d(o->ctx, both, gate->ne[0], n, both->nb[1], 0);
    *d_up = ggml_view_2d(o->ctx, both, gate->ne[0], n, both->nb[1], (size_t)n * both->nb[1]);
}

const struct ops_kind ops_cpu = {.linear = linear,
                                 .linear_back = linear_back,
                                 .attention = attention,
                                 .attention_back = attention_back,
                                 .cross_entropy = cross_entropy,
                                 .norm = norm,
                                 .norm_back = norm_back,
                                 .swiglu = swiglu,
                                 .swiglu_back = swiglu_back};
