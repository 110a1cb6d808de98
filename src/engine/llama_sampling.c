/*
 * How tokens are picked: on the host from a row of logits, or on the device as a part of the step's
 * graph, by samplers that are attached to the context, one a sequence.
 *
 * Greedy picking on the device has a sampler of its own. The engine's looks through one row of
 * logits at a time, each on a single multiprocessor, and sends every row to the host beside the
 * token: at 100 sequences that took longer than the model. This one finds the tokens of all rows in
 * one operation, of which each sequence's sampler hands out its own row, and sends nothing else.
 */
#include "engine/llama_internal.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <stdlib.h>

bool llama_is_greedy(const struct engine_sampling *s) {
    return s->temperature <= 0 && !s->grammar;
}

static const char *greedy_name(const struct llama_sampler *s) {
    (void)s;
    return "greedy, all rows at once";
}

/* For a device that cannot do it: the engine then asks on the host. */
static void greedy_apply(struct llama_sampler *s, llama_token_data_array *all) {
    (void)s;
    all->selected = 0;
    for (size_t i = 1; i < all->size; i++) {
        if (all->data[i].logit > all->data[all->selected].logit) {
            all->selected = (int64_t)i;
        }
    }
}

static bool greedy_backend_init(struct llama_sampler *s, ggml_backend_buffer_type_t buft,
                                uint32_t n_outputs_max_per_seq) {
    (void)s;
    (void)n_outputs_max_per_seq;
    enum { N_TENSORS = 4, N_VALUES = 32 };
    ggml_backend_dev_t device = ggml_backend_buft_get_device(buft);
    const struct ggml_init_params room = {.mem_size = N_TENSORS * ggml_tensor_overhead(),
                                          .no_alloc = true};
    struct ggml_context *ctx = ggml_init(room);
    if (!ctx) {
        return false;
    }
    struct ggml_tensor *rows = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, N_VALUES, 2);
    bool can = !device || ggml_backend_dev_supports_op(device, ggml_argmax(ctx, rows));
    ggml_free(ctx);
    return can;
}

/* The logits of all rows, of which the engine gave row *index, padded by one; else that row alone. */
static struct ggml_tensor *all_rows(struct ggml_tensor *row, size_t *index) {
    struct ggml_tensor *all = row->view_src;
    *index = 0;
    if (all && all->op == GGML_OP_PAD && all->src[0]->ne[0] == row->ne[0] &&
        ggml_is_matrix(all->src[0]) && ggml_is_contiguous(all->src[0])) {
        *index = row->view_offs / all->nb[1];
        if (*index < (size_t)all->src[0]->ne[1]) {
            return all->src[0];
        }
        *index = 0;
    }
    return row;
}

static void greedy_backend_apply(struct llama_sampler *s, struct ggml_context *ctx,
                                 struct ggml_cgraph *graph, struct llama_sampler_data *data) {
    (void)graph;
    struct greedy_picks *picks = s->ctx;
    size_t index = 0;
    struct ggml_tensor *rows = all_rows(data->logits, &index);
    if (!picks->of_all || picks->of_all->src[0] != rows) {
        picks->of_all = ggml_argmax(ctx, rows);
        ggml_set_output(picks->of_all);
    }
    data->sampled = ggml_view_1d(ctx, picks->of_all, 1, index * sizeof(llama_token));
    data->logits = NULL; /* stay on the device */
}

/* Called for each sequence before any graph is built. */
static void greedy_backend_reset(struct llama_sampler *s) {
    struct greedy_picks *picks = s->ctx;
    picks->of_all = NULL;
}

static struct llama_sampler *greedy_init(struct greedy_picks *picks) {
    static struct llama_sampler_i greedy = {
        .name = greedy_name,
        .apply = greedy_apply,
        .backend_init = greedy_backend_init,
        .backend_apply = greedy_backend_apply,
        .backend_reset = greedy_backend_reset,
    };
    return llama_sampler_init(&greedy, picks);
}

int llama_make_sampler(const struct llama_vocab *vocab, const struct engine_sampling *s,
                       uint32_t seed, struct llama_sampler **out, struct err *e) {
    struct llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (!chain) {
        return err_set(e, EE_NOMEM, "sampling: out of memory");
    }
    if (s->grammar) {
        struct llama_sampler *grammar = llama_sampler_init_grammar(vocab, s->grammar, "root");
        if (!grammar) {
            llama_sampler_free(chain);
            return err_set(e, EE_FORMAT, "the grammar of the answers does not parse");
        }
        llama_sampler_chain_add(chain, grammar);
    }
    if (s->temperature <= 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_greedy());
        *out = chain;
        return 0;
    }
    if (s->top_k > 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_top_k(s->top_k));
    }
    if (s->top_p > 0 && s->top_p < 1) {
        llama_sampler_chain_add(chain, llama_sampler_init_top_p((float)s->top_p, 1));
    }
    llama_sampler_chain_add(chain, llama_sampler_init_temp((float)s->temperature));
    llama_sampler_chain_add(chain, llama_sampler_init_dist(seed));
    *out = chain;
    return 0;
}

static void free_samplers(struct engine *g) {
    for (int i = 0; g->samplers && i < g->n_seq_max; i++) {
        if (g->samplers[i]) {
            llama_sampler_free(g->samplers[i]);
        }
    }
    free(g->samplers);
    g->samplers = NULL;
}

/* A sampler for each sequence, not yet attached. */
static int make_samplers(struct engine *g, const struct engine_sampling *s, struct err *e) {
    g->samplers = calloc((size_t)g->n_seq_max, sizeof(struct llama_sampler *));
    int rc = g->samplers ? 0 : err_set(e, EE_NOMEM, "sampling: out of memory");
    for (int i = 0; !rc && i < g->n_seq_max; i++) {
        if (!llama_is_greedy(s)) {
            rc = llama_make_sampler(g->vocab, s, s->seed, &g->samplers[i], e);
            continue;
        }
        g->samplers[i] = llama_sampler_chain_init(llama_sampler_chain_default_params());
        if (!g->samplers[i]) {
            rc = err_set(e, EE_NOMEM, "sampling: out of memory");
            continue;
        }
        llama_sampler_chain_add(g->samplers[i], greedy_init(&g->picks));
    }
    if (rc) {
        free_samplers(g);
    }
    g->sampling = *s;
    return rc;
}

int llama_samplers_at_start(struct engine *g, struct llama_sampler_seq_config **configs,
                            struct err *e) {
    const struct engine_sampling greedy = {0};
    *configs = calloc((size_t)g->n_seq_max, sizeof(**configs));
    int rc = *configs ? make_samplers(g, &greedy, e)
                      : err_set(e, EE_NOMEM, "sampling: out of memory");
    for (int i = 0; !rc && i < g->n_seq_max; i++) {
        (*configs)[i] = (struct llama_sampler_seq_config){.seq_id = i, .sampler = g->samplers[i]};
    }
    return rc;
}

void llama_samplers_detach(struct engine *g) {
    for (int i = 0; g->samplers && g->ctx && i < g->n_seq_max; i++) {
        llama_set_sampler(g->ctx, i, NULL);
    }
    free_samplers(g);
}

/* Another set of samplers makes the engine plan its memory again at the next step. Here, so that no
 * request waits for it. */
static int settle(struct engine *g, struct err *e) {
    llama_token token = 0;
    int rc = llama_decode(g->ctx, llama_batch_get_one(&token, 1));
    llama_synchronize(g->ctx);
    llama_memory_clear(llama_get_memory(g->ctx), true);
    return rc == 0 ? 0 : llama_fail(e, EE_FAIL, "the engine could not compute a step");
}

int llama_samplers_attach(struct engine *g, const struct engine_sampling *s, struct err *e) {
    const struct engine_sampling *has = &g->sampling;
    bool both_greedy = llama_is_greedy(s) && llama_is_greedy(has);
    bool same = both_greedy || (has->temperature == s->temperature && has->top_p == s->top_p &&
                                has->top_k == s->top_k);
    if (!g->info.device_sampling || (g->samplers && same && !s->grammar)) {
        return 0;
    }
    llama_samplers_detach(g);
    if (s->grammar) {
        return settle(g, e);
    }
    int rc = make_samplers(g, s, e);
    for (int i = 0; !rc && i < g->n_seq_max; i++) {
        if (!llama_set_sampler(g->ctx, i, g->samplers[i])) {
            g->info.device_sampling = false;
            llama_samplers_detach(g);
            break;
        }
    }
    return rc ? rc : settle(g, e);
}
