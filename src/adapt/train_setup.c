#include "adapt/train_internal.h"

#include "adapt/train_settings.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/machine.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1024.0 * 1024.0 * 1024.0)

/* --- Options --------------------------------------------------------------------------------- */

const char *const train_base_names[] = {"f32",  "f16",  "bf16",   "q8_0", "q4_0",
                                        "q4_1", "q4_k", "iq4_nl", NULL};
static const enum ggml_type base_types[] = {GGML_TYPE_F32,  GGML_TYPE_F16,   GGML_TYPE_BF16,
                                            GGML_TYPE_Q8_0, GGML_TYPE_Q4_0,  GGML_TYPE_Q4_1,
                                            GGML_TYPE_Q4_K, GGML_TYPE_IQ4_NL};
_Static_assert(sizeof(base_types) / sizeof(base_types[0]) + 1 ==
                   sizeof(train_base_names) / sizeof(train_base_names[0]),
               "one name a type");

static int find_name(const char *const *names, const char *name, size_t len) {
    for (int i = 0; names[i]; i++) {
        if (strlen(names[i]) == len && strncmp(names[i], name, len) == 0) {
            return i;
        }
    }
    return -1;
}

static int no_such_name(const char *what, const char *name, int len, const char *const *names,
                        struct err *e) {
    struct buf all;
    buf_init(&all);
    for (int i = 0; names[i]; i++) {
        buf_addf(&all, "%s%s", i ? ", " : "", names[i]);
    }
    int rc = err_set(e, EE_USAGE, "unknown %s \"%.*s\"; there are: %s", what, len, name, all.data);
    buf_release(&all);
    return rc;
}

static int parse_modules(const char *list, unsigned *modules, struct err *e) {
    *modules = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        int m = find_name(module_names, list, len);
        if (m < 0) {
            return no_such_name("module", list, (int)len, module_names, e);
        }
        *modules |= 1U << m;
        list += len + (list[len] == ',');
    }
    return 0;
}

static int parse_names(struct trainer *t, struct err *e) {
    const struct train_opts *o = t->opts;
    int schedule = find_name(schedule_names, o->schedule, strlen(o->schedule));
    if (schedule < 0) {
        return no_such_name("schedule", o->schedule, (int)strlen(o->schedule), schedule_names, e);
    }
    t->schedule = (enum schedule)schedule;
    t->matrices = GGML_TYPE_COUNT;
    if (o->base_type) {
        int type = find_name(train_base_names, o->base_type, strlen(o->base_type));
        if (type < 0) {
            return no_such_name("base type", o->base_type, (int)strlen(o->base_type),
                                train_base_names, e);
        }
        t->matrices = base_types[type];
    }
    return parse_modules(o->modules, &t->modules, e);
}

/* --- Rows ------------------------------------------------------------------------------------ */

/* A seeded choice of rows is held out; the rest is trained on. */
static int split_rows(struct trainer *t, struct err *e) {
    enum { SPLIT_STREAM = 1 };
    const size_t n = t->rows.n;
    size_t held_out = (size_t)(t->opts->validation * (double)n + 0.5);
    held_out = t->opts->validation > 0 && held_out == 0 ? 1 : held_out;
    if (held_out >= n) {
        return err_set(e, EE_USAGE,
                       "%s has %zu rows: too few to hold %.0f %% of them out for validation",
                       t->opts->data_path, n, 100 * t->opts->validation);
    }
    size_t *all = arena_array(&t->arena, n, sizeof(*all));
    if (!all) {
        return err_set(e, EE_NOMEM, "training rows: out of memory");
    }
    struct rng rng;
    rng_init_stream(&rng, (uint64_t)t->opts->seed, SPLIT_STREAM);
    for (size_t i = 0; i < n; i++) {
        all[i] = i;
    }
    for (size_t i = 0; i < held_out; i++) { /* the first so many of a shuffle */
        size_t j = i + (size_t)rng_below(&rng, n - i);
        size_t swap = all[i];
        all[i] = all[j];
        all[j] = swap;
    }
    t->batching = (struct batching){.rows = &t->rows,
                                    .chosen = all + held_out,
                                    .n_chosen = n - held_out,
                                    .batch = t->opts->batch,
                                    .pack = t->opts->pack,
                                    .all_tokens = t->opts->all_tokens,
                                    .seed = (uint64_t)t->opts->seed};
    t->validation = t->batching;
    t->validation.chosen = all;
    t->validation.n_chosen = held_out;
    t->validation.pack = false;
    return 0;
}

/* Packing makes a step's rows depend on the order, so every epoch is laid out to count its steps. */
static int count_steps(struct trainer *t, struct err *e) {
    int rc = 0;
    for (int64_t epoch = 0; epoch < t->opts->epochs && !rc; epoch++) {
        struct arena a = ARENA_INIT;
        struct epoch_order order = {0};
        rc = epoch_order_make(&t->batching, epoch, &a, &order, e);
        size_t each = (size_t)t->opts->accumulate;
        t->n_steps += (int64_t)((order.n_micro + each - 1) / each);
        arena_release(&a);
    }
    if (t->opts->max_steps > 0 && t->n_steps > t->opts->max_steps) {
        t->n_steps = t->opts->max_steps;
    }
    t->n_warmup = (int64_t)(t->opts->warmup * (double)t->n_steps + 0.5);
    return rc;
}

static void larger_limits(struct pass_limits *a, const struct pass_limits *b) {
    a->max_tokens = b->max_tokens > a->max_tokens ? b->max_tokens : a->max_tokens;
    a->max_segments = b->max_segments > a->max_segments ? b->max_segments : a->max_segments;
}

static struct pass_limits limits_of(const struct trainer *t, int batch) {
    struct batching train = t->batching;
    struct batching validation = t->validation;
    struct pass_limits limits = {.checkpoint = t->opts->recompute,
                                 .dropout = t->opts->dropout,
                                 .seed = (uint64_t)t->opts->seed};
    struct pass_limits other = limits;
    train.batch = batch;
    validation.batch = batch;
    batching_limits(&train, &limits);
    if (validation.n_chosen > 0) {
        batching_limits(&validation, &other);
        larger_limits(&limits, &other);
    }
    return limits;
}

/* --- Memory ---------------------------------------------------------------------------------- */

struct forecast {
    struct base_model model; /* declared */
    struct lora lora;
    uint64_t weights_bytes;
    uint64_t adapter_bytes;
};

static int forecast_with(const struct trainer *t, const struct forecast *f, int batch,
                         uint64_t *bytes, struct err *e) {
    const struct pass_limits limits = limits_of(t, batch);
    int rc = pass_forecast(&t->device, &f->model, &f->lora, &limits, bytes, e);
    uint64_t embeddings = (uint64_t)limits.max_tokens * (uint64_t)f->model.shape.n_embd *
                          sizeof(float);
    /* The optimiser's temporaries: squares of the gradients, or the clipped ones. */
    uint64_t optimiser = (uint64_t)ggml_nbytes(f->lora.params);
    *bytes += f->weights_bytes + f->adapter_bytes + embeddings + optimiser;
    return rc;
}

/* What would fit, in words. */
static int advise(const struct trainer *t, const struct forecast *f, uint64_t have,
                  struct buf *advice, struct err *e) {
    int rc = 0;
    buf_addstr(advice, "use ");
    for (int batch = t->opts->batch / 2; batch >= 1 && !rc; batch /= 2) {
        uint64_t need = 0;
        rc = forecast_with(t, f, batch, &need, e);
        if (!rc && need <= have) {
            buf_addf(advice, "--batch %d or ", batch);
            break;
        }
    }
    const struct ggml_tensor *w = f->model.layers[0].w[MODULE_Q];
    size_t bits = 8 * ggml_type_size(w->type) / (size_t)ggml_blck_size(w->type);
    buf_addstr(advice, bits > 5 ? "--method qlora" : "a smaller --max-tokens");
    return rc;
}

static int check_memory(struct trainer *t, const struct forecast *f, struct err *e) {
    uint64_t need = 0;
    uint64_t have = device_free_bytes(&t->device);
    int rc = forecast_with(t, f, t->opts->batch, &need, e);
    t->result->forecast_bytes = (double)need;
    if (rc || have == 0 || need <= have) {
        return rc;
    }
    struct buf advice;
    buf_init(&advice);
    rc = advise(t, f, have, &advice, e);
    if (!rc) {
        rc = err_set(e, EE_NOMEM,
                     "training needs %.1f GiB on %s (weights %.1f, adapter %.1f, %d x %d tokens "
                     "%.1f), has %.1f: %s",
                     (double)need / GIB, t->device.name, (double)f->weights_bytes / GIB,
                     (double)f->adapter_bytes / GIB, t->opts->batch, t->rows.longest,
                     (double)(need - f->weights_bytes - f->adapter_bytes) / GIB, (double)have / GIB,
                     advice.data);
    }
    buf_release(&advice);
    return rc;
}

static int forecast_memory(struct trainer *t, struct err *e) {
    struct forecast f = {.model = {.ctx = NULL}};
    int rc = base_model_declare(t->opts->model_path, t->matrices, t->device.compute, &f.model, e);
    if (rc) {
        return rc;
    }
    f.weights_bytes = f.model.weights_bytes;
    f.adapter_bytes = lora_bytes(&f.model.shape, t->opts->rank, t->modules);
    rc = lora_declare(&f.model.shape, t->opts->rank, (float)t->opts->alpha, t->modules, &f.lora, e);
    rc = rc ? rc : check_memory(t, &f, e);
    lora_release(&f.lora);
    base_model_release(&f.model);
    return rc;
}

/* --- Opening --------------------------------------------------------------------------------- */

static int open_model(struct trainer *t, struct err *e) {
    const struct train_opts *o = t->opts;
    int rc = base_model_load(o->model_path, &t->device, t->matrices, &t->model, e);
    rc = rc ? rc
            : lora_init(&t->model.shape, &t->device, o->rank, (float)o->alpha, t->modules,
                        (uint64_t)o->seed, &t->lora, e);
    t->limits = limits_of(t, o->batch);
    rc = rc ? rc : pass_create(&t->device, &t->model, &t->lora, &t->limits, &t->pass, e);
    rc = rc ? rc : optim_create(&t->device, &t->lora, &t->optim, e);
    rc = rc ? rc : batch_memory_create(&t->limits, &t->memory, e);
    if (rc) {
        return rc;
    }
    t->losses = arena_array(&t->arena, (size_t)t->limits.max_tokens, sizeof(float));
    if (t->validation.n_chosen > 0) {
        t->best_params = arena_alloc(&t->arena, ggml_nbytes(t->lora.params));
    }
    return t->arena.failed ? err_set(e, EE_NOMEM, "training: out of memory") : 0;
}

/* Everything the losses depend on. */
static int make_settings(struct trainer *t, struct err *e) {
    uint64_t model_bytes = 0;
    int rc = fs_size(t->opts->model_path, &model_bytes, e);
    t->settings = rc ? NULL : train_settings_json(t->opts);
    if (!rc &&
        (!t->settings || json_object_set_new(t->settings, "rows", json_string(t->rows.hash)) ||
         json_object_set_new(t->settings, "model_bytes", json_integer((json_int_t)model_bytes)))) {
        rc = err_set(e, EE_NOMEM, "training: out of memory");
    }
    return rc;
}

static int make_checkpoint_path(struct trainer *t, struct err *e) {
    struct buf path;
    buf_init(&path);
    if (t->opts->checkpoint_path) {
        buf_addstr(&path, t->opts->checkpoint_path);
    } else {
        buf_addf(&path, "%s.checkpoint", t->opts->out_path);
    }
    t->checkpoint_path = buf_detach(&path);
    return t->checkpoint_path ? 0 : err_set(e, EE_NOMEM, "training: out of memory");
}

/* The adapter is written after hours: a place that cannot take it is found out now. */
static int check_out(const struct trainer *t, struct err *e) {
    char *dir = fs_dirname(t->opts->out_path);
    uint64_t have = 0;
    int rc = dir ? fs_free_bytes(dir, &have, e) : err_set(e, EE_NOMEM, "training: out of memory");
    free(dir);
    return rc;
}

/* The header tells what can be told of a model before its rows are looked at. */
static int check_model(struct trainer *t, struct err *e) {
    struct base_model m;
    int rc = base_model_declare(t->opts->model_path, t->matrices, GGML_TYPE_F32, &m, e);
    if (!rc) {
        rc = lora_check(&m.shape, t->opts->rank, t->modules, e);
        t->base_in_blocks = ggml_is_quantized(m.layers[0].w[MODULE_Q]->type);
        base_model_release(&m);
    }
    return rc;
}

static int resume(struct trainer *t, struct err *e) {
    if (t->opts->resume) {
        return train_state_load(t, e);
    }
    struct err other = ERR_INIT;
    int rc = t->opts->resume_if_fits ? train_state_load(t, &other) : 0;
    /* None, or one of another training: this one starts afresh. */
    return rc == EE_MISSING || rc == EE_USAGE ? 0 : rc ? err_set(e, rc, "%s", other.msg) : 0;
}

int trainer_open(struct trainer *t, const struct train_opts *o, struct train_result *result,
                 struct err *e) {
    *t = (struct trainer){.opts = o, .result = result};
    t->state.first_validation = NAN;
    t->state.best_validation = NAN;
    int64_t begin_ns = clock_mono_ns();
    int rc = train_tell_stage(o, TRAIN_STAGE_LOAD, e);
    rc = rc ? rc : train_settings_check(o, e);
    rc = rc ? rc : parse_names(t, e);
    rc = rc ? rc : make_checkpoint_path(t, e);
    rc = rc ? rc : check_out(t, e);
    rc = rc ? rc : check_model(t, e);
    rc = rc ? rc
            : train_rows_load(o->model_path, o->task, o->data_path, (size_t)o->items, o->max_tokens,
                              o->skip_long, &t->rows, e);
    rc = rc ? rc : split_rows(t, e);
    rc = rc ? rc : count_steps(t, e);
    rc = rc ? rc : make_settings(t, e);
    rc = rc ? rc : device_open(o->device, o->n_threads, o->plain_ops, &t->device, e);
    rc = rc ? rc : device_set_compute(&t->device, o->compute, t->base_in_blocks, e);
    rc = rc ? rc : forecast_memory(t, e);
    rc = rc ? rc : open_model(t, e);
    rc = rc ? rc : resume(t, e);
    t->resumed_tokens = t->state.n_tokens;
    t->result->resumed_from = t->state.step;
    t->phase_ns[TRAIN_LOAD] = clock_mono_ns() - begin_ns;
    return rc;
}

void trainer_close(struct trainer *t) {
    batch_memory_free(t->memory);
    optim_free(t->optim);
    pass_free(t->pass);
    lora_release(&t->lora);
    base_model_release(&t->model);
    device_close(&t->device);
    train_rows_release(&t->rows);
    json_decref(t->settings);
    free(t->state.curve);
    free(t->checkpoint_path);
    arena_release(&t->arena);
}
