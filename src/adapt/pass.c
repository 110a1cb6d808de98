#include "adapt/pass.h"

#include "adapt/dropout.h"
#include "adapt/layer.h"
#include "adapt/ops_cpu.h"
#include "base/clock.h"

#include <ggml-alloc.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAYER_NODES = 320,  /* of one layer, both ways, without attention's segments */
    SEGMENT_NODES = 64, /* of one layer's attention over one segment */
    HEAD_NODES = 64,    /* of the head over one chunk of rows */
    MIN_HEAD_ROWS = 16,
    MAX_HEAD_ROWS = 512,
};
/* Logits of a chunk: enough rows to use the matrix well, little beside the rest. An accelerator is
 * faster than the memory it reads the head's matrix from, for each chunk anew, and takes more. */
static const int64_t head_bytes = 64 << 20;
static const int64_t head_bytes_accelerator = 256 << 20;

struct pass {
    const struct device *device;
    const struct base_model *model;
    const struct lora *lora;
    struct pass_limits limits;
    struct ops ops;
    struct dropout dropout;
    int head_rows;

    /* Kept from graph to graph. */
    struct ggml_context *kept;
    ggml_backend_buffer_t buffer;
    struct ggml_tensor **saved; /* input of each layer, and the last one's output */
    struct ggml_tensor *grad;   /* of what the next layer down puts out: [n_embd, max_tokens] */
    struct ggml_tensor *tokens;
    struct ggml_tensor *positions;
    struct ggml_tensor *rows;
    struct ggml_tensor *targets; /* as cross_entropy wants them */

    ggml_gallocr_t alloc;
    void *graph_memory;
    size_t graph_bytes;
    int graph_nodes;
    bool ops_checked;
    struct pass_times times;
    struct arena lasting; /* as long as the pass */
    struct arena arena;   /* as long as a graph */
};

/* --- What is kept ---------------------------------------------------------------------------- */

/* Layer inputs that must exist at once: all for the way back, else this layer's and the next's. */
static int n_saved(const struct pass *p) {
    return p->limits.checkpoint ? p->model->shape.n_layers + 1 : 2;
}

static struct ggml_tensor *saved_at(const struct pass *p, int layer) {
    return p->saved[p->limits.checkpoint ? layer : layer % 2];
}

static int64_t most_rows(const struct base_model *m) {
    const struct model_shape *s = &m->shape;
    int64_t most = s->n_embd > s->n_ff ? s->n_embd : s->n_ff;
    int64_t q = (int64_t)s->n_head * s->head_dim;
    most = q > most ? q : most;
    most = s->n_vocab > most ? s->n_vocab : most;
    /* ops_plain may cut rows down to 256 values */
    int64_t widest = s->n_embd > s->n_ff ? s->n_embd : s->n_ff;
    return most * (widest / 256 + 1);
}

static int declare_kept(struct pass *p, struct err *e) {
    const struct model_shape *s = &p->model->shape;
    const int64_t n = p->limits.max_tokens;
    const int count = n_saved(p);
    p->kept = ggml_init((struct ggml_init_params){
        .mem_size = ((size_t)count + 9) * ggml_tensor_overhead(), .no_alloc = true});
    p->saved = arena_array(&p->lasting, (size_t)count, sizeof(struct ggml_tensor *));
    if (!p->kept || !p->saved) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    for (int i = 0; i < count; i++) {
        p->saved[i] = ggml_new_tensor_2d(p->kept, GGML_TYPE_F32, s->n_embd, n);
    }
    p->grad = ggml_new_tensor_2d(p->kept, GGML_TYPE_F32, s->n_embd, n);
    p->tokens = ggml_new_tensor_1d(p->kept, GGML_TYPE_I32, n);
    p->positions = ggml_new_tensor_1d(p->kept, GGML_TYPE_I32, n);
    p->rows = ggml_new_tensor_1d(p->kept, GGML_TYPE_I32, n);
    p->targets = ggml_new_tensor_1d(p->kept, GGML_TYPE_I32, n);
    if (!p->device->own_kernels) {
        p->ops.row_ids = ggml_new_tensor_1d(p->kept, GGML_TYPE_I32, most_rows(p->model));
    }
    int64_t q = (int64_t)s->n_head * s->head_dim;
    int64_t widest = s->n_ff > s->n_embd ? s->n_ff : s->n_embd;
    widest = q > widest ? q : widest;
    dropout_declare(&p->dropout, p->kept, p->device->own_kernels, p->limits.dropout, n * widest);
    return 0;
}

static int fill_row_ids(struct pass *p, struct err *e) {
    if (!p->ops.row_ids) {
        return 0;
    }
    size_t n = (size_t)p->ops.row_ids->ne[0];
    int32_t *ids = malloc(n * sizeof(*ids));
    if (!ids) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)i;
    }
    ggml_backend_tensor_set(p->ops.row_ids, ids, 0, n * sizeof(*ids));
    free(ids);
    return 0;
}

static void choose_head_rows(struct pass *p) {
    int64_t most = p->device->own_kernels ? head_bytes : head_bytes_accelerator;
    int64_t rows = most / ((int64_t)p->model->shape.n_vocab * (int64_t)sizeof(float));
    rows = rows > MAX_HEAD_ROWS ? MAX_HEAD_ROWS : rows;
    p->head_rows = (int)(rows < MIN_HEAD_ROWS ? MIN_HEAD_ROWS : rows);
}

/* Everything but memory on the device. */
static int pass_declare(const struct device *d, const struct base_model *m, const struct lora *l,
                        const struct pass_limits *limits, struct pass **out, struct err *e) {
    struct pass *p = calloc(1, sizeof(*p));
    *out = p;
    if (!p) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    p->device = d;
    p->model = m;
    p->lora = l;
    p->limits = *limits;
    p->ops.kind = d->own_kernels ? &ops_cpu : &ops_plain;
    p->ops.dropout = &p->dropout;
    p->ops.compute = d->compute;
    p->ops.reuse = limits->checkpoint;
    p->ops.arena = &p->arena;
    choose_head_rows(p);
    int n_layers = limits->checkpoint ? 1 : m->shape.n_layers;
    int chunks = limits->checkpoint ? 1 : limits->max_tokens / p->head_rows + 1;
    p->graph_nodes = n_layers * (LAYER_NODES + SEGMENT_NODES * limits->max_segments) +
                     chunks * HEAD_NODES;
    p->graph_bytes = (size_t)p->graph_nodes * ggml_tensor_overhead() +
                     ggml_graph_overhead_custom((size_t)p->graph_nodes, false);
    p->graph_memory = malloc(p->graph_bytes);
    p->alloc = ggml_gallocr_new(ggml_backend_get_default_buffer_type(d->backend));
    if (!p->graph_memory || !p->alloc) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    return declare_kept(p, e);
}

int pass_create(const struct device *d, const struct base_model *m, const struct lora *l,
                const struct pass_limits *limits, struct pass **out, struct err *e) {
    int rc = pass_declare(d, m, l, limits, out, e);
    struct pass *p = *out;
    if (!rc) {
        p->buffer = ggml_backend_alloc_ctx_tensors(p->kept, d->backend);
        rc = p->buffer ? 0
                       : err_set(e, EE_NOMEM,
                                 "no memory on %s for the inputs of %d layers; use a smaller "
                                 "--batch",
                                 d->name, n_saved(p));
    }
    rc = rc ? rc : fill_row_ids(p, e);
    rc = rc ? rc : dropout_fill(&p->dropout, limits->seed, &p->lasting, e);
    if (!rc && d->own_kernels) {
        rc = ops_cpu_work_create(d->n_threads, &m->shape, limits->max_segment, &p->ops.work, e);
    }
    if (rc) {
        pass_free(p);
        *out = NULL;
    }
    return rc;
}

void pass_free(struct pass *p) {
    if (!p) {
        return;
    }
    ops_cpu_work_free(p->ops.work);
    if (p->alloc) {
        ggml_gallocr_free(p->alloc);
    }
    if (p->buffer) {
        ggml_backend_buffer_free(p->buffer);
    }
    ggml_free(p->kept);
    free(p->graph_memory);
    arena_release(&p->arena);
    arena_release(&p->lasting);
    free(p);
}

/* --- Graphs ---------------------------------------------------------------------------------- */

static int begin_graph(struct pass *p, struct err *e) {
    arena_release(&p->arena);
    p->ops.ctx = ggml_init((struct ggml_init_params){
        .mem_size = p->graph_bytes, .mem_buffer = p->graph_memory, .no_alloc = true});
    if (!p->ops.ctx) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    p->ops.graph = ggml_new_graph_custom(p->ops.ctx, (size_t)p->graph_nodes, false);
    return 0;
}

static void end_graph(struct pass *p) {
    ggml_free(p->ops.ctx);
    p->ops.ctx = NULL;
    p->ops.graph = NULL;
}

/* A device that lacks an operation would abort the process; say which instead. */
static int check_ops(struct pass *p, struct err *e) {
    for (int i = 0; i < ggml_graph_n_nodes(p->ops.graph) && !p->ops_checked; i++) {
        const struct ggml_tensor *t = ggml_graph_node(p->ops.graph, i);
        if (!ggml_backend_supports_op(p->device->backend, t)) {
            return err_set(e, EE_UNSUPPORTED, "%s cannot compute %s of %s; use --device cpu",
                           p->device->name, ggml_op_name(t->op),
                           t->src[0] ? ggml_type_name(t->src[0]->type) : "nothing");
        }
    }
    return 0;
}

/* Begins to compute the graph; wait_for_device tells when it is done. The graph's own memory may be
 * used again at once, and its tensors' by graphs that come after it. */
static int compute(struct pass *p, struct err *e) {
    if (p->arena.failed) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    int rc = check_ops(p, e);
    if (rc) {
        return rc;
    }
    if (!ggml_gallocr_alloc_graph(p->alloc, p->ops.graph)) {
        return err_set(e, EE_NOMEM,
                       "no memory on %s for the activations of %d tokens; use a "
                       "smaller --batch",
                       p->device->name, p->limits.max_tokens);
    }
    enum ggml_status status = ggml_backend_graph_compute_async(p->device->backend, p->ops.graph);
    if (status != GGML_STATUS_SUCCESS) {
        return err_set(e, status == GGML_STATUS_ALLOC_FAILED ? EE_NOMEM : EE_FAIL,
                       "%s failed while training: %s", p->device->name,
                       ggml_status_to_string(status));
    }
    return 0;
}

/* Before the host reads or writes a tensor, and before a larger graph moves the others' memory. */
static void wait_for_device(struct pass *p) {
    ggml_backend_synchronize(p->device->backend);
}

static struct ggml_tensor *columns(struct pass *p, struct ggml_tensor *t, int64_t n) {
    return ggml_view_2d(p->ops.ctx, t, t->ne[0], n, t->nb[1], 0);
}

static struct ggml_tensor *part(struct pass *p, struct ggml_tensor *t, int from, int n) {
    return ggml_view_1d(p->ops.ctx, t, n, (size_t)from * t->nb[0]);
}

static void store(struct pass *p, struct ggml_tensor *value, struct ggml_tensor *at) {
    ggml_build_forward_expand(p->ops.graph,
                              ggml_cpy(p->ops.ctx, value, columns(p, at, value->ne[1])));
}

static struct layer_env layer_env(struct pass *p, const struct batch *b, uint64_t dropout_key) {
    return (struct layer_env){.model = p->model,
                              .lora = p->lora,
                              .ops = &p->ops,
                              .positions = part(p, p->positions, 0, b->n_tokens),
                              .segments = b->segments,
                              .n_segments = b->n_segments,
                              .dropout_key = p->limits.dropout > 0 ? dropout_key : 0};
}

/* --- Inputs ---------------------------------------------------------------------------------- */

/* On the device, where it can look up rows of the embedding's type; *done tells. */
static int gather_embeddings(struct pass *p, const struct batch *b, bool *done, struct err *e) {
    int rc = begin_graph(p, e);
    if (rc) {
        return rc;
    }
    struct ggml_tensor *rows = ggml_get_rows(p->ops.ctx, p->model->tok_embd,
                                             part(p, p->tokens, 0, b->n_tokens));
    *done = ggml_backend_supports_op(p->device->backend, rows);
    if (*done) {
        store(p, rows, saved_at(p, 0));
        rc = compute(p, e);
    }
    end_graph(p);
    return rc;
}

/* Row by row on the host: for any type on any device. */
static int put_embeddings(struct pass *p, const struct batch *b, struct err *e) {
    const struct ggml_tensor *embd = p->model->tok_embd;
    size_t row_bytes = ggml_row_size(embd->type, embd->ne[0]);
    size_t n = (size_t)embd->ne[0];
    void *raw = malloc(row_bytes);
    float *values = malloc(n * sizeof(float) * (size_t)b->n_tokens);
    if (!raw || !values) {
        free(raw);
        free(values);
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    for (int i = 0; i < b->n_tokens; i++) {
        float *to = values + (size_t)i * n;
        ggml_backend_tensor_get(embd, raw, (size_t)b->tokens[i] * row_bytes, row_bytes);
        if (embd->type == GGML_TYPE_F32) {
            memcpy(to, raw, row_bytes);
        } else {
            ggml_get_type_traits(embd->type)->to_float(raw, to, (int64_t)n);
        }
    }
    ggml_backend_tensor_set(saved_at(p, 0), values, 0, n * sizeof(float) * (size_t)b->n_tokens);
    free(raw);
    free(values);
    return 0;
}

/* Row numbers and targets, the latter counted from the start of their chunk of the head. */
static int put_targets(struct pass *p, const struct batch *b, struct err *e) {
    int32_t *flat = malloc(((size_t)b->n_rows + 1) * sizeof(*flat));
    if (!flat) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    for (int i = 0; i < b->n_rows; i++) {
        flat[i] = i % p->head_rows * p->model->shape.n_vocab + b->targets[i];
    }
    size_t bytes = (size_t)b->n_rows * sizeof(*flat);
    ggml_backend_tensor_set(p->targets, flat, 0, bytes);
    ggml_backend_tensor_set(p->rows, b->rows, 0, bytes);
    free(flat);
    return 0;
}

static int put_inputs(struct pass *p, const struct batch *b, struct err *e) {
    if (b->n_tokens > p->limits.max_tokens || b->n_segments > p->limits.max_segments) {
        return err_set(e, EE_FAIL, "a batch of %d tokens in %d sequences passes its limits",
                       b->n_tokens, b->n_segments);
    }
    for (int i = 0; i < b->n_tokens; i++) {
        if (b->tokens[i] < 0 || b->tokens[i] >= p->model->shape.n_vocab) {
            return err_set(e, EE_FORMAT, "token %d is not in the model's vocabulary of %d",
                           b->tokens[i], p->model->shape.n_vocab);
        }
    }
    const size_t bytes = (size_t)b->n_tokens * sizeof(int32_t);
    bool gathered = false;
    ggml_backend_tensor_set(p->tokens, b->tokens, 0, bytes);
    ggml_backend_tensor_set(p->positions, b->positions, 0, bytes);
    int rc = put_targets(p, b, e);
    rc = rc || p->device->own_kernels ? rc : gather_embeddings(p, b, &gathered, e);
    return rc || gathered ? rc : put_embeddings(p, b, e);
}

/* --- Head ------------------------------------------------------------------------------------ */

struct head_chunk {
    int from;
    int n;
    struct ggml_tensor *x;    /* gathered rows */
    struct ggml_tensor *loss; /* [n] */
    struct linear_tape tape;
};

static int next_chunk(const struct pass *p, const struct batch *b, int from) {
    int left = b->n_rows - from;
    return left < p->head_rows ? left : p->head_rows;
}

static struct ggml_tensor *head_logits(struct pass *p, struct head_chunk *c,
                                       struct ggml_tensor *last) {
    const struct base_model *m = p->model;
    const struct linear head = {.w = m->output, .mask_offset = -1};
    c->x = ggml_get_rows(p->ops.ctx, last, part(p, p->rows, c->from, c->n));
    struct ggml_tensor *normed = p->ops.kind->norm(&p->ops, c->x, m->output_norm, m->shape.rms_eps);
    return ops_linear(&p->ops, &head, normed, &c->tape);
}

/* Adds the chunk's loss to the graph; with grad, also the gradient of its rows, set into grad, which
 * is returned as it is then. */
static struct ggml_tensor *add_head(struct pass *p, struct head_chunk *c, struct ggml_tensor *last,
                                    float weight, struct ggml_tensor *grad) {
    const struct base_model *m = p->model;
    const struct linear head = {.w = m->output, .mask_offset = -1};
    struct ggml_tensor *dlogits;
    struct ggml_tensor *logits = head_logits(p, c, last);
    p->ops.kind->cross_entropy(&p->ops, logits, part(p, p->targets, c->from, c->n), weight,
                               &c->loss, &dlogits);
    ggml_set_output(c->loss);
    ggml_build_forward_expand(p->ops.graph, c->loss);
    if (!grad) {
        return NULL;
    }
    struct ggml_tensor *dnormed = ops_linear_back(&p->ops, &head, NULL, &c->tape, dlogits, NULL,
                                                  true);
    struct ggml_tensor *dx = p->ops.kind->norm_back(&p->ops, c->x, m->output_norm, m->shape.rms_eps,
                                                    dnormed, NULL);
    return ggml_set_rows(p->ops.ctx, grad, dx, part(p, p->rows, c->from, c->n));
}

static void read_losses(struct pass *p, const struct head_chunk *c, float *losses) {
    wait_for_device(p);
    ggml_backend_tensor_get(c->loss, losses + c->from, 0, (size_t)c->n * sizeof(float));
}

/* The head by itself, a graph a chunk, on the last layer's saved output. */
static void build_head(struct pass *p, const struct batch *b, struct head_chunk *c, float weight,
                       bool with_grad) {
    struct ggml_tensor *last = columns(p, saved_at(p, p->model->shape.n_layers), b->n_tokens);
    struct ggml_tensor *grad = with_grad ? columns(p, p->grad, b->n_tokens) : NULL;
    struct ggml_tensor *set = add_head(p, c, last, weight, grad);
    if (set) {
        ggml_build_forward_expand(p->ops.graph, set);
    }
}

static int run_head(struct pass *p, const struct batch *b, float weight, bool with_grad,
                    float *losses, struct err *e) {
    int rc = 0;
    for (int from = 0; from < b->n_rows && !rc;) {
        struct head_chunk c = {.from = from, .n = next_chunk(p, b, from)};
        rc = begin_graph(p, e);
        if (rc) {
            return rc;
        }
        build_head(p, b, &c, weight, with_grad);
        rc = compute(p, e);
        if (!rc) {
            read_losses(p, &c, losses);
        }
        end_graph(p);
        from += c.n;
    }
    return rc;
}

/* --- Passes ---------------------------------------------------------------------------------- */

static void build_forward(struct pass *p, const struct batch *b, int layer, uint64_t key) {
    struct layer_tape tape = {0};
    const struct layer_env env = layer_env(p, b, key);
    struct ggml_tensor *x = columns(p, saved_at(p, layer), b->n_tokens);
    store(p, layer_forward(&env, layer, x, &tape), saved_at(p, layer + 1));
}

/* Rebuilds the layer from its saved input and goes back through it; p->grad goes down with it. */
static void build_backward(struct pass *p, const struct batch *b, int layer, uint64_t key) {
    struct layer_tape tape = {0};
    const struct layer_env env = layer_env(p, b, key);
    struct ggml_tensor *x = columns(p, saved_at(p, layer), b->n_tokens);
    layer_forward(&env, layer, x, &tape);
    struct ggml_tensor *dx = layer_backward(&env, layer, &tape, columns(p, p->grad, b->n_tokens));
    if (dx) {
        store(p, dx, p->grad);
    }
}

static int run_layers_forward(struct pass *p, const struct batch *b, uint64_t key, struct err *e) {
    int rc = 0;
    for (int layer = 0; layer < p->model->shape.n_layers && !rc; layer++) {
        rc = begin_graph(p, e);
        if (!rc) {
            build_forward(p, b, layer, key);
            rc = compute(p, e);
            end_graph(p);
        }
    }
    wait_for_device(p);
    return rc;
}

static int run_layers_backward(struct pass *p, const struct batch *b, uint64_t key, struct err *e) {
    int rc = 0;
    for (int layer = p->model->shape.n_layers - 1; layer >= 0 && !rc; layer--) {
        rc = begin_graph(p, e);
        if (!rc) {
            build_backward(p, b, layer, key);
            rc = compute(p, e);
            end_graph(p);
        }
    }
    wait_for_device(p);
    return rc;
}

/* Adds everything, forward and backward, to one graph. */
static int build_whole(struct pass *p, const struct batch *b, float weight, uint64_t key,
                       struct head_chunk *chunks, struct err *e) {
    int n_layers = p->model->shape.n_layers;
    struct layer_tape *tapes = arena_array(&p->arena, (size_t)n_layers, sizeof(*tapes));
    if (!tapes) {
        return err_set(e, EE_NOMEM, "training: out of memory");
    }
    const struct layer_env env = layer_env(p, b, key);
    struct ggml_tensor *x = columns(p, saved_at(p, 0), b->n_tokens);
    for (int layer = 0; layer < n_layers; layer++) {
        x = layer_forward(&env, layer, x, &tapes[layer]);
    }
    struct ggml_tensor *grad = columns(p, p->grad, b->n_tokens);
    for (int from = 0, i = 0; from < b->n_rows; from += chunks[i].n, i++) {
        chunks[i] = (struct head_chunk){.from = from, .n = next_chunk(p, b, from)};
        grad = add_head(p, &chunks[i], x, weight, grad);
        ggml_build_forward_expand(p->ops.graph, grad);
    }
    for (int layer = n_layers - 1; layer >= 0; layer--) {
        grad = layer_backward(&env, layer, &tapes[layer], grad);
    }
    return 0;
}

static int run_whole(struct pass *p, const struct batch *b, float weight, uint64_t key,
                     float *losses, struct err *e) {
    int rc = begin_graph(p, e);
    if (rc) {
        return rc;
    }
    size_t n_chunks = (size_t)(b->n_rows / p->head_rows + 1);
    struct head_chunk *chunks = arena_array(&p->arena, n_chunks, sizeof(*chunks));
    rc = chunks ? build_whole(p, b, weight, key, chunks, e)
                : err_set(e, EE_NOMEM, "training: out of memory");
    rc = rc ? rc : compute(p, e);
    for (size_t i = 0; !rc && i < n_chunks && chunks[i].n > 0; i++) {
        read_losses(p, &chunks[i], losses);
    }
    end_graph(p);
    return rc;
}

int pass_train(struct pass *p, const struct batch *b, float weight, uint64_t dropout_key,
               float *losses, struct err *e) {
    int rc = put_inputs(p, b, e);
    if (rc) {
        return rc;
    }
    ggml_backend_tensor_memset(p->grad, 0, 0, ggml_nbytes(p->grad));
    int64_t begin_ns = clock_mono_ns();
    if (!p->limits.checkpoint) {
        rc = run_whole(p, b, weight, dropout_key, losses, e);
    } else {
        rc = run_layers_forward(p, b, dropout_key, e);
        int64_t forward_ns = clock_mono_ns() - begin_ns;
        p->times.forward_ns += forward_ns;
        begin_ns += forward_ns;
        rc = rc ? rc : run_head(p, b, weight, true, losses, e);
        rc = rc ? rc : run_layers_backward(p, b, dropout_key, e);
    }
    p->times.backward_ns += clock_mono_ns() - begin_ns;
    p->ops_checked = p->ops_checked || !rc;
    return rc;
}

int pass_evaluate(struct pass *p, const struct batch *b, float *losses, struct err *e) {
    int rc = put_inputs(p, b, e);
    rc = rc ? rc : run_layers_forward(p, b, 0, e);
    return rc ? rc : run_head(p, b, 0, false, losses, e);
}

int pass_logits(struct pass *p, const struct batch *b, float *logits, struct err *e) {
    int rc = put_inputs(p, b, e);
    rc = rc ? rc : run_layers_forward(p, b, 0, e);
    for (int from = 0; from < b->n_rows && !rc;) {
        struct head_chunk c = {.from = from, .n = next_chunk(p, b, from)};
        rc = begin_graph(p, e);
        if (rc) {
            return rc;
        }
        struct ggml_tensor *last = columns(p, saved_at(p, p->model->shape.n_layers), b->n_tokens);
        struct ggml_tensor *out = head_logits(p, &c, last);
        ggml_set_output(out);
        ggml_build_forward_expand(p->ops.graph, out);
        rc = compute(p, e);
        wait_for_device(p);
        if (!rc) {
            ggml_backend_tensor_get(out, logits + (size_t)from * (size_t)p->model->shape.n_vocab, 0,
                                    ggml_nbytes(out));
        }
        end_graph(p);
        from += c.n;
    }
    return rc;
}

void pass_get_times(const struct pass *p, struct pass_times *t) {
    *t = p->times;
}

uint64_t pass_bytes(const struct pass *p) {
    return ggml_backend_buffer_get_size(p->buffer) + ggml_gallocr_get_buffer_size(p->alloc, 0);
}

/* --- Forecast -------------------------------------------------------------------------------- */

static uint64_t kept_bytes(const struct pass *p) {
    uint64_t sum = 0;
    for (struct ggml_tensor *t = ggml_get_first_tensor(p->kept); t;
         t = ggml_get_next_tensor(p->kept, t)) {
        sum += ggml_nbytes(t);
    }
    return sum;
}

/* What the graph that was just built would need; ends it. */
static uint64_t graph_need(struct pass *p) {
    size_t bytes = 0;
    ggml_gallocr_reserve_n_size(p->alloc, p->ops.graph, NULL, NULL, &bytes);
    end_graph(p);
    return bytes;
}

static int largest_graph(struct pass *p, const struct batch *b, uint64_t *most, struct err *e) {
    struct head_chunk c = {.n = next_chunk(p, b, 0)};
    *most = 0;
    int rc = begin_graph(p, e);
    if (!rc && !p->limits.checkpoint) {
        size_t n_chunks = (size_t)(b->n_rows / p->head_rows + 1);
        struct head_chunk *chunks = arena_array(&p->arena, n_chunks, sizeof(*chunks));
        rc = chunks ? build_whole(p, b, 1, 1, chunks, e)
                    : err_set(e, EE_NOMEM, "training: out of memory");
        *most = rc ? 0 : graph_need(p);
        return rc;
    }
    if (!rc) {
        build_head(p, b, &c, 1, true);
        *most = graph_need(p);
        rc = begin_graph(p, e);
    }
    if (!rc) {
        build_backward(p, b, p->model->shape.n_layers > 1 ? 1 : 0, 1);
        uint64_t bytes = graph_need(p);
        *most = bytes > *most ? bytes : *most;
    }
    return rc;
}

int pass_forecast(const struct device *d, const struct base_model *m, const struct lora *l,
                  const struct pass_limits *limits, uint64_t *bytes, struct err *e) {
    struct pass *p = NULL;
    struct arena a = ARENA_INIT;
    struct segment *segments = arena_array(&a, (size_t)limits->max_segments, sizeof(*segments));
    int rc = segments ? pass_declare(d, m, l, limits, &p, e)
                      : err_set(e, EE_NOMEM, "training: out of memory");
    if (!rc) {
        device_pretend(p->kept);
        int n_segments = 0;
        for (int at = 0; at < limits->max_tokens && n_segments < limits->max_segments;) {
            int left = limits->max_tokens - at;
            int len = left < limits->max_segment ? left : limits->max_segment;
            segments[n_segments++] = (struct segment){at, len};
            at += len;
        }
        const struct batch b = {.n_tokens = limits->max_tokens,
                                .n_segments = n_segments,
                                .segments = segments,
                                .n_rows = limits->max_tokens};
        rc = largest_graph(p, &b, bytes, e);
        *bytes += kept_bytes(p);
        *bytes += d->own_kernels
                      ? ops_cpu_work_bytes(d->n_threads, &m->shape, limits->max_segment) +
                            (uint64_t)p->dropout.n
                      : 0;
    }
    pass_free(p);
    arena_release(&a);
    return rc;
}
