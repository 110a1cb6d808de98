#include "adapt/train_batches.h"

#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

enum { ORDER_STREAM = 1000 }; /* streams of the seed from here on are epochs' orders */

/* Tokens that are computed: nothing is predicted from the last one. */
static int fed_tokens(const struct train_row *r) {
    return r->n_tokens - 1;
}

int batching_loss_rows(const struct batching *g, const struct train_row *r) {
    return fed_tokens(r) - (g->all_tokens ? 0 : r->n_prompt - 1);
}

static const struct train_row *row_at(const struct batching *g, size_t chosen) {
    return &g->rows->rows[chosen];
}

static int64_t capacity(const struct batching *g) {
    return (int64_t)g->batch * (g->rows->longest - 1);
}

static void shuffle(size_t *order, size_t n, uint64_t seed, int64_t epoch) {
    struct rng rng;
    rng_init_stream(&rng, seed, ORDER_STREAM + (uint64_t)epoch);
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(&rng, i);
        size_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

int epoch_order_make(const struct batching *g, int64_t epoch, struct arena *a,
                     struct epoch_order *out, struct err *e) {
    out->order = arena_array(a, g->n_chosen, sizeof(*out->order));
    out->starts = arena_array(a, g->n_chosen + 1, sizeof(*out->starts));
    out->n_micro = 0;
    if (!out->order || !out->starts) {
        return err_set(e, EE_NOMEM, "training order: out of memory");
    }
    memcpy(out->order, g->chosen, g->n_chosen * sizeof(*g->chosen));
    if (epoch >= 0) {
        shuffle(out->order, g->n_chosen, g->seed, epoch);
    }
    int64_t tokens = 0;
    size_t in_micro = 0;
    for (size_t i = 0; i < g->n_chosen; i++) {
        int64_t n = fed_tokens(row_at(g, out->order[i]));
        bool full = g->pack ? tokens + n > capacity(g) : in_micro == (size_t)g->batch;
        if (i == 0 || full) {
            out->starts[out->n_micro++] = i;
            tokens = 0;
            in_micro = 0;
        }
        tokens += n;
        in_micro++;
    }
    out->starts[out->n_micro] = g->n_chosen;
    return 0;
}

static int by_size(const void *a, const void *b) {
    int x = *(const int *)a;
    int y = *(const int *)b;
    return (x < y) - (x > y);
}

void batching_limits(const struct batching *g, struct pass_limits *limits) {
    int shortest = g->rows->longest;
    int *sizes = malloc((g->n_chosen + 1) * sizeof(*sizes));
    int64_t most = 0;
    for (size_t i = 0; i < g->n_chosen; i++) {
        int n = fed_tokens(row_at(g, g->chosen[i]));
        shortest = n < shortest ? n : shortest;
        if (sizes) {
            sizes[i] = n;
        }
    }
    if (sizes) {
        qsort(sizes, g->n_chosen, sizeof(*sizes), by_size);
        for (size_t i = 0; i < (size_t)g->batch && i < g->n_chosen; i++) {
            most += sizes[i];
        }
    }
    bool exact = sizes && !g->pack;
    limits->max_tokens = (int)(exact ? most : capacity(g));
    limits->max_segments = g->pack ? limits->max_tokens / (shortest > 0 ? shortest : 1) : g->batch;
    limits->max_segment = g->rows->longest;
    free(sizes);
}

struct batch_memory {
    struct batch batch;
    struct arena arena;
    int32_t *tokens;
    int32_t *positions;
    int32_t *rows;
    int32_t *targets;
    struct segment *segments;
};

int batch_memory_create(const struct pass_limits *limits, struct batch_memory **out,
                        struct err *e) {
    struct batch_memory *m = calloc(1, sizeof(*m));
    *out = m;
    if (m) {
        size_t n = (size_t)limits->max_tokens;
        m->tokens = arena_array(&m->arena, n, sizeof(int32_t));
        m->positions = arena_array(&m->arena, n, sizeof(int32_t));
        m->rows = arena_array(&m->arena, n, sizeof(int32_t));
        m->targets = arena_array(&m->arena, n, sizeof(int32_t));
        m->segments = arena_array(&m->arena, (size_t)limits->max_segments, sizeof(*m->segments));
    }
    if (!m || m->arena.failed) {
        batch_memory_free(m);
        *out = NULL;
        return err_set(e, EE_NOMEM, "micro-batches: out of memory");
    }
    return 0;
}

void batch_memory_free(struct batch_memory *m) {
    if (m) {
        arena_release(&m->arena);
        free(m);
    }
}

static void add_row(struct batch_memory *m, const struct batching *g, const struct train_row *r) {
    struct batch *b = &m->batch;
    const int n = fed_tokens(r);
    const int first_loss = n - batching_loss_rows(g, r);
    m->segments[b->n_segments++] = (struct segment){b->n_tokens, n};
    for (int i = 0; i < n; i++) {
        m->tokens[b->n_tokens + i] = r->tokens[i];
        m->positions[b->n_tokens + i] = i;
        if (i >= first_loss) {
            m->rows[b->n_rows] = b->n_tokens + i;
            m->targets[b->n_rows++] = r->tokens[i + 1];
        }
    }
    b->n_tokens += n;
}

const struct batch *batch_fill(struct batch_memory *m, const struct batching *g,
                               const struct epoch_order *o, size_t i) {
    m->batch = (struct batch){.tokens = m->tokens,
                              .positions = m->positions,
                              .segments = m->segments,
                              .rows = m->rows,
                              .targets = m->targets};
    for (size_t k = o->starts[i]; k < o->starts[i + 1]; k++) {
        add_row(m, g, row_at(g, o->order[k]));
    }
    return &m->batch;
}
