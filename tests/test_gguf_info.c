/* What is read from a GGUF header, on files made for it: whole, cut off at every place, and odd. */
#include "engine/gguf_info.h"

#include "support/gguf_make.h"
#include "support/scratch.h"

#include "base/buf.h"
#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

static const char *make(void **state, const struct gguf_make *m) {
    const char *path = scratch_path(*state, "made.gguf");
    gguf_make_file(path, m);
    return path;
}

static void a_header_is_read_whole(void **state) {
    struct err e = ERR_INIT;
    struct gguf_info info;
    json_t *types = NULL;
    const char *path = make(state, &gguf_make_default);
    uint64_t bytes = 0;
    OK(fs_size(path, &bytes, &e));
    OK(gguf_info_read(path, &info, &types, &e));
    assert_string_equal(info.arch, "llama");
    assert_string_equal(info.name, "made for a test");
    assert_string_equal(info.file_type, "F16");
    const int64_t matrices = 261 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 96);
    const int64_t vectors = 64 + 2 * 2 * 64;
    assert_int_equal(info.n_params, matrices + vectors);
    assert_int_equal(info.tensor_bytes, 2 * matrices + 4 * vectors);
    assert_int_equal(info.file_bytes, bytes);
    assert_int_equal(info.n_layers, 2);
    assert_int_equal(info.n_embd, 64);
    assert_int_equal(info.n_head, 2);
    assert_int_equal(info.n_head_kv, 2);
    assert_int_equal(info.head_dim_k, 32);
    assert_int_equal(info.head_dim_v, 32);
    assert_int_equal(info.n_ctx_train, 2048);
    assert_true(info.has_tokenizer);
    assert_true(info.has_chat_template);
    assert_true(info.is_causal);
    assert_false(info.rows_fit_k_quants);
    /* Keys and values of 2 heads of 32 in 2 layers, 2 bytes each. */
    assert_int_equal(gguf_info_kv_token_bytes(&info), 2 * 2 * (32 + 32) * 2);
    assert_int_equal(json_object_size(types), 2);
    assert_int_equal(json_integer_value(json_object_get(types, "f16")), 1 + 2 * 7);
    assert_int_equal(json_integer_value(json_object_get(types, "f32")), 1 + 2 * 2);
    json_decref(types);
    OK(gguf_info_check_answers(&info, path, &e));
}

static void the_type_of_a_file_is_that_of_most_matrices(void **state) {
    static const struct {
        enum ggml_type type;
        const char *file_type;
    } rows[] = {{GGML_TYPE_F16, "F16"},
                {GGML_TYPE_BF16, "BF16"},
                {GGML_TYPE_F32, "F32"},
                {GGML_TYPE_Q8_0, "Q8_0"},
                {GGML_TYPE_Q4_1, "Q4_1"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct gguf_info info;
        struct gguf_make m = gguf_make_default;
        m.type = rows[i].type;
        OK(gguf_info_read(make(state, &m), &info, NULL, &e));
        assert_string_equal(info.file_type, rows[i].file_type);
    }
}

static void k_quants_need_every_row_to_be_a_multiple_of_256(void **state) {
    static const struct {
        int n_embd, n_ff;
        bool fit;
    } rows[] = {
        {256, 256, true}, {256, 512, true}, {256, 96, false}, {64, 256, false}, {576, 1536, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct gguf_info info;
        struct gguf_make m = gguf_make_default;
        m.n_layers = 1;
        m.n_embd = rows[i].n_embd;
        m.n_ff = rows[i].n_ff;
        OK(gguf_info_read(make(state, &m), &info, NULL, &e));
        assert_int_equal(info.rows_fit_k_quants, rows[i].fit);
    }
}

static void heads_that_differ_by_layer_count_as_the_most(void **state) {
    struct err e = ERR_INIT;
    struct gguf_info info;
    struct gguf_make m = gguf_make_default;
    m.n_layers = 3;
    m.per_layer_heads = true;
    OK(gguf_info_read(make(state, &m), &info, NULL, &e));
    assert_int_equal(info.n_head_kv, 3);
    assert_int_equal(gguf_info_kv_token_bytes(&info), 3 * 3 * (32 + 32) * 2);
}

/* The embedding is only looked up in, unless it is the output's matrix too: then a device has it. */
static void an_embedding_of_its_own_stays_on_the_host(void **state) {
    struct err e = ERR_INIT;
    struct gguf_info info;
    struct gguf_make m = gguf_make_default;
    OK(gguf_info_read(make(state, &m), &info, NULL, &e));
    assert_int_equal(info.host_bytes, 0);
    m.untied = true;
    OK(gguf_info_read(make(state, &m), &info, NULL, &e));
    assert_int_equal(info.host_bytes, 2 * 261 * 64);
}

static void what_cannot_answer_is_told_apart(void **state) {
    struct gguf_make no_tokenizer = gguf_make_default;
    struct gguf_make no_weights = gguf_make_default;
    struct gguf_make encoder = gguf_make_default;
    no_tokenizer.no_tokenizer = true;
    no_weights.no_weights = true;
    encoder.encoder = true;
    const struct {
        const struct gguf_make *m;
        const char *msg;
    } rows[] = {
        {&no_tokenizer, "has no tokenizer: convert the model with its vocabulary"},
        {&no_weights, "holds a vocabulary and no weights"},
        {&encoder, "does not generate text (an encoder, llama); use a model that does"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct gguf_info info;
        struct buf msg;
        const char *path = make(state, rows[i].m);
        OK(gguf_info_read(path, &info, NULL, &e));
        buf_init(&msg);
        buf_addf(&msg, "%s %s", path, rows[i].msg);
        REFUSED(gguf_info_check_answers(&info, path, &e), EE_UNSUPPORTED, msg.data);
        buf_release(&msg);
    }
}

static void a_file_without_an_architecture_is_no_model(void **state) {
    struct err e = ERR_INIT;
    struct gguf_info info;
    struct gguf_make m = gguf_make_default;
    json_t *types = NULL;
    m.arch = NULL;
    REFUSED_WITH(gguf_info_read(make(state, &m), &info, &types, &e), EE_FORMAT,
                 "made.gguf names no model architecture: it is not a model");
    assert_null(types);
}

/* Wherever a copy broke off: in the header the file is no GGUF, in the data it is cut off. */
static void a_file_cut_anywhere_is_refused(void **state) {
    struct err e = ERR_INIT;
    struct gguf_info info;
    struct buf whole;
    buf_init(&whole);
    OK(fs_read(make(state, &gguf_make_default), &whole, &e));
    OK(gguf_info_read(scratch_path(*state, "made.gguf"), &info, NULL, &e));
    const size_t data_begin = whole.len - (size_t)info.tensor_bytes;
    const size_t step = 997;
    for (size_t len = 0; len < whole.len; len += len < data_begin ? step : 13 * step) {
        json_t *types = NULL;
        const char *path = scratch_write(*state, "cut.gguf", whole.data, len);
        REFUSED_WITH(gguf_info_read(path, &info, &types, &e), EE_FORMAT,
                     len < data_begin ? "is not a GGUF file this build can read (wrong magic or "
                                        "version, or the header is cut off)"
                                      : "; fetch or copy it again");
        assert_null(types);
    }
    const char *path = scratch_write(*state, "cut.gguf", whole.data, whole.len - 1);
    REFUSED_WITH(gguf_info_read(path, &info, NULL, &e), EE_FORMAT,
                 "cut.gguf is cut off: tensor blk.1.ffn_down.weight should end at byte ");
    buf_release(&whole);
}

static void other_files_are_refused(void **state) {
    struct err e = ERR_INIT;
    struct gguf_info info;
    struct buf whole;
    buf_init(&whole);
    REFUSED_WITH(gguf_info_read(scratch_path(*state, "none.gguf"), &info, NULL, &e), EE_MISSING,
                 "none.gguf: No such file or directory");
    REFUSED_WITH(
        gguf_info_read(scratch_write(*state, "text.gguf", "hello, world", 12), &info, NULL, &e),
        EE_FORMAT, "text.gguf is not a GGUF file this build can read");
    OK(fs_read(make(state, &gguf_make_default), &whole, &e));
    whole.data[4] = 99; /* the version */
    REFUSED_WITH(
        gguf_info_read(scratch_write(*state, "new.gguf", whole.data, whole.len), &info, NULL, &e),
        EE_FORMAT, "new.gguf is not a GGUF file this build can read");
    buf_release(&whole);
}

/* Damage inside a header must be refused or read, never more: sizes there are not to be trusted. */
static void a_damaged_header_does_no_harm(void **state) {
    struct err e = ERR_INIT;
    struct gguf_info info;
    struct buf whole;
    buf_init(&whole);
    OK(fs_read(make(state, &gguf_make_default), &whole, &e));
    size_t n_refused = 0;
    size_t n_tried = 0;
    for (size_t at = 8; at < 700; at += 3) {
        char kept = whole.data[at];
        whole.data[at] = (char)0xff;
        const char *path = scratch_write(*state, "odd.gguf", whole.data, whole.len);
        int rc = gguf_info_read(path, &info, NULL, &e);
        assert_true(rc == 0 || rc == EE_FORMAT);
        n_refused += rc != 0;
        n_tried++;
        whole.data[at] = kept;
    }
    assert_true(n_refused > 0 && n_refused < n_tried);
    buf_release(&whole);
}

static void say_nothing(enum ggml_log_level level, const char *text, void *ctx) {
    (void)level;
    (void)text;
    (void)ctx;
}

int main(void) {
    ggml_log_set(say_nothing, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_read_whole),
        cmocka_unit_test(the_type_of_a_file_is_that_of_most_matrices),
        cmocka_unit_test(k_quants_need_every_row_to_be_a_multiple_of_256),
        cmocka_unit_test(heads_that_differ_by_layer_count_as_the_most),
        cmocka_unit_test(an_embedding_of_its_own_stays_on_the_host),
        cmocka_unit_test(what_cannot_answer_is_told_apart),
        cmocka_unit_test(a_file_without_an_architecture_is_no_model),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(a_damaged_header_does_no_harm),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
