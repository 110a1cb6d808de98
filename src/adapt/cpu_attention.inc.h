/*
 * Causal attention with grouped heads, one K and V head of one sequence at a time, over blocks of
 * queries: scores live in cache, never in memory, and blocks see no keys behind their last query.
 * The backward pass computes the probabilities again. Included after cpu_gemm.inc.h.
 */

enum { QUERY_BLOCK = 4 * MR };

/* Memory of one K and V head; floats from cpu_scratch.attn. */
struct attention_memory {
    float *k_columns; /* K^T, packed [head_dim x len] */
    float *v_rows;    /* V, packed [len x head_dim] */
    float *v_columns; /* V^T, packed */
    float *k_rows;    /* K, packed */
    float *scores;    /* [QUERY_BLOCK x row] */
    float *dscores;
    float *q_rows; /* of the block, packed [QUERY_BLOCK x head_dim] */
    float *d_rows;
    int64_t row;
};

struct attention_head {
    const struct attention_job *j;
    struct segment seg;
    int kv;   /* head of K and V */
    int head; /* of Q */
    int64_t q0;
    int64_t nq;
    int64_t n_keys; /* that any query of the block sees */
};

static struct attention_memory carve(float *p, int64_t len, int64_t head_dim) {
    const int64_t pad = GEMM_MAX_PANEL;
    int64_t row = (len + pad - 1) / pad * pad;
    int64_t dim = (head_dim + pad - 1) / pad * pad;
    struct attention_memory m = {.row = row};
    float **const parts[] = {&m.k_columns, &m.v_rows,  &m.v_columns, &m.k_rows,
                             &m.scores,    &m.dscores, &m.q_rows,    &m.d_rows};
    const int64_t sizes[] = {row * dim,         row * dim,         row * dim,
                             row * dim,         QUERY_BLOCK * row, QUERY_BLOCK * row,
                             QUERY_BLOCK * dim, QUERY_BLOCK * dim};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        *parts[i] = p;
        p += sizes[i];
    }
    return m;
}

static float *at_token(const struct head_rows *r, int64_t token, int head, int head_dim) {
    return r->p + token * r->row + (int64_t)head * head_dim;
}

/* Packs n rows of a head for a product; as columns for the transposed. */
static void pack_head(const struct head_rows *r, int64_t token, int64_t n, int head, int head_dim,
                      bool as_columns, float *out) {
    const struct gemm_term t = {.b = at_token(r, token, head, head_dim),
                                .b_type = GGML_TYPE_F32,
                                .b_row_bytes = (size_t)r->row * sizeof(float),
                                .alpha = 1};
    if (as_columns) {
        pack_columns(&t, 0, head_dim, 0, n, out, out); /* F32 needs no buffer */
    } else {
        pack_rows(&t, head_dim, 0, n, 0, head_dim, out, out);
    }
}

/* C [m x n] = (+) A B with B packed, kc deep. */
struct small_product {
    int64_t m, n, kc;
    const float *a;
    int64_t a_step;
    bool a_rows;
    const float *b;
    float *c;
    int64_t c_row;
    bool add;
};

static void multiply(const struct small_product *x) {
    for (int64_t p = 0; p < x->n; p += PANEL) {
        const struct strip strip = {.tile = {.kc = x->kc,
                                             .a = x->a,
                                             .a_step = x->a_step,
                                             .panel = x->b + p * x->kc,
                                             .c = x->c + p,
                                             .c_row = x->c_row,
                                             .add = x->add},
                                    .m = x->m,
                                    .width = x->n - p < PANEL ? x->n - p : PANEL,
                                    .rows = x->a_rows};
        strip_compute(&strip);
    }
}

/* B's panels begin every kc rows of it; a product over fewer keys needs them packed as deep. So B of
 * keys is packed once, whole, and products over the first n_keys read panels of len. */
static void multiply_keys(const struct small_product *x, int64_t packed_kc) {
    for (int64_t p = 0; p < x->n; p += PANEL) {
        struct small_product one = *x;
        one.n = x->n - p < PANEL ? x->n - p : PANEL;
        one.b = x->b + p * packed_kc;
        one.c = x->c + p;
        multiply(&one);
    }
}

/* One row of scores to probabilities over its first n; 0 from there to end. */
static void softmax_row(float *x, int64_t n, int64_t end, float scale) {
    vf top = splat(-INFINITY);
    int64_t i = 0;
    for (; i + VF_LEN <= n; i += VF_LEN) {
        top = vmax(top, load(x + i));
    }
    vf tail = load_part(x + i, n - i, -INFINITY);
    const vf most = splat(max_lanes(vmax(top, tail)));
    vf sum = splat(0);
    for (i = 0; i + VF_LEN <= n; i += VF_LEN) {
        vf p = vexp((load(x + i) - most) * scale);
        sum += p;
        store(x + i, p);
    }
    tail = vexp((tail - most) * scale);
    store_part(x + i, tail, n - i);
    const float whole = 1.0F / (sum_lanes(sum) + sum_lanes(tail));
    for (i = 0; i + VF_LEN <= n; i += VF_LEN) {
        store(x + i, load(x + i) * whole);
    }
    for (; i < n; i++) {
        x[i] *= whole;
    }
    for (; i < end; i++) {
        x[i] = 0;
    }
}

/* The block's probabilities, in m->scores. */
static void probabilities(const struct attention_head *h, const struct attention_memory *m) {
    const struct attention_job *j = h->j;
    const struct small_product s = {
        .m = h->nq,
        .n = (h->n_keys + PANEL - 1) / PANEL * PANEL,
        .kc = j->head_dim,
        .a = at_token(&j->q, h->seg.start + h->q0, h->head, j->head_dim),
        .a_step = j->q.row,
        .a_rows = true,
        .b = m->k_columns,
        .c = m->scores,
        .c_row = m->row};
    multiply(&s);
    for (int64_t i = 0; i < h->nq; i++) {
        softmax_row(m->scores + i * m->row, h->q0 + i + 1, h->n_keys, j->scale);
    }
}

/* Calls work for every head and block of queries that shares K and V head kv of a segment. */
typedef void block_fn(const struct attention_head *h, const struct attention_memory *m);

static void each_block(const struct attention_job *j, struct segment seg, int kv,
                       const struct attention_memory *m, block_fn *work) {
    int group = j->n_head / j->n_head_kv;
    for (int head = kv * group; head < (kv + 1) * group; head++) {
        for (int64_t q0 = 0; q0 < seg.len; q0 += QUERY_BLOCK) {
            int64_t nq = seg.len - q0 < QUERY_BLOCK ? seg.len - q0 : QUERY_BLOCK;
            const struct attention_head h = {j, seg, kv, head, q0, nq, q0 + nq};
            work(&h, m);
        }
    }
}

static void forward_block(const struct attention_head *h, const struct attention_memory *m) {
    const struct attention_job *j = h->j;
    probabilities(h, m);
    const struct small_product out = {
        .m = h->nq,
        .n = j->head_dim,
        .kc = h->n_keys,
        .a = m->scores,
        .a_step = m->row,
        .a_rows = true,
        .b = m->v_rows,
        .c = at_token(&j->out, h->seg.start + h->q0, h->head, j->head_dim),
        .c_row = j->out.row};
    multiply_keys(&out, h->seg.len);
}

/* Gradients of scores from those of probabilities, in place. */
static void softmax_rows_back(const struct attention_head *h, const struct attention_memory *m) {
    for (int64_t i = 0; i < h->nq; i++) {
        const float *p = m->scores + i * m->row;
        float *d = m->dscores + i * m->row;
        vf dot = splat(0);
        int64_t n = (h->n_keys + VF_LEN - 1) / VF_LEN * VF_LEN;
        for (int64_t k = h->n_keys; k < n; k++) {
            m->scores[i * m->row + k] = 0;
        }
        for (int64_t k = 0; k < n; k += VF_LEN) {
            dot += load(p + k) * load(d + k);
        }
        const vf mean = splat(sum_lanes(dot));
        for (int64_t k = 0; k < n; k += VF_LEN) {
            store(d + k, load(p + k) * (load(d + k) - mean) * h->j->scale);
        }
    }
}

static void backward_block(const struct attention_head *h, const struct attention_memory *m) {
    const struct attention_job *j = h->j;
    const int64_t first = h->seg.start + h->q0;
    probabilities(h, m);
    struct small_product x = {.m = h->nq,
                              .n = (h->n_keys + PANEL - 1) / PANEL * PANEL,
                              .kc = j->head_dim,
                              .a = at_token(&j->out, first, h->head, j->head_dim),
                              .a_step = j->out.row,
                              .a_rows = true,
                              .b = m->v_columns,
                              .c = m->dscores,
                              .c_row = m->row};
    multiply(&x);
    softmax_rows_back(h, m);
    x = (struct small_product){.m = h->nq,
                               .n = j->head_dim,
                               .kc = h->n_keys,
                               .a = m->dscores,
                               .a_step = m->row,
                               .a_rows = true,
                               .b = m->k_rows,
                               .c = at_token(&j->dq, first, h->head, j->head_dim),
                               .c_row = j->dq.row};
    multiply_keys(&x, h->seg.len);
    pack_head(&j->q, first, h->nq, h->head, j->head_dim, false, m->q_rows);
    pack_head(&j->out, first, h->nq, h->head, j->head_dim, false, m->d_rows);
    x = (struct small_product){.m = h->n_keys,
                               .n = j->head_dim,
                               .kc = h->nq,
                               .a = m->dscores,
                               .a_step = m->row,
                               .b = m->q_rows,
                               .c = at_token(&j->dk, h->seg.start, h->kv, j->head_dim),
                               .c_row = j->dk.row,
                               .add = true};
    multiply(&x);
    x.a = m->scores;
    x.b = m->d_rows;
    x.c = at_token(&j->dv, h->seg.start, h->kv, j->head_dim);
    x.c_row = j->dv.row;
    multiply(&x);
}

static void clear_head(const struct head_rows *r, struct segment seg, int head, int head_dim) {
    for (int64_t i = 0; i < seg.len; i++) {
        __builtin_memset(at_token(r, seg.start + i, head, head_dim), 0,
                         (size_t)head_dim * sizeof(float));
    }
}

static void attention(const struct attention_job *j, const struct cpu_scratch *s, int ith,
                      int nth) {
    for (int i = ith; i < j->n_segments * j->n_head_kv; i += nth) {
        const struct segment seg = j->segments[i / j->n_head_kv];
        int kv = i % j->n_head_kv;
        const struct attention_memory m = carve(s->attn, seg.len, j->head_dim);
        pack_head(&j->k, seg.start, seg.len, kv, j->head_dim, true, m.k_columns);
        pack_head(&j->v, seg.start, seg.len, kv, j->head_dim, false, m.v_rows);
        each_block(j, seg, kv, &m, forward_block);
    }
}

static void attention_back(const struct attention_job *j, const struct cpu_scratch *s, int ith,
                           int nth) {
    for (int i = ith; i < j->n_segments * j->n_head_kv; i += nth) {
        const struct segment seg = j->segments[i / j->n_head_kv];
        int kv = i % j->n_head_kv;
        const struct attention_memory m = carve(s->attn, seg.len, j->head_dim);
        pack_head(&j->k, seg.start, seg.len, kv, j->head_dim, true, m.k_columns);
        pack_head(&j->k, seg.start, seg.len, kv, j->head_dim, false, m.k_rows);
        pack_head(&j->v, seg.start, seg.len, kv, j->head_dim, true, m.v_columns);
        clear_head(&j->dk, seg, kv, j->head_dim);
        clear_head(&j->dv, seg, kv, j->head_dim);
        each_block(j, seg, kv, &m, backward_block);
    }
}
