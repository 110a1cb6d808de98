/* Adapter files and merging: what llama.cpp makes of them, and what is refused. */
#include "support/adapt_rig.h"

#include "adapt/adapter_file.h"
#include "adapt/merge.h"
#include "base/fs.h"

#include <llama.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const struct merge_opts no_opts = {.progress = NULL};

/* The rig's adapter in a file. */
static const char *write_adapter(struct adapt_rig *r, struct scratch *dir) {
    struct err e = ERR_INIT;
    const char *path = scratch_path(dir, "adapter.gguf");
    OK(adapter_file_write(path, &r->model.shape, &r->lora, "{}", &e));
    return path;
}

static struct llama_context *open_llama(const char *path, struct llama_model **model) {
    struct llama_model_params mp = llama_model_default_params();
    struct llama_context_params cp = llama_context_default_params();
    mp.n_gpu_layers = 0;
    *model = llama_model_load_from_file(path, mp);
    assert_non_null(*model);
    cp.n_ctx = 64;
    cp.n_batch = 64;
    cp.n_threads = cp.n_threads_batch = 1;
    cp.type_k = cp.type_v = GGML_TYPE_F32;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *ctx = llama_init_from_model(*model, cp);
    assert_non_null(ctx);
    return ctx;
}

/* llama.cpp's logits for the first sequence of the batch; the caller frees them. */
static float *llama_logits(const char *model_path, const char *adapter_path, const struct batch *b,
                           size_t n_vocab) {
    struct llama_model *model;
    struct llama_context *ctx = open_llama(model_path, &model);
    struct llama_adapter_lora *adapter = llama_adapter_lora_init(model, adapter_path);
    float scale = 1;
    assert_non_null(adapter);
    assert_int_equal(llama_set_adapters_lora(ctx, &adapter, 1, &scale), 0);
    const int n = b->segments[0].len;
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i] = b->tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = n;
    assert_int_equal(llama_decode(ctx, batch), 0);
    float *logits = malloc((size_t)n * n_vocab * sizeof(*logits));
    assert_non_null(logits);
    for (int i = 0; i < n; i++) {
        memcpy(logits + (size_t)i * n_vocab, llama_get_logits_ith(ctx, i),
               n_vocab * sizeof(*logits));
    }
    llama_batch_free(batch);
    llama_free(ctx);
    llama_model_free(model);
    return logits;
}

/* Our logits of the batch's supervised rows; the caller frees them. */
static float *own_logits(struct adapt_rig *r) {
    struct err e = ERR_INIT;
    float *logits = malloc(RIG_ROWS * (size_t)r->model.shape.n_vocab * sizeof(*logits));
    assert_non_null(logits);
    OK(pass_logits(r->pass, &r->batch, logits, &e));
    return logits;
}

static void check_against_llama(struct scratch *dir, const struct gguf_make *m) {
    struct adapt_rig r;
    rig_open(&r, dir, m, &rig_default);
    const size_t n_vocab = (size_t)r.model.shape.n_vocab;
    float *theirs = llama_logits(scratch_path(dir, "rig.gguf"), write_adapter(&r, dir), &r.batch,
                                 n_vocab);
    float *ours = own_logits(&r);
    double most = 0;
    for (int i = 0; i < r.batch.n_rows && r.batch.rows[i] < r.batch.segments[0].len; i++) {
        const float *row = theirs + (size_t)r.batch.rows[i] * n_vocab;
        for (size_t k = 0; k < n_vocab; k++) {
            most = fmax(most, fabs((double)(ours[(size_t)i * n_vocab + k] - row[k])));
        }
    }
    if (!(most < 2e-5)) {
        fail_msg("logits of base and adapter differ from llama.cpp's by %g", most);
    }
    free(theirs);
    free(ours);
    rig_close(&r);
}

static void llama_cpp_computes_the_same_logits(void **state) {
    check_against_llama(*state, &rig_llama);
    check_against_llama(*state, &rig_qwen2);
}

/* merged - (base + adapter) over the matrix, in units of its largest value. */
static double merge_error(const struct adapt_rig *r, const struct base_model *merged, int layer,
                          enum module m) {
    const struct ggml_tensor *w = r->model.layers[layer].w[m];
    const struct lora_pair *p = lora_pair_at(&r->lora, layer, m);
    float *base = rig_values(w);
    float *sum = rig_values(merged->layers[layer].w[m]);
    float *a = rig_values(p->a);
    float *b = rig_values(p->b);
    const double scale = (double)r->lora.alpha / r->lora.rank;
    double most = 0;
    double error = 0;
    for (int64_t o = 0; o < w->ne[1]; o++) {
        for (int64_t i = 0; i < w->ne[0]; i++) {
            double want = (double)base[o * w->ne[0] + i];
            for (int64_t k = 0; k < r->lora.rank; k++) {
                want += scale * (double)b[o * r->lora.rank + k] * (double)a[k * w->ne[0] + i];
            }
            most = fmax(most, fabs(want));
            error = fmax(error, fabs(want - (double)sum[o * w->ne[0] + i]));
        }
    }
    free(base);
    free(sum);
    free(a);
    free(b);
    return error / most;
}

static void merging_adds_the_adapter(void **state) {
    const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_Q4_0};
    for (size_t i = 0; i < 2; i++) {
        struct adapt_rig r;
        struct base_model merged;
        struct merge_result result;
        struct err e = ERR_INIT;
        struct rig_opts as_f32 = rig_default;
        struct gguf_make m = rig_llama;
        m.type = types[i];
        as_f32.matrices = GGML_TYPE_F32;
        rig_open(&r, *state, &m, &as_f32);
        const char *out = scratch_path(*state, "merged.gguf");
        OK(merge_files(scratch_path(*state, "rig.gguf"), write_adapter(&r, *state), out, &no_opts,
                       &result, &e));
        assert_int_equal(result.n_merged, rig_llama.n_layers * MODULE_COUNT);
        OK(base_model_load(out, &r.device, GGML_TYPE_F32, &merged, &e));
        for (int k = 0; k < MODULE_COUNT; k++) {
            double error = merge_error(&r, &merged, 1, (enum module)k);
            assert_true(error > 0 && error < 6e-4); /* half precision has 11 bits */
        }
        base_model_release(&merged);
        rig_close(&r);
    }
}

/* The merged model answers as base and adapter do. */
static void merged_logits_are_the_adapted_ones(void **state) {
    struct adapt_rig r;
    struct adapt_rig merged;
    struct merge_result result;
    struct err e = ERR_INIT;
    rig_open(&r, *state, &rig_qwen2, &rig_default);
    float *adapted = own_logits(&r);
    const char *out = scratch_path(*state, "merged.gguf");
    OK(merge_files(scratch_path(*state, "rig.gguf"), write_adapter(&r, *state), out, &no_opts,
                   &result, &e));
    merged = r;
    OK(base_model_load(out, &r.device, GGML_TYPE_COUNT, &merged.model, &e));
    assert_string_equal(merged.model.matrix_type, "f16");
    const struct pass_limits limits = {
        .max_tokens = RIG_TOKENS, .max_segments = RIG_SEGMENTS, .max_segment = RIG_TOKENS};
    OK(pass_create(&r.device, &merged.model, NULL, &limits, &merged.pass, &e));
    float *logits = own_logits(&merged);
    for (int i = 0; i < RIG_ROWS * r.model.shape.n_vocab; i++) {
        assert_true(fabsf(logits[i] - adapted[i]) < 5e-3F);
    }
    free(adapted);
    free(logits);
    pass_free(merged.pass);
    base_model_release(&merged.model);
    rig_close(&r);
}

/* --- Refusals -------------------------------------------------------------------------------- */

static void adapters_of_other_models_are_refused(void **state) {
    struct adapt_rig r;
    struct merge_result result;
    struct err e = ERR_INIT;
    const char *out = scratch_path(*state, "none.gguf");
    const char *base = scratch_path(*state, "other.gguf");
    rig_open(&r, *state, &rig_llama, &rig_default);
    const char *adapter = write_adapter(&r, *state);
    gguf_make_file(base, &rig_qwen2);
    REFUSED_WITH(merge_files(base, adapter, out, &no_opts, &result, &e), EE_USAGE,
                 "is for the architecture \"llama\"");
    struct gguf_make other = rig_llama;
    other.n_ff = 192;
    gguf_make_file(base, &other);
    REFUSED_WITH(merge_files(base, adapter, out, &no_opts, &result, &e), EE_USAGE,
                 "adapts blk.0.ffn_gate.weight as 128 x 160; in");
    other = rig_llama;
    other.n_layers = 1;
    gguf_make_file(base, &other);
    REFUSED_WITH(merge_files(base, adapter, out, &no_opts, &result, &e), EE_USAGE,
                 "adapts blk.1.attn_q.weight, which");
    assert_false(fs_exists(out));
    rig_close(&r);
}

static void files_that_are_no_adapters_are_refused(void **state) {
    struct adapt_rig r;
    struct merge_result result;
    struct err e = ERR_INIT;
    const char *out = scratch_path(*state, "none.gguf");
    const char *base = scratch_path(*state, "rig.gguf");
    rig_open(&r, *state, &rig_llama, &rig_default);
    const char *adapter = write_adapter(&r, *state);
    REFUSED_WITH(merge_files(base, base, out, &no_opts, &result, &e), EE_FORMAT, "is no adapter");
    REFUSED_WITH(merge_files(adapter, adapter, out, &no_opts, &result, &e), EE_UNSUPPORTED,
                 "is an adapter and no model");
    uint64_t bytes;
    OK(fs_size(adapter, &bytes, &e));
    assert_int_equal(truncate(adapter, (off_t)bytes - 100), 0);
    REFUSED_WITH(merge_files(base, adapter, out, &no_opts, &result, &e), EE_FORMAT, "is cut off");
    OK(fs_size(base, &bytes, &e));
    assert_int_equal(truncate(base, (off_t)bytes - 100), 0);
    REFUSED_WITH(merge_files(base, adapter, out, &no_opts, &result, &e), EE_FORMAT, "is cut off");
    assert_false(fs_exists(out));
    rig_close(&r);
}

static void a_full_disk_leaves_nothing(void **state) {
    struct adapt_rig r;
    struct merge_result result;
    struct err e = ERR_INIT;
    const char *small = scratch_small_disk(*state, 256 * 1024);
    if (!small) {
        skip();
    }
    char out[256];
    snprintf(out, sizeof(out), "%s/merged.gguf", small);
    rig_open(&r, *state, &rig_llama, &rig_default);
    const char *adapter = write_adapter(&r, *state);
    REFUSED_WITH(merge_files(scratch_path(*state, "rig.gguf"), adapter, out, &no_opts, &result, &e),
                 EE_NOSPACE, "are free there");
    scratch_fill_disk(small, 8192);
    REFUSED_WITH(adapter_file_write(out, &r.model.shape, &r.lora, NULL, &e), EE_NOSPACE,
                 "cannot write");
    assert_int_equal(access(out, F_OK), -1);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_cpp_computes_the_same_logits),
        cmocka_unit_test(merging_adds_the_adapter),
        cmocka_unit_test(merged_logits_are_the_adapted_ones),
        cmocka_unit_test(adapters_of_other_models_are_refused),
        cmocka_unit_test(files_that_are_no_adapters_are_refused),
        cmocka_unit_test(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
