/* Whole trainings of a tiny model: that they learn, repeat themselves, go on after a stop, and say what
 * is wrong. */
#include "adapt/train.h"

#include "adapt/train_rows.h"
#include "base/buf.h"
#include "base/fs.h"
#include "support/gguf_make.h"
#include "support/scratch.h"

#include <gguf.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N_ROWS = 14 };

static const char *model_path;
static const char *data_path;

/* Documents of letters, summaries that repeat a few words: easy to learn, and of unequal lengths. */
static const char *write_rows(struct scratch *dir, const char *name, int n, int extra) {
    struct buf text;
    buf_init(&text);
    for (int i = 0; i < n; i++) {
        buf_addf(&text, "{\"id\": \"row-%d\", \"document\": \"", i);
        buf_addn(&text, (char)('a' + i), (size_t)(10 + 7 * (i % 5) + extra));
        buf_addf(&text, "\", \"summary\": \"yes yes %s\"}\n", i % 2 ? "no" : "yes");
    }
    const char *path = scratch_write(dir, name, text.data, text.len);
    buf_release(&text);
    return path;
}

static int set_up(void **state) {
    int rc = scratch_setup(state);
    struct gguf_make m = gguf_make_default;
    m.spread = 0.5F;
    model_path = scratch_path(*state, "tiny.gguf");
    gguf_make_file(model_path, &m);
    data_path = write_rows(*state, "rows.jsonl", N_ROWS, 0);
    return rc;
}

static struct train_opts options(struct scratch *dir, const char *out) {
    struct train_opts o = train_defaults();
    o.model_path = model_path;
    o.task = TASK_SUMM;
    o.data_path = data_path;
    o.out_path = scratch_path(dir, out);
    o.n_threads = 1;
    o.rank = 4;
    o.rate = 1e-2;
    o.batch = 2;
    o.epochs = 2;
    return o;
}

static void run(const struct train_opts *o, struct arena *a, struct train_result *r) {
    struct err e = ERR_INIT;
    if (train_run(o, a, r, &e)) {
        fail_msg("train_run: %s", e.msg);
    }
}

static void read_file(const char *path, struct buf *out) {
    struct err e = ERR_INIT;
    buf_init(out);
    OK(fs_read(path, out, &e));
}

static bool same_files(const char *a, const char *b) {
    struct buf x;
    struct buf y;
    read_file(a, &x);
    read_file(b, &y);
    bool same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
    buf_release(&x);
    buf_release(&y);
    return same;
}

static bool same_curves(const struct train_result *a, const struct train_result *b) {
    bool same = a->n_curve == b->n_curve;
    for (size_t i = 0; same && i < a->n_curve; i++) {
        same = a->curve[i].step == b->curve[i].step && a->curve[i].epoch == b->curve[i].epoch &&
               a->curve[i].loss == b->curve[i].loss && a->curve[i].norm == b->curve[i].norm &&
               a->curve[i].rate == b->curve[i].rate;
    }
    return same;
}

/* --- It works --------------------------------------------------------------------------------- */

static void training_learns(void **state) {
    struct arena a = ARENA_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "learned.gguf");
    o.validation = 0.25;
    o.epochs = 10;
    o.rate = 2e-2;
    run(&o, &a, &r);
    assert_int_equal(r.n_rows, N_ROWS - 4); /* a quarter of them, rounded, is held out */
    assert_int_equal(r.n_steps, 10 * 3);    /* 5 micro-batches are 3 steps */
    assert_true(r.last_loss < 0.88 * r.first_loss);
    assert_true(r.best_validation < 0.88 * r.first_validation);
    assert_true(r.n_loss_tokens > 0 && r.n_loss_tokens < r.n_tokens);
    assert_true(r.peak_bytes > 0 && r.forecast_bytes > 0);
    assert_false(fs_exists(scratch_path(*state, "learned.gguf.checkpoint")));
    for (size_t i = 0; i < r.n_curve; i++) {
        /* One of 30 steps warms up. */
        assert_true(r.curve[i].rate <= 2e-2 && r.curve[i].rate > 0);
        assert_true(isfinite(r.curve[i].validation_loss) == (i % 3 == 2));
    }
    arena_release(&a);
}

static void equal_trainings_are_equal(void **state) {
    struct arena a = ARENA_INIT;
    struct train_result first;
    struct train_result again;
    struct train_result other;
    struct train_opts o = options(*state, "first.gguf");
    run(&o, &a, &first);
    o.out_path = scratch_path(*state, "again.gguf");
    o.n_threads = 2;
    o.recompute = false;
    run(&o, &a, &again);
    assert_true(same_curves(&first, &again));
    assert_true(same_files(scratch_path(*state, "first.gguf"), scratch_path(*state, "again.gguf")));
    o.out_path = scratch_path(*state, "other.gguf");
    o.seed = 2;
    run(&o, &a, &other);
    assert_false(same_curves(&first, &other));
    arena_release(&a);
}

/* The scale that F16's gradients need is out again before anybody sees them. */
static void narrower_products_follow_the_same_curve(void **state) {
    static const char *const computes[] = {"f32", "bf16", "f16"};
    struct arena a = ARENA_INIT;
    struct train_result all[3];
    for (int i = 0; i < 3; i++) {
        struct train_opts o = options(*state, "narrow.gguf");
        o.plain_ops = true;
        o.compute = computes[i];
        run(&o, &a, &all[i]);
        assert_string_equal(all[i].compute, computes[i]);
        for (size_t k = 0; i > 0 && k < all[0].n_curve; k++) {
            const struct train_point *wide = &all[0].curve[k];
            const struct train_point *narrow = &all[i].curve[k];
            assert_true(fabs(narrow->loss - wide->loss) < 5e-3 * wide->loss);
            assert_true(fabs(narrow->norm - wide->norm) < 5e-2 * wide->norm);
        }
        assert_true(i == 0 || !same_curves(&all[0], &all[i]));
    }
    arena_release(&a);
}

static void packing_sees_every_row_in_fewer_batches(void **state) {
    struct arena a = ARENA_INIT;
    struct train_result rows;
    struct train_result packed;
    struct train_opts o = options(*state, "rows.gguf");
    o.batch = 4;
    o.accumulate = 1;
    run(&o, &a, &rows);
    o.out_path = scratch_path(*state, "packed.gguf");
    o.pack = true;
    run(&o, &a, &packed);
    assert_int_equal(rows.n_tokens, packed.n_tokens);
    assert_int_equal(rows.n_loss_tokens, packed.n_loss_tokens);
    assert_true(packed.n_steps <= rows.n_steps);
    o.out_path = scratch_path(*state, "all.gguf");
    o.all_tokens = true;
    run(&o, &a, &packed);
    assert_int_equal(packed.n_loss_tokens, packed.n_tokens);
    arena_release(&a);
}

static void training_stops_when_it_gets_no_better(void **state) {
    struct arena a = ARENA_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "early.gguf");
    o.validation = 0.25;
    o.validate_every = 1;
    o.patience = 2;
    o.epochs = 50;
    o.rate = 0.3; /* far too much */
    run(&o, &a, &r);
    assert_true(r.stopped_early);
    assert_true(r.n_steps < 150);
    size_t best = 0;
    for (size_t i = 1; i < r.n_curve; i++) {
        best = r.curve[i].validation_loss < r.curve[best].validation_loss ? i : best;
    }
    assert_int_equal(best, r.n_curve - 3);
    assert_true(r.best_validation == r.curve[best].validation_loss);
    arena_release(&a);
}

/* --- Stop and go on --------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_flag;
static int64_t stop_after;

static void stop_at(void *ctx, const struct train_progress *p) {
    (void)ctx;
    if (p->point.step == stop_after) {
        stop_flag = 1;
    }
}

static void a_stopped_training_goes_on_to_the_same_result(void **state) {
    static const struct train_observer observer = {.stepped = stop_at};
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result whole;
    struct train_result resumed;
    struct train_opts o = options(*state, "whole.gguf");
    o.validation = 0.2;
    o.epochs = 3;
    run(&o, &a, &whole);
    o.out_path = scratch_path(*state, "stopped.gguf");
    o.observer = &observer;
    o.stop = &stop_flag;
    for (stop_after = 2; stop_after <= 5; stop_after += 3) {
        stop_flag = 0;
        REFUSED_WITH(train_run(&o, &a, &resumed, &e), EE_STOPPED, "--resume goes on from");
        assert_false(fs_exists(o.out_path));
        o.resume = true;
    }
    stop_flag = 0;
    stop_after = 0;
    run(&o, &a, &resumed);
    assert_int_equal(resumed.resumed_from, 5);
    assert_true(same_curves(&whole, &resumed));
    assert_true(same_files(scratch_path(*state, "whole.gguf"), o.out_path));
    assert_true(whole.best_validation == resumed.best_validation);
    arena_release(&a);
}

static void a_checkpoint_of_other_settings_is_refused(void **state) {
    static const struct train_observer observer = {.stepped = stop_at};
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "settings.gguf");
    o.observer = &observer;
    o.stop = &stop_flag;
    o.resume = true;
    stop_flag = 0;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_MISSING, "no checkpoint");
    o.resume = false;
    stop_after = 1;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_STOPPED, "after step 1 of");
    o.resume = true;
    stop_flag = 0;
    o.rate = 2e-2;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_USAGE, "lr was 0.01 and is 0.02");
    o.rate = 1e-2;
    o.data_path = write_rows(*state, "changed.jsonl", N_ROWS, 1);
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_USAGE, "other settings: rows was");
    arena_release(&a);
}

static void a_full_disk_is_told_at_the_checkpoint(void **state) {
    const char *small = scratch_small_disk(*state, 256 * 1024);
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result r;
    char checkpoint[256];
    if (!small) {
        skip();
    }
    struct train_opts o = options(*state, "full.gguf");
    snprintf(checkpoint, sizeof(checkpoint), "%s/c", small);
    scratch_fill_disk(small, 4096);
    o.checkpoint_path = checkpoint;
    o.save_every = 2;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_NOSPACE, "checkpoint: cannot write");
    assert_false(fs_exists(o.out_path));
    arena_release(&a);
}

/* --- Refusals ---------------------------------------------------------------------------------- */

/* A NaN in the embedding of one letter's byte. */
static const char *write_broken_model(struct scratch *dir, char letter) {
    struct buf file;
    struct gguf_make m = gguf_make_default;
    const char *path = scratch_path(dir, "broken.gguf");
    m.type = GGML_TYPE_F32;
    m.n_layers = 1;
    m.untied = true;
    gguf_make_file(path, &m);
    read_file(path, &file);
    struct ggml_context *ctx = NULL;
    struct gguf_context *g = gguf_init_from_file(
        path, (struct gguf_init_params){.no_alloc = true, .ctx = &ctx});
    assert_non_null(g);
    size_t at = gguf_get_data_offset(g) +
                gguf_get_tensor_offset(g, gguf_find_tensor(g, "token_embd.weight")) +
                (size_t)(5 + (unsigned char)letter) * 64 * sizeof(float);
    memset(file.data + at, 0xff, sizeof(float));
    scratch_write(dir, "broken.gguf", file.data, file.len);
    gguf_free(g);
    ggml_free(ctx);
    buf_release(&file);
    return path;
}

static void a_loss_that_is_no_number_names_step_and_row(void **state) {
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "nan.gguf");
    /* Of all letters in the prompts, only row-9's document has this one. */
    o.model_path = write_broken_model(*state, 'j');
    o.epochs = 1;
    assert_int_equal(train_run(&o, &a, &r, &e), EE_FAIL);
    assert_non_null(strstr(e.msg, "step "));
    assert_non_null(strstr(e.msg, " of 4: the loss is not a number, in row row-9;"));
    arena_release(&a);
}

static void bad_settings_and_rows_are_refused(void **state) {
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "bad.gguf");
    o.rank = 65;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_USAGE,
                 "rank 65 is not between 1 and 64, the smaller dimension of attn_q (64 x 64)");
    o = options(*state, "bad.gguf");
    o.modules = "q,w";
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_USAGE,
                 "unknown module \"w\"; there are: q, k, v, o, gate, up, down");
    o = options(*state, "bad.gguf");
    o.dropout = 1;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_USAGE, "dropout is 1; it can be 0 to 0.99");
    o = options(*state, "bad.gguf");
    o.patience = 2;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_USAGE, "patience needs a validation share");
    o = options(*state, "bad.gguf");
    o.data_path = scratch_write(*state, "empty.jsonl", "\n", 1);
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_FORMAT, "empty.jsonl: holds no items");
    const char broken[] = "{\"document\": \"x\", \"summary\": \" \"}\n";
    o.data_path = scratch_write(*state, "broken.jsonl", broken, sizeof(broken) - 1);
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_FORMAT, "broken.jsonl:1: \"summary\" is empty");
    o = options(*state, "bad.gguf");
    o.device = "toaster";
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_MISSING, "no device \"toaster\" here");
    o = options(*state, "none/bad.gguf");
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_MISSING, "none");
    arena_release(&a);
}

static void long_rows_are_refused_or_left_out(void **state) {
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "long.gguf");
    o.max_tokens = 200;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_FORMAT, "rows are longer than 200 tokens (first");
    o.skip_long = true;
    run(&o, &a, &r);
    assert_true(r.n_rows > 0 && r.n_rows < N_ROWS);
    o.max_tokens = 100000;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_USAGE, "is above the context of");
    arena_release(&a);
}

static void models_that_cannot_be_trained_are_refused(void **state) {
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "bad.gguf");
    struct gguf_make m = gguf_make_default;
    o.model_path = scratch_path(*state, "refused.gguf");
    m.template = NULL;
    gguf_make_file(o.model_path, &m);
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_UNSUPPORTED, "no chat template");
    m = gguf_make_default;
    m.arch = "gemma";
    gguf_make_file(o.model_path, &m);
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_UNSUPPORTED,
                 "of the architecture \"gemma\"; llama and qwen2 can be adapted");
    m = gguf_make_default;
    m.per_layer_heads = true;
    gguf_make_file(o.model_path, &m);
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_UNSUPPORTED, "differs from layer to layer");
    arena_release(&a);
}

static void too_little_memory_is_told_with_what_fits(void **state) {
    struct arena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct train_result r;
    struct train_opts o = options(*state, "memory.gguf");
    o.data_path = write_rows(*state, "wide.jsonl", N_ROWS, 1500);
    o.pack = true;
    o.batch = 4096;
    REFUSED_WITH(train_run(&o, &a, &r, &e), EE_NOMEM, "training needs ");
    assert_non_null(strstr(e.msg, "use --batch "));
    assert_non_null(strstr(e.msg, "--method qlora"));
    arena_release(&a);
}

static void overlap_is_counted(void **state) {
    struct err e = ERR_INIT;
    size_t n = 0;
    const char *some = write_rows(*state, "some.jsonl", 5, 0);
    const char *others = write_rows(*state, "others.jsonl", 5, 3);
    OK(train_overlap(TASK_SUMM, data_path, some, &n, &e));
    assert_int_equal(n, 5);
    OK(train_overlap(TASK_SUMM, data_path, others, &n, &e));
    assert_int_equal(n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_learns),
        cmocka_unit_test(equal_trainings_are_equal),
        cmocka_unit_test(narrower_products_follow_the_same_curve),
        cmocka_unit_test(packing_sees_every_row_in_fewer_batches),
        cmocka_unit_test(training_stops_when_it_gets_no_better),
        cmocka_unit_test(a_stopped_training_goes_on_to_the_same_result),
        cmocka_unit_test(a_checkpoint_of_other_settings_is_refused),
        cmocka_unit_test(a_full_disk_is_told_at_the_checkpoint),
        cmocka_unit_test(a_loss_that_is_no_number_names_step_and_row),
        cmocka_unit_test(bad_settings_and_rows_are_refused),
        cmocka_unit_test(long_rows_are_refused_or_left_out),
        cmocka_unit_test(models_that_cannot_be_trained_are_refused),
        cmocka_unit_test(too_little_memory_is_told_with_what_fits),
        cmocka_unit_test(overlap_is_counted),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_teardown);
}
