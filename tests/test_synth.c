/* Shapes, and checkpoints with random weights made from them. */
#include "engine/synth.h"

#include "support/gguf_make.h"
#include "support/scratch.h"

#include "base/buf.h"
#include "base/fs.h"
#include "engine/gguf_info.h"
#include "engine/synth_plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char one_shape[] =
    "chat_templates: {chatml: '<|im_start|>'}\n"
    "shapes:\n"
    "  - {id: tiny, family: Qwen2.5, size: 1M, architecture: qwen2, tokenizer: x, chat: chatml, layers: 3,\n"
    "     embd: 256, ff: 288, heads: 4, kv_heads: 2, head_dim: 64, vocab: 300, context: 512, tied: %s,\n"
    "     rms_eps: 1.0e-6, rope_base: 10000%s}\n";

/* The shape above; its strings lie in *a. */
static struct known_shape tiny(void **state, struct arena *a, const char *tied, const char *more) {
    struct err e = ERR_INIT;
    struct buf text;
    buf_init(&text);
    buf_addf(&text, one_shape, tied, more);
    const char *path = scratch_write(*state, "shapes.yaml", text.data, text.len);
    struct known_shape *shapes = NULL;
    size_t n = 0;
    OK(shapes_load(path, a, &shapes, &n, &e));
    buf_release(&text);
    assert_int_equal(n, 1);
    return shapes[0];
}

static void known_shapes_have_the_published_number_of_weights(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct known_shape *shapes = NULL;
    size_t n = 0;
    const char *data = getenv("EDGE_EVAL_DATA");
    assert_non_null(data);
    char *path = fs_join(data, "shapes.yaml");
    OK(shapes_load(path, &a, &shapes, &n, &e));
    assert_true(n >= 10);
    for (size_t i = 0; i < n; i++) {
        assert_true(shapes[i].params > 0);
        assert_int_equal(shape_params(&shapes[i]), shapes[i].params);
        assert_ptr_equal(shapes_find(shapes, n, shapes[i].id), &shapes[i]);
    }
    assert_null(shapes_find(shapes, n, "nothing"));
    free(path);
    arena_release(&a);
}

static void a_wrong_shape_is_refused_by_place(void **state) {
    static const struct {
        const char *yaml, *part;
    } wrong[] = {
        {"shapes: 3\n", "\"shapes\" should be a list"},
        {"chat_templates: {}\nshapes:\n  - {id: a}\n", ":3:5: a shape needs \"family\""},
        {"chat_templates: {}\nshapes:\n  - {id: a, colour: red}\n", "colour"},
        {"chat_templates: {}\nshapes:\n"
         "  - {id: a, family: F, size: S, architecture: mamba, tokenizer: t, chat: c, layers: 1, embd: 32,\n"
         "     ff: 32, heads: 1, kv_heads: 1, head_dim: 32, vocab: 9, context: 9, tied: true, rms_eps: 1,\n"
         "     rope_base: 1}\n",
         "llama, qwen2"},
        {"chat_templates: {}\nshapes:\n"
         "  - {id: a, family: F, size: S, architecture: llama, tokenizer: t, chat: c, layers: 1, embd: 32,\n"
         "     ff: 32, heads: 1, kv_heads: 1, head_dim: 32, vocab: 9, context: 9, tied: true, rms_eps: 1,\n"
         "     rope_base: 1}\n",
         "chat_templates has no \"c\""},
        {"chat_templates: {c: x}\nshapes:\n"
         "  - {id: a, family: F, size: S, architecture: llama, tokenizer: t, chat: c, layers: 1, embd: 32,\n"
         "     ff: 32, heads: 3, kv_heads: 2, head_dim: 32, vocab: 9, context: 9, tied: true, rms_eps: 1,\n"
         "     rope_base: 1}\n",
         "heads (3) must be a multiple of kv_heads (2)"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct err e = ERR_INIT;
        struct arena a = ARENA_INIT;
        struct known_shape *shapes = NULL;
        size_t n = 0;
        const char *path = scratch_write(*state, "wrong.yaml", wrong[i].yaml,
                                         strlen(wrong[i].yaml));
        REFUSED_WITH(shapes_load(path, &a, &shapes, &n, &e), EE_FORMAT, wrong[i].part);
        arena_release(&a);
    }
}

static void read_file(const char *path, struct buf *out) {
    struct err e = ERR_INIT;
    buf_init(out);
    OK(fs_read(path, out, &e));
}

static void a_shape_becomes_a_whole_file_of_any_type(void **state) {
    static const char *const types[] = {"F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "IQ4_NL"};
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    const struct known_shape shape = tiny(state, &a, "true", "");
    const char *vocab = scratch_path(*state, "vocab.gguf");
    gguf_make_file(vocab, &gguf_make_default);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const char *out = scratch_path(*state, types[i]);
        const struct synth_opts opts = {
            .shape = &shape, .vocab_path = vocab, .out_path = out, .type = types[i], .seed = 7};
        OK(synth_write(&opts, &e));
        struct gguf_info info;
        OK(gguf_info_read(out, &info, NULL, &e));
        assert_int_equal(info.n_params, shape_params(&shape));
        assert_true(info.is_synthetic);
        assert_true(info.has_tokenizer);
        assert_true(info.has_chat_template);
        assert_int_equal(info.n_layers, 3);
        assert_int_equal(info.head_dim_k, 64);
        assert_string_equal(info.arch, "qwen2");
        OK(gguf_info_check_answers(&info, out, &e));
    }
    /* Beside the shapes, the vocabulary and one file a type nothing is left. */
    assert_int_equal(scratch_count(((struct scratch *)*state)->dir), 2 + 6);
    arena_release(&a);
}

static void equal_seeds_give_equal_files(void **state) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    const struct known_shape shape = tiny(state, &a, "false", ", rope_factor: 8");
    const char *vocab = scratch_path(*state, "vocab.gguf");
    gguf_make_file(vocab, &gguf_make_default);
    struct buf made[3];
    static const uint64_t seeds[] = {1, 1, 2};
    for (size_t i = 0; i < 3; i++) {
        const char *out = scratch_path(*state, "made.gguf");
        const struct synth_opts opts = {.shape = &shape,
                                        .vocab_path = vocab,
                                        .out_path = out,
                                        .type = "Q8_0",
                                        .seed = seeds[i]};
        OK(synth_write(&opts, &e));
        read_file(out, &made[i]);
    }
    assert_int_equal(made[0].len, made[1].len);
    assert_memory_equal(made[0].data, made[1].data, made[0].len);
    assert_int_equal(made[0].len, made[2].len);
    assert_true(memcmp(made[0].data, made[2].data, made[0].len) != 0);
    for (size_t i = 0; i < 3; i++) {
        buf_release(&made[i]);
    }
    arena_release(&a);
}

/* Mean and standard deviation of a tensor of the file, read through ggml. */
static void moments(const char *path, const char *name, double *mean, double *sd) {
    struct ggml_context *ctx = NULL;
    struct gguf_context *g = gguf_init_from_file(
        path, (struct gguf_init_params){.no_alloc = false, .ctx = &ctx});
    assert_non_null(g);
    struct ggml_tensor *t = ggml_get_tensor(ctx, name);
    assert_non_null(t);
    const int64_t n = ggml_nelements(t);
    float *x = malloc((size_t)n * sizeof(*x));
    assert_non_null(x);
    if (t->type == GGML_TYPE_F32) {
        memcpy(x, t->data, (size_t)n * sizeof(*x));
    } else {
        ggml_get_type_traits(t->type)->to_float(t->data, x, n);
    }
    double sum = 0;
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    *mean = sum / (double)n;
    *sd = sqrt(squares / (double)n - *mean * *mean);
    free(x);
    gguf_free(g);
    ggml_free(ctx);
}

static void weights_have_a_realistic_scale(void **state) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    const struct known_shape shape = tiny(state, &a, "false", ", rope_factor: 8");
    const char *vocab = scratch_path(*state, "vocab.gguf");
    gguf_make_file(vocab, &gguf_make_default);
    const char *out = scratch_path(*state, "made.gguf");
    const struct synth_opts opts = {
        .shape = &shape, .vocab_path = vocab, .out_path = out, .type = "Q8_0", .seed = 3};
    OK(synth_write(&opts, &e));
    double mean;
    double sd;
    moments(out, "blk.1.ffn_up.weight", &mean, &sd);
    assert_true(fabs(mean) < 5e-4 && fabs(sd - 0.02) < 5e-4);
    moments(out, "output_norm.weight", &mean, &sd);
    assert_true(fabs(mean - 1) < 0.02 && fabs(sd - 0.05) < 0.01);
    moments(out, "blk.2.attn_q.bias", &mean, &sd);
    assert_true(fabs(mean) < 0.05 && fabs(sd - 0.1) < 0.02);
    moments(out, "rope_freqs.weight", &mean, &sd);
    assert_true(mean > 1 && mean < 8);
    arena_release(&a);
}

static void a_twin_of_a_file_has_its_tensors_and_types(void **state) {
    struct err e = ERR_INIT;
    const char *real = scratch_path(*state, "real.gguf");
    const char *out = scratch_path(*state, "twin.gguf");
    struct gguf_make m = gguf_make_default;
    m.type = GGML_TYPE_Q4_1;
    gguf_make_file(real, &m);
    const struct synth_opts opts = {.like_path = real, .out_path = out, .seed = 1};
    OK(synth_write(&opts, &e));
    struct gguf_info a;
    struct gguf_info b;
    json_t *a_types = NULL;
    json_t *b_types = NULL;
    OK(gguf_info_read(real, &a, &a_types, &e));
    OK(gguf_info_read(out, &b, &b_types, &e));
    assert_true(json_equal(a_types, b_types));
    assert_int_equal(a.n_params, b.n_params);
    assert_int_equal(a.tensor_bytes, b.tensor_bytes);
    assert_false(a.is_synthetic);
    assert_true(b.is_synthetic);
    json_decref(a_types);
    json_decref(b_types);
}

static void what_cannot_be_made_is_refused(void **state) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    const struct known_shape shape = tiny(state, &a, "true", "");
    struct known_shape small = shape;
    small.n_vocab = 100;
    const char *vocab = scratch_path(*state, "vocab.gguf");
    const char *out = scratch_path(*state, "out.gguf");
    gguf_make_file(vocab, &gguf_make_default);
    struct synth_opts opts = {.shape = &small, .vocab_path = vocab, .out_path = out};
    REFUSED_WITH(synth_write(&opts, &e), EE_UNSUPPORTED, "has room for 100");
    opts.shape = &shape;
    opts.vocab_path = scratch_write(*state, "junk.gguf", "junk", 4);
    REFUSED_WITH(synth_write(&opts, &e), EE_FORMAT, "not a GGUF file");
    opts.vocab_path = vocab;
    opts.out_path = scratch_path(*state, "no/such/place.gguf");
    assert_int_not_equal(synth_write(&opts, &e), 0);
    opts.out_path = out;
    const volatile sig_atomic_t stop = 1;
    opts.stop = &stop;
    REFUSED_WITH(synth_write(&opts, &e), EE_STOPPED, "nothing was left");
    assert_false(fs_exists(out));
    assert_int_equal(scratch_count(((struct scratch *)*state)->dir), 3);
    arena_release(&a);
}

static void a_full_disk_leaves_nothing(void **state) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    const struct known_shape shape = tiny(state, &a, "true", "");
    const char *vocab = scratch_path(*state, "vocab.gguf");
    gguf_make_file(vocab, &gguf_make_default);
    const char *disk = scratch_small_disk(*state, 1024 * 1024);
    if (!disk) {
        arena_release(&a);
        skip();
    }
    char out[256];
    snprintf(out, sizeof(out), "%s/out.gguf", disk);
    const struct synth_opts opts = {.shape = &shape, .vocab_path = vocab, .out_path = out};
    REFUSED_WITH(synth_write(&opts, &e), EE_NOSPACE, "GB are free");
    assert_int_equal(scratch_count(disk), 0);
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_shapes_have_the_published_number_of_weights),
        cmocka_unit_test_setup_teardown(a_wrong_shape_is_refused_by_place, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_shape_becomes_a_whole_file_of_any_type, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(equal_seeds_give_equal_files, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(weights_have_a_realistic_scale, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_twin_of_a_file_has_its_tensors_and_types, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_made_is_refused, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_nothing, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
