/*
 * The worker that judges entailment, by a classifier (an encoder with a head) or by a causal model
 * that is asked in words: the file's architecture decides.
 */
#include "base/fs.h"
#include "base/json.h"
#include "engine/continuation.h"
#include "engine/encoder.h"
#include "engine/gguf_info.h"
#include "lifecycle/engine_args.h"
#include "lifecycle/score_job.h"
#include "quality/entail.h"

#include <math.h>
#include <string.h>

enum { MAX_LABELS = 16, MIN_PREMISE = 32, BATCH = 512, MAX_CONTEXT = 4096 };

struct entailing {
    struct score_job job;
    const char *path;
    const char *scorer; /* whose values these are */
    struct encoder *classifier;
    struct engine *engine; /* the causal model, where there is no classifier */
    size_t context;        /* of the causal model */
    struct entail_labels labels;
    struct continuation words[ENTAIL_WORDS];
    struct arena arena; /* of what lives as long as the job */
    size_t n_decided;   /* answers that needed no model */
    size_t n_asked;
    size_t n_windows; /* pairs that a model was shown */
    size_t n_controls_right;
};

/* ---- a classifier ---- */

static int open_classifier(struct entailing *s, const json_t *args, struct err *e) {
    struct engine_opts engine = {0};
    engine_args_read(json_object_get(args, "engine"), &engine);
    const struct encoder_opts opts = {
        .model_path = s->path,
        .use = ENCODER_CLASSIFY,
        .n_threads = engine.n_threads,
        .n_gpu_layers = engine.n_gpu_layers,
        .mean_pooled = json_is_true(json_object_get(args, "mean_pooled"))};
    int rc = encoder_open(&opts, &s->classifier, e);
    if (rc) {
        return rc;
    }
    const char *names[MAX_LABELS];
    size_t n = encoder_n_labels(s->classifier);
    n = n < MAX_LABELS ? n : MAX_LABELS;
    for (size_t i = 0; i < n; i++) {
        names[i] = encoder_label(s->classifier, i);
    }
    entail_find_labels(names, n, &s->labels);
    return 0;
}

/* *fits is false where the hypothesis leaves the premise no room. */
static int ask_classifier(struct entailing *s, const char *premise, const char *hypothesis,
                          struct entail_view *all, bool *fits, struct err *e) {
    struct arena a = ARENA_INIT;
    int32_t *p = NULL;
    int32_t *h = NULL;
    size_t n_p = 0;
    size_t n_h = 0;
    int rc = encoder_tokenize(s->classifier, premise, strlen(premise), &a, &p, &n_p, e);
    rc = rc ? rc : encoder_tokenize(s->classifier, hypothesis, strlen(hypothesis), &a, &h, &n_h, e);
    size_t room = encoder_room(s->classifier);
    *fits = n_h + MIN_PREMISE <= room;
    room -= *fits ? n_h : room;
    for (size_t i = 0; *fits && !rc && i < entail_n_windows(n_p, room); i++) {
        const struct entail_window w = entail_window_at(n_p, room, i);
        const float *logits = NULL;
        rc = encoder_classify(s->classifier, p + w.begin, w.n, h, n_h, &logits, e);
        if (!rc) {
            const struct entail_view v = entail_view_of(logits, encoder_n_labels(s->classifier),
                                                        &s->labels);
            entail_join(all, &v);
            s->n_windows++;
        }
    }
    arena_release(&a);
    return rc;
}

/* ---- a causal model ---- */

static int open_causal(struct entailing *s, const json_t *args, const struct gguf_info *info,
                       struct err *e) {
    s->context = gguf_info_context(info, MAX_CONTEXT);
    int rc = score_job_engine(args, s->path, s->context, BATCH, &s->engine, e);
    for (size_t i = 0; i < ENTAIL_WORDS && !rc; i++) {
        int32_t *tokens = NULL;
        rc = engine_tokenize_text(s->engine, entail_words[i], strlen(entail_words[i]), false,
                                  &s->arena, &tokens, &s->words[i].n, e);
        s->words[i].tokens = tokens;
    }
    s->labels = (struct entail_labels){.entailment = 0, .contradiction = 1};
    return rc;
}

static bool fits_context(const struct entailing *s, size_t n_prompt) {
    for (size_t i = 0; i < ENTAIL_WORDS; i++) {
        if (n_prompt + s->words[i].n > s->context) {
            return false;
        }
    }
    return true;
}

/* *fits is false where the question is longer than the model reads. */
static int ask_causal(struct entailing *s, const char *premise, const char *hypothesis,
                      struct entail_view *all, bool *fits, struct err *e) {
    struct arena a = ARENA_INIT;
    struct buf user;
    int32_t *prompt = NULL;
    size_t n = 0;
    buf_init(&user);
    entail_prompt(premise, hypothesis, &user);
    int rc = buf_check(&user, "a question", e);
    const struct engine_message chat[] = {{"system", entail_system}, {"user", user.data}};
    rc = rc ? rc : engine_tokenize_chat(s->engine, chat, 2, &a, &prompt, &n, e);
    *fits = !rc && fits_context(s, n);
    if (*fits) {
        rc = continuation_score(s->engine, prompt, n, s->words, ENTAIL_WORDS, e);
    }
    if (*fits && !rc) {
        float log_p[ENTAIL_WORDS];
        for (size_t i = 0; i < ENTAIL_WORDS; i++) {
            log_p[i] = (float)s->words[i].log_p;
        }
        *all = entail_view_of(log_p, ENTAIL_WORDS, &s->labels);
        s->n_windows++;
    }
    buf_release(&user);
    arena_release(&a);
    return rc;
}

/* ---- the answers ---- */

static int ask(struct entailing *s, const char *premise, const char *hypothesis,
               struct entail_view *all, bool *fits, struct err *e) {
    return s->classifier ? ask_classifier(s, premise, hypothesis, all, fits, e)
                         : ask_causal(s, premise, hypothesis, all, fits, e);
}

static int try_controls(struct entailing *s, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < n_entail_controls && !rc; i++) {
        struct entail_view v = {0, 0};
        bool fits = false;
        rc = ask(s, entail_controls[i].premise, entail_controls[i].hypothesis, &v, &fits, e);
        s->n_controls_right += !rc && fits && entail_control_is_right(i, &s->labels, &v);
    }
    s->n_windows = 0;
    return rc;
}

static int judge(void *ctx, size_t i, struct err *e) {
    struct entailing *s = ctx;
    const struct task_item *item = NULL;
    const char *text = NULL;
    struct buf hypothesis;
    bool decided = false;
    bool fits = true;
    double value = 0;
    buf_init(&hypothesis);
    int rc = score_job_answer(&s->job, i, &item, &text, e);
    rc = rc ? rc : entail_ask(item, text, &hypothesis, &decided, &value, e);
    if (!rc && !decided) {
        struct entail_view view = {0, 0};
        rc = ask(s, item->source, hypothesis.data, &view, &fits, e);
        value = entail_value(item->kind, &view);
        s->n_asked++;
    }
    s->n_decided += decided;
    if (!rc && !fits) {
        score_job_fail(&s->job, "too_long");
    } else if (!rc) {
        rc = score_job_value(&s->job, i, s->scorer, value, e);
    }
    buf_release(&hypothesis);
    return rc;
}

static int open_model(struct entailing *s, const json_t *args, struct err *e) {
    struct gguf_info info;
    int rc = json_want_str(args, "model", &s->path, e);
    rc = rc ? rc : gguf_info_read_model(s->path, &info, e);
    if (!rc) {
        rc = info.is_causal ? open_causal(s, args, &info, e) : open_classifier(s, args, e);
    }
    return rc ? rc : entail_check_labels(&s->labels, s->job.set.kind, s->path, e);
}

int entail_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct entailing s = {.arena = ARENA_INIT};
    int rc = score_job_open(&s.job, w, args, e);
    if (rc) {
        return rc;
    }
    s.scorer = s.job.set.kind == TASK_SUMM ? "non_contradiction" : "entailment";
    rc = open_model(&s, args, e);
    rc = rc ? rc : try_controls(&s, e);
    rc = rc ? rc : score_job_each(&s.job, judge, &s, e);
    if (!rc) {
        *result = json_pack(
            "{s:s, s:s, s:{s:I, s:I}, s:I, s:I, s:I, s:O}", "name", fs_basename(s.path), "read_as",
            s.classifier ? "classifier" : "causal model", "controls", "right",
            (json_int_t)s.n_controls_right, "of", (json_int_t)n_entail_controls, "decided_without",
            (json_int_t)s.n_decided, "asked", (json_int_t)s.n_asked, "windows",
            (json_int_t)s.n_windows, "failed", s.job.failed);
    }
    encoder_close(s.classifier);
    engine_close(s.engine);
    arena_release(&s.arena);
    score_job_close(&s.job);
    return rc;
}
