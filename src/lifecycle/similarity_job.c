/*
 * The worker that finds how near answers are to their references, by an embedding model. Of several
 * references the nearest counts.
 */
#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/encoder.h"
#include "lifecycle/engine_args.h"
#include "lifecycle/score_job.h"
#include "quality/similarity.h"
#include "quality/text.h"

#include <math.h>
#include <string.h>

enum { MAX_TOKENS = 2048 };

struct comparing {
    struct score_job job;
    struct encoder *model;
    const char *path;
    const char *prefix; /* that the model wants before every text; "" */
    struct arena arena;
    const float ***golds; /* vectors by item and gold; NULL: not yet computed, or too long */
    size_t n_controls_right;
};

/* A text's vector in the arena; NULL where the text is longer than the model reads. */
static int embed(struct comparing *s, const char *text, struct arena *a, const float **out,
                 struct err *e) {
    struct buf whole;
    struct arena scratch = ARENA_INIT;
    int32_t *tokens = NULL;
    size_t n = 0;
    const float *vector = NULL;
    const size_t size = encoder_n_embd(s->model) * sizeof(*vector);
    *out = NULL;
    buf_init(&whole);
    buf_addf(&whole, "%s%s", s->prefix, text);
    int rc = buf_check(&whole, "a text", e);
    rc = rc ? rc : encoder_tokenize(s->model, whole.data, whole.len, &scratch, &tokens, &n, e);
    if (!rc && n <= encoder_room(s->model)) {
        rc = encoder_embed(s->model, tokens, n, &vector, e);
        float *copy = rc ? NULL : arena_alloc(a, size);
        if (copy) {
            memcpy(copy, vector, size);
            *out = copy;
        } else if (!rc) {
            rc = err_set(e, EE_NOMEM, "similarity: out of memory");
        }
    }
    arena_release(&scratch);
    buf_release(&whole);
    return rc;
}

static int try_controls(struct comparing *s, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < n_similarity_controls && !rc; i++) {
        const struct similarity_control *c = &similarity_controls[i];
        const char *const texts[] = {c->text, c->like, c->unlike};
        const float *v[] = {NULL, NULL, NULL};
        struct arena a = ARENA_INIT;
        for (size_t k = 0; k < 3 && !rc; k++) {
            rc = embed(s, texts[k], &a, &v[k], e);
        }
        if (!rc && v[0] && v[1] && v[2]) {
            const size_t n = encoder_n_embd(s->model);
            s->n_controls_right += similarity_cosine(v[0], v[1], n) >
                                   similarity_cosine(v[0], v[2], n);
        }
        arena_release(&a);
    }
    return rc;
}

/* The vectors of an item's references; kept, because every pass needs them. */
static int gold_vectors(struct comparing *s, const struct task_item *item, const float ***out,
                        struct err *e) {
    const float ***known = &s->golds[item - s->job.set.items];
    int rc = 0;
    if (!*known) {
        const float **v = arena_array(&s->arena, item->n_golds, sizeof(*v));
        rc = v ? 0 : err_set(e, EE_NOMEM, "similarity: out of memory");
        for (size_t i = 0; i < item->n_golds && !rc; i++) {
            rc = embed(s, item->golds[i], &s->arena, &v[i], e);
        }
        *known = v;
    }
    *out = *known;
    return rc;
}

static int compare(void *ctx, size_t i, struct err *e) {
    struct comparing *s = ctx;
    const struct task_item *item = NULL;
    const char *text = NULL;
    const float *answer = NULL;
    const float **golds = NULL;
    double best = NAN;
    struct arena a = ARENA_INIT;
    int rc = score_job_answer(&s->job, i, &item, &text, e);
    if (!rc && text_is_blank(text)) {
        score_job_fail(&s->job, "empty"); /* the vector of no text means nothing */
        return 0;
    }
    rc = rc ? rc : gold_vectors(s, item, &golds, e);
    rc = rc ? rc : embed(s, text, &a, &answer, e);
    for (size_t k = 0; !rc && answer && k < item->n_golds; k++) {
        double c = golds[k] ? similarity_cosine(answer, golds[k], encoder_n_embd(s->model)) : NAN;
        best = isnan(best) || c > best ? c : best;
    }
    if (!rc && answer && golds[0]) {
        rc = score_job_value(&s->job, i, "similarity", best, e);
    } else if (!rc) {
        score_job_fail(&s->job, "too_long");
    }
    arena_release(&a);
    return rc;
}

static int open_model(struct comparing *s, const json_t *args, struct err *e) {
    struct engine_opts engine = {0};
    engine_args_read(json_object_get(args, "engine"), &engine);
    s->prefix = json_str_or(args, "prefix", "");
    int rc = json_want_str(args, "model", &s->path, e);
    const struct encoder_opts opts = {.model_path = s->path,
                                      .use = ENCODER_EMBED,
                                      .n_threads = engine.n_threads,
                                      .n_gpu_layers = engine.n_gpu_layers,
                                      .max_tokens = MAX_TOKENS};
    return rc ? rc : encoder_open(&opts, &s->model, e);
}

int similarity_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct comparing s = {.arena = ARENA_INIT};
    int rc = score_job_open(&s.job, w, args, e);
    if (rc) {
        return rc;
    }
    s.golds = arena_array(&s.arena, s.job.set.n_items, sizeof(*s.golds));
    rc = s.golds ? open_model(&s, args, e) : err_set(e, EE_NOMEM, "similarity: out of memory");
    rc = rc ? rc : try_controls(&s, e);
    rc = rc ? rc : score_job_each(&s.job, compare, &s, e);
    if (!rc) {
        *result = json_pack("{s:s, s:{s:I, s:I}, s:O}", "name", fs_basename(s.path), "controls",
                            "right", (json_int_t)s.n_controls_right, "of",
                            (json_int_t)n_similarity_controls, "failed", s.job.failed);
    }
    encoder_close(s.model);
    arena_release(&s.arena);
    score_job_close(&s.job);
    return rc;
}
