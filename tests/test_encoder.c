/* Classifiers and embedding models that the test writes, against transformers. */
#include "engine/encoder.h"

#include "support/goldens.h"
#include "support/gguf_make.h"
#include "support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { POOL_NONE = 0, POOL_MEAN = 1, POOL_CLS = 2, POOL_RANK = 4, MAX_TOKENS = 96 };

static struct gguf_make_encoder modern(void) {
    struct gguf_make_encoder m = gguf_make_roberta;
    m.arch = "modern-bert";
    return m;
}

static struct gguf_make_encoder embedder(int pooling) {
    struct gguf_make_encoder m = gguf_make_roberta;
    m.labels = NULL;
    m.n_outputs = 0;
    m.pooling = pooling;
    return m;
}

static int try_open(struct scratch *dir, const struct gguf_make_encoder *m, enum encoder_use use,
                    bool mean_pooled, struct encoder **out, struct err *e) {
    static int n_files; /* an open model is mapped: its file must stay as it is */
    char name[32];
    snprintf(name, sizeof(name), "encoder-%d.gguf", n_files++);
    const char *path = scratch_path(dir, name);
    gguf_make_encoder_file(path, m);
    const struct encoder_opts o = {
        .model_path = path, .use = use, .n_threads = 1, .mean_pooled = mean_pooled};
    return encoder_open(&o, out, e);
}

static struct encoder *open_encoder(struct scratch *dir, const struct gguf_make_encoder *m,
                                    enum encoder_use use) {
    struct encoder *c = NULL;
    struct err e = ERR_INIT;
    OK(try_open(dir, m, use, true, &c, &e));
    return c;
}

static size_t read_tokens(const json_t *list, int32_t out[MAX_TOKENS]) {
    size_t n = json_array_size(list);
    assert_true(n > 0 && n <= MAX_TOKENS);
    for (size_t i = 0; i < n; i++) {
        out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return n;
}

struct checking {
    struct encoder *bert;
    struct encoder *modern;
    struct encoder *mean;
    struct encoder *cls;
    double worst; /* relative to the spread of the outputs */
};

/* The largest difference, as a share of the largest value. */
static double distance(const float *got, const json_t *want, size_t n) {
    double scale = 0;
    double worst = 0;
    assert_int_equal(json_array_size(want), n);
    for (size_t i = 0; i < n; i++) {
        double w = golden_num(json_array_get(want, i));
        scale = fabs(w) > scale ? fabs(w) : scale;
        worst = fabs(got[i] - w) > worst ? fabs(got[i] - w) : worst;
    }
    return worst / scale;
}

static void note(struct checking *c, double d) {
    assert_true(isfinite(d));
    c->worst = d > c->worst ? d : c->worst;
}

static void check_golden(const json_t *golden, void *ctx) {
    struct checking *c = ctx;
    int32_t a[MAX_TOKENS];
    int32_t b[MAX_TOKENS];
    const float *out = NULL;
    struct err e = ERR_INIT;
    const json_t *logits = json_object_get(golden, "logits");
    if (logits) {
        struct encoder *g = strcmp(golden_str(golden, "arch"), "bert") == 0 ? c->bert : c->modern;
        size_t n_a = read_tokens(json_object_get(golden, "premise"), a);
        size_t n_b = read_tokens(json_object_get(golden, "hypothesis"), b);
        OK(encoder_classify(g, a, n_a, b, n_b, &out, &e));
        note(c, distance(out, logits, encoder_n_labels(g)));
        return;
    }
    size_t n = read_tokens(json_object_get(golden, "tokens"), a);
    OK(encoder_embed(c->mean, a, n, &out, &e));
    note(c, distance(out, json_object_get(golden, "mean"), encoder_n_embd(c->mean)));
    OK(encoder_embed(c->cls, a, n, &out, &e));
    note(c, distance(out, json_object_get(golden, "cls"), encoder_n_embd(c->cls)));
}

static void outputs_are_those_of_transformers(void **state) {
    const struct gguf_make_encoder m = modern();
    const struct gguf_make_encoder mean = embedder(POOL_MEAN);
    const struct gguf_make_encoder cls = embedder(POOL_CLS);
    struct checking c = {.bert = open_encoder(*state, &gguf_make_roberta, ENCODER_CLASSIFY),
                         .modern = open_encoder(*state, &m, ENCODER_CLASSIFY),
                         .mean = open_encoder(*state, &mean, ENCODER_EMBED),
                         .cls = open_encoder(*state, &cls, ENCODER_EMBED)};
    assert_true(goldens_each("quality/encoder.jsonl", check_golden, &c) >= 20);
    if (!(c.worst < 0.003)) {
        fail_msg("an output is %g of the largest away from the reference", c.worst);
    }
    encoder_close(c.bert);
    encoder_close(c.modern);
    encoder_close(c.mean);
    encoder_close(c.cls);
}

static void labels_come_from_the_file(void **state) {
    static const char *const due[] = {"contradiction", "entailment", "neutral"};
    struct encoder *c = open_encoder(*state, &gguf_make_roberta, ENCODER_CLASSIFY);
    assert_int_equal(encoder_n_labels(c), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(encoder_label(c, i), due[i]);
    }
    encoder_close(c);
}

static void texts_have_the_room_that_is_told(void **state) {
    struct encoder *c = open_encoder(*state, &gguf_make_roberta, ENCODER_CLASSIFY);
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    int32_t *tokens = NULL;
    size_t n = 0;
    const float *out = NULL;
    assert_int_equal(encoder_room(c), GGUF_ENCODER_CONTEXT - 4);
    OK(encoder_tokenize(c, "the", 3, &a, &tokens, &n, &e));
    assert_int_equal(n, 2); /* "th", "e"; nothing around them */
    int32_t many[GGUF_ENCODER_CONTEXT] = {0};
    for (size_t i = 0; i < GGUF_ENCODER_CONTEXT; i++) {
        many[i] = 10;
    }
    OK(encoder_classify(c, many, encoder_room(c) - 2, tokens, 2, &out, &e));
    REFUSED_WITH(encoder_classify(c, many, encoder_room(c) - 1, tokens, 2, &out, &e), EE_USAGE,
                 "does not fit the classifier's 92");
    encoder_close(c);
    const struct gguf_make_encoder m = embedder(POOL_MEAN);
    c = open_encoder(*state, &m, ENCODER_EMBED);
    OK(encoder_tokenize(c, "the", 3, &a, &tokens, &n, &e));
    assert_int_equal(n, 4);
    assert_true(tokens[0] == 0 && tokens[3] == 2);
    REFUSED_WITH(encoder_embed(c, many, 97, &out, &e), EE_USAGE, "does not fit the model's 96");
    encoder_close(c);
    arena_release(&a);
}

static void what_would_be_computed_wrongly_is_refused(void **state) {
    struct gguf_make_encoder plain = gguf_make_roberta;
    struct gguf_make_encoder types = gguf_make_roberta;
    struct gguf_make_encoder headless = gguf_make_roberta;
    struct gguf_make_encoder no_dense = gguf_make_roberta;
    struct gguf_make_encoder nameless = gguf_make_roberta;
    plain.tokenizer = "bert";
    types.n_token_types = 2;
    headless.n_outputs = 0;
    no_dense.no_dense = true;
    nameless.labels = NULL;
    const struct {
        const struct gguf_make_encoder *m;
        const char *part;
    } cases[] = {
        {&plain, "is a plain BERT, of which the engine drops the pooler and the token types"},
        {&types, "is a plain BERT, of which the engine drops the pooler and the token types"},
        {&headless, "has no whole classification head"},
        {&no_dense, "has no whole classification head"},
        {&nameless, "names no labels (bert.classifier.output_labels)"},
    };
    struct encoder *c = NULL;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        REFUSED_WITH(try_open(*state, cases[i].m, ENCODER_CLASSIFY, true, &c, &e), EE_UNSUPPORTED,
                     cases[i].part);
        assert_null(c);
    }
    const struct gguf_make_encoder m = modern();
    REFUSED_WITH(try_open(*state, &m, ENCODER_CLASSIFY, false, &c, &e), EE_UNSUPPORTED,
                 "say pooling: mean");
    const struct gguf_make_encoder none = embedder(-1);
    REFUSED_WITH(try_open(*state, &none, ENCODER_EMBED, false, &c, &e), EE_UNSUPPORTED,
                 "names no way to pool tokens");
    const struct gguf_make_encoder rank = embedder(POOL_RANK);
    REFUSED_WITH(try_open(*state, &rank, ENCODER_EMBED, false, &c, &e), EE_UNSUPPORTED,
                 "is that of a classifier");
    gguf_make_file(scratch_path(*state, "llama.gguf"), &gguf_make_default);
    const struct encoder_opts o = {.model_path = scratch_path(*state, "llama.gguf")};
    REFUSED_WITH(encoder_open(&o, &c, &e), EE_UNSUPPORTED, "(llama) is no classifier");
    const struct encoder_opts gone = {.model_path = scratch_path(*state, "gone.gguf")};
    REFUSED_WITH(encoder_open(&gone, &c, &e), EE_MISSING, "gone.gguf");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_those_of_transformers),
        cmocka_unit_test(labels_come_from_the_file),
        cmocka_unit_test(texts_have_the_room_that_is_told),
        cmocka_unit_test(what_would_be_computed_wrongly_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
