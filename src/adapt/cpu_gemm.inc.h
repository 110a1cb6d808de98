/*
 * Product of matrices, after Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix
 * Multiplication": blocks of B are packed into panels of PANEL columns that stay in cache, and a tile
 * of MR x PANEL results stays in registers. A is read where it lies, one value for all lanes.
 *
 * Included by each cpu_kernels_*.c, which says what MR, MR_MID and NV are.
 */

enum { PANEL = NV * VF_LEN };

/* --- Packing --------------------------------------------------------------------------------- */

/* n values of a row of t->b, whatever its type, from value `from` on. */
INLINE const float *row_values(const struct gemm_term *t, int64_t row, int64_t from, int64_t n,
                               float *buffer) {
    const char *p = (const char *)t->b + (size_t)row * t->b_row_bytes;
    if (t->b_type == GGML_TYPE_F32) {
        return (const float *)(const void *)p + from;
    }
    p += (size_t)(from / ggml_blck_size(t->b_type)) * ggml_type_size(t->b_type);
    if (t->b_type == GGML_TYPE_F16) {
        halves_to_floats((const uint16_t *)(const void *)p, buffer, n);
    } else {
        ggml_get_type_traits(t->b_type)->to_float(p, buffer, n);
    }
    return buffer;
}

/* panel[k * PANEL + j] = alpha * rows[j][k] */
static void transpose_panel(const float *const *rows, int64_t kc, float alpha, float *panel) {
    for (int v = 0; v < NV; v++) {
        const float *const *r = rows + v * VF_LEN;
        float *to = panel + v * VF_LEN;
        int64_t k = 0;
        for (; k + VF_LEN <= kc; k += VF_LEN) {
            transpose_16(r, k, alpha, to + k * PANEL, PANEL);
        }
        for (; k < kc; k++) {
            for (int j = 0; j < VF_LEN; j++) {
                to[k * PANEL + j] = r[j][k] * alpha;
            }
        }
    }
}

/* Columns [n0, n0 + n) of B, which are rows of t->b, values [k0, k0 + kc) of each. */
static void pack_columns(const struct gemm_term *t, int64_t k0, int64_t kc, int64_t n0, int64_t n,
                         float *buffer, float *out) {
    for (int64_t p = 0; p < n; p += PANEL) {
        const float *rows[PANEL];
        for (int64_t j = 0; j < PANEL; j++) {
            int64_t column = p + j < n ? p + j : p; /* past the end: computed, never stored */
            rows[j] = row_values(t, n0 + column, k0, kc, buffer + j * GEMM_KC);
        }
        transpose_panel(rows, kc, t->alpha, out + p * kc);
    }
}

/* The same where t->b holds B's rows. n_all: values of one. */
static void pack_rows(const struct gemm_term *t, int64_t n_all, int64_t k0, int64_t kc, int64_t n0,
                      int64_t n, float *buffer, float *out) {
    for (int64_t k = 0; k < kc; k++) {
        const float *row = row_values(t, k0 + k, n0, n, buffer);
        const uint8_t *mask = t->b_mask ? t->b_mask + (k0 + k) * n_all + n0 : NULL;
        for (int64_t p = 0; p < n; p += PANEL) {
            float *to = out + p * kc + k * PANEL;
            if (p + PANEL <= n && !mask) {
                for (int v = 0; v < NV; v++) {
                    store(to + v * VF_LEN, load(row + p + v * VF_LEN) * t->alpha);
                }
                continue;
            }
            int64_t width = n - p < PANEL ? n - p : PANEL;
            for (int64_t j = 0; j < width; j++) {
                to[j] = row[p + j] * t->alpha * (mask ? (float)mask[p + j] : 1.0F);
            }
            for (int64_t j = width; j < PANEL; j++) {
                to[j] = 0;
            }
        }
    }
}

/* Rows [m0, m0 + m) of A, values [k0, k0 + kc), with what the mask drops set to 0. */
static void pack_masked(const struct gemm_term *t, int64_t m0, int64_t m, int64_t k0, int64_t kc,
                        float *out) {
    for (int64_t i = 0; i < m; i++) {
        const float *a = t->a + (m0 + i) * t->a_row + k0;
        const uint8_t *mask = t->a_mask + (m0 + i) * t->k + k0;
        for (int64_t k = 0; k < kc; k++) {
            out[i * kc + k] = a[k] * (float)mask[k];
        }
    }
}

/* --- Tiles ----------------------------------------------------------------------------------- */

struct tile {
    int64_t kc;
    const float *a;
    int64_t a_step; /* from row to row of A, or from k to k, where the other one is 1 */
    const float *panel;
    float *c;
    int64_t c_row;
    bool add;
    const float *bias;
};

/* mr x PANEL results; with rows, A's values along k are neighbours. */
INLINE void tile_compute(const struct tile *t, const int mr, const bool rows) {
    vf acc[MR][NV];
    const int64_t row = rows ? t->a_step : 1;
    const int64_t col = rows ? 1 : t->a_step;
    const float *a = t->a;
    const float *b = t->panel;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            acc[i][v] = splat(0);
        }
    }
    for (int64_t k = 0; k < t->kc; k++) {
        vf bv[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            bv[v] = load(b + v * VF_LEN);
        }
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            vf av = splat(a[i * row]);
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                acc[i][v] += av * bv[v];
            }
        }
        a += col;
        b += PANEL;
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
        float *c = t->c + i * t->c_row;
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            vf sum = acc[i][v];
            sum = t->add ? sum + load(c + v * VF_LEN) : sum;
            sum = t->bias ? sum + load(t->bias + v * VF_LEN) : sum;
            store(c + v * VF_LEN, sum);
        }
    }
}

typedef void tile_fn(const struct tile *t);
static void tile_most_rows(const struct tile *t) {
    tile_compute(t, MR, true);
}
static void tile_some_rows(const struct tile *t) {
    tile_compute(t, MR_MID, true);
}
static void tile_one_row(const struct tile *t) {
    tile_compute(t, 1, true);
}
static void tile_most_columns(const struct tile *t) {
    tile_compute(t, MR, false);
}
static void tile_some_columns(const struct tile *t) {
    tile_compute(t, MR_MID, false);
}
static void tile_one_column(const struct tile *t) {
    tile_compute(t, 1, false);
}

/* One panel's columns for m rows. */
struct strip {
    struct tile tile; /* of its first row */
    int64_t m;
    int64_t width; /* columns that exist, at most PANEL */
    bool rows;
    const uint8_t *c_mask;
    int64_t c_mask_row;
};

/* Through memory of its own where the tile's neighbours must not be touched, or a mask comes between. */
static void tile_careful(const struct strip *s, const struct tile *t, int mr, tile_fn *compute,
                         int64_t row) {
    float out[MR * PANEL];
    struct tile own = *t;
    own.c = out;
    own.c_row = PANEL;
    own.add = false;
    own.bias = NULL;
    compute(&own);
    for (int i = 0; i < mr; i++) {
        float *c = t->c + i * t->c_row;
        const uint8_t *mask = s->c_mask ? s->c_mask + (row + i) * s->c_mask_row : NULL;
        for (int64_t j = 0; j < s->width; j++) {
            float x = out[i * PANEL + j] * (mask ? (float)mask[j] : 1.0F);
            c[j] = x + (t->add ? c[j] : 0) + (t->bias ? t->bias[j] : 0);
        }
    }
}

static void strip_compute(const struct strip *s) {
    static tile_fn *const by_rows[] = {tile_most_rows, tile_some_rows, tile_one_row};
    static tile_fn *const by_columns[] = {tile_most_columns, tile_some_columns, tile_one_column};
    static const int sizes[] = {MR, MR_MID, 1};
    const bool careful = s->width < PANEL || s->c_mask;
    struct tile t = s->tile;
    for (int64_t i = 0; i < s->m;) {
        int kind = s->m - i >= MR ? 0 : s->m - i >= MR_MID ? 1 : 2;
        tile_fn *compute = s->rows ? by_rows[kind] : by_columns[kind];
        if (careful) {
            tile_careful(s, &t, sizes[kind], compute, i);
        } else {
            compute(&t);
        }
        t.a += sizes[kind] * (s->rows ? t.a_step : 1);
        t.c += sizes[kind] * t.c_row;
        i += sizes[kind];
    }
}

/* --- Blocks ---------------------------------------------------------------------------------- */

struct block {
    int64_t m0, m1;
    int64_t n0, n;
    int64_t k0, kc;
    bool add;
    const float *bias;
};

/* All rows of one block of B that is packed in s->b. */
static void block_compute(const struct gemm *g, const struct gemm_term *t, const struct block *b,
                          const struct cpu_scratch *s) {
    for (int64_t m = b->m0; m < b->m1; m += GEMM_MC) {
        int64_t mc = b->m1 - m < GEMM_MC ? b->m1 - m : GEMM_MC;
        const float *a = t->a + m * t->a_row + b->k0 * t->a_col;
        bool rows = t->a_col == 1;
        int64_t a_step = rows ? t->a_row : t->a_col;
        if (t->a_mask) {
            pack_masked(t, m, mc, b->k0, b->kc, s->a);
            a = s->a;
            a_step = b->kc;
        }
        for (int64_t p = 0; p < b->n; p += PANEL) {
            const struct strip strip = {.tile = {.kc = b->kc,
                                                 .a = a,
                                                 .a_step = a_step,
                                                 .panel = s->b + p * b->kc,
                                                 .c = g->c + m * g->c_row + b->n0 + p,
                                                 .c_row = g->c_row,
                                                 .add = b->add,
                                                 .bias = b->bias ? b->bias + b->n0 + p : NULL},
                                        .m = mc,
                                        .width = b->n - p < PANEL ? b->n - p : PANEL,
                                        .rows = rows,
                                        .c_mask = t->c_mask ? t->c_mask + m * g->n + b->n0 + p
                                                            : NULL,
                                        .c_mask_row = g->n};
            strip_compute(&strip);
        }
    }
}

/* Rows [m0, m1) and columns [n0, n1) of C. */
static void gemm_part(const struct gemm *g, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                      const struct cpu_scratch *s) {
    for (int64_t n = n0; n < n1; n += GEMM_NC) {
        int64_t nc = n1 - n < GEMM_NC ? n1 - n : GEMM_NC;
        struct block b = {m0, m1, n, nc, 0, 0, g->add, g->bias};
        for (int i = 0; i < g->n_terms; i++) {
            const struct gemm_term *t = &g->terms[i];
            for (int64_t k = 0; k < t->k; k += GEMM_KC) {
                b.k0 = k;
                b.kc = t->k - k < GEMM_KC ? t->k - k : GEMM_KC;
                if (t->b_is_columns) {
                    pack_columns(t, k, b.kc, n, nc, s->rows, s->b);
                } else {
                    pack_rows(t, g->n, k, b.kc, n, nc, s->rows, s->b);
                }
                block_compute(g, t, &b, s);
                b.add = true;
                b.bias = NULL;
            }
        }
    }
}

/* Columns must be cut where a panel ends and, in B's own rows, a block of its type. */
static int64_t column_unit(const struct gemm *g) {
    int64_t unit = PANEL;
    for (int i = 0; i < g->n_terms; i++) {
        int64_t block = ggml_blck_size(g->terms[i].b_type);
        unit = !g->terms[i].b_is_columns && block > unit ? block : unit;
    }
    return unit;
}

static void gemm(const struct gemm *g, const struct cpu_scratch *s, int ith, int nth) {
    enum { FEW_UNITS = 3 }; /* columns a thread should have, so that A is not read for little */
    int64_t unit = column_unit(g);
    int64_t units = (g->n + unit - 1) / unit;
    int across = nth;
    while (across > 1 && (nth % across != 0 || units / across < FEW_UNITS)) {
        across--;
    }
    int64_t n0;
    int64_t n1;
    int64_t m0;
    int64_t m1;
    share(units, ith % across, across, &n0, &n1);
    share(g->m, ith / across, nth / across, &m0, &m1);
    n0 *= unit;
    n1 = n1 * unit < g->n ? n1 * unit : g->n;
    gemm_part(g, m0, m1, n0, n1, s);
}
