#include "adapt/train_internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MASK_STREAM = 1 << 30, NAMED_ROWS = 5 };

/* F16 ends at 65504 and has few digits below 6e-5, less than the gradient of a mean over thousands of
 * tokens. So each token's own gradient is made this large, whatever their number, and the optimiser
 * divides the sum. */
static const double f16_token_weight = 16;

static bool stop_asked(const struct trainer *t) {
    return t->opts->stop && *t->opts->stop;
}

/* --- Trouble --------------------------------------------------------------------------------- */

/* Names of the rows of micro-batches [from, to) that have a bad loss, or of all where losses is NULL. */
static void name_rows(const struct trainer *t, const struct epoch_order *order, size_t from,
                      size_t to, const float *losses, struct buf *out) {
    size_t named = 0;
    size_t more = 0;
    const float *at = losses;
    for (size_t i = order->starts[from]; i < order->starts[to]; i++) {
        const struct train_row *row = &t->rows.rows[order->order[i]];
        int n = batching_loss_rows(&t->batching, row);
        bool bad = !losses;
        for (int k = 0; at && k < n; k++) {
            bad = bad || !isfinite(at[k]);
        }
        at = at ? at + n : NULL;
        if (bad && named < NAMED_ROWS) {
            buf_addf(out, "%s%s", named++ ? ", " : "", row->id);
        } else if (bad) {
            more++;
        }
    }
    if (more) {
        buf_addf(out, " and %zu more", more);
    }
}

static int broken(const struct trainer *t, const char *what, const struct epoch_order *order,
                  size_t from, size_t to, const float *losses, struct err *e) {
    struct buf rows;
    buf_init(&rows);
    name_rows(t, order, from, to, losses, &rows);
    int rc = err_set(e, EE_FAIL,
                     "step %" PRId64 " of %" PRId64 ": %s is not a number, in row %s; lower the "
                     "learning rate (now at most %g), clip the gradient, or look at the rows",
                     t->state.step + 1, t->n_steps, what, rows.data, t->opts->rate);
    buf_release(&rows);
    return rc;
}

/* --- A step ---------------------------------------------------------------------------------- */

/* Selects a micro-batch's dropout masks; never 0. */
static uint64_t dropout_key(const struct trainer *t, int64_t micro) {
    struct rng rng;
    rng_init_stream(&rng, (uint64_t)t->opts->seed, (uint64_t)MASK_STREAM + (uint64_t)micro);
    return rng_u64(&rng) | 1;
}

static int64_t count_loss_rows(const struct trainer *t, const struct epoch_order *o, size_t from,
                               size_t to) {
    int64_t n = 0;
    for (size_t i = o->starts[from]; i < o->starts[to]; i++) {
        n += batching_loss_rows(&t->batching, &t->rows.rows[o->order[i]]);
    }
    return n;
}

/* What a step adds to the state once it is done. */
struct step_sums {
    double loss;
    double loss_scale; /* the gradients' */
    int64_t n_tokens;
    int64_t n_loss_tokens;
};

/* Micro-batches [from, to): their gradients, each token weighing the same. */
static int accumulate(struct trainer *t, const struct epoch_order *o, size_t from, size_t to,
                      struct step_sums *sums, struct err *e) {
    sums->n_loss_tokens = count_loss_rows(t, o, from, to);
    const double n = (double)sums->n_loss_tokens;
    sums->loss_scale = t->device.compute == GGML_TYPE_F16 ? f16_token_weight * n : 1;
    const float weight = (float)(sums->loss_scale / n);
    int rc = 0;
    optim_clear_gradients(&t->lora);
    for (size_t i = from; i < to && !rc; i++) {
        if (stop_asked(t)) {
            return err_set(e, EE_STOPPED, "stopped");
        }
        const struct batch *b = batch_fill(t->memory, &t->batching, o, i);
        int64_t micro = t->state.n_micro + (int64_t)(i - from);
        rc = pass_train(t->pass, b, weight, dropout_key(t, micro), t->losses, e);
        bool finite = true;
        for (int k = 0; k < b->n_rows && !rc; k++) {
            finite = finite && isfinite(t->losses[k]);
            sums->loss += (double)t->losses[k];
        }
        sums->n_tokens += b->n_tokens;
        if (!rc && !finite) {
            rc = broken(t, "the loss", o, i, i + 1, t->losses, e);
        }
    }
    sums->loss /= (double)sums->n_loss_tokens;
    return rc;
}

static int update(struct trainer *t, const struct epoch_order *o, size_t from, size_t to,
                  double loss_scale, struct train_point *point, struct err *e) {
    const struct optim_step s = {.step = t->state.step + 1,
                                 .rate = schedule_rate(t->schedule, t->opts->rate,
                                                       t->state.step + 1, t->n_steps, t->n_warmup),
                                 .weight_decay = t->opts->weight_decay,
                                 .clip = t->opts->clip,
                                 .loss_scale = loss_scale};
    int64_t begin_ns = clock_mono_ns();
    int rc = optim_update(t->optim, &s, &point->norm, e);
    t->phase_ns[TRAIN_OPTIMISER] += clock_mono_ns() - begin_ns;
    point->rate = s.rate;
    if (!rc && !isfinite(point->norm)) {
        rc = broken(t, "the gradient", o, from, to, NULL, e);
    }
    return rc;
}

/* --- Validation ------------------------------------------------------------------------------ */

static int validate(struct trainer *t, double *loss, struct err *e) {
    struct arena a = ARENA_INIT;
    struct epoch_order order;
    int64_t begin_ns = clock_mono_ns();
    double sum = 0;
    int64_t n = 0;
    int rc = epoch_order_make(&t->validation, -1, &a, &order, e);
    for (size_t i = 0; !rc && i < order.n_micro; i++) {
        const struct batch *b = batch_fill(t->memory, &t->validation, &order, i);
        rc = pass_evaluate(t->pass, b, t->losses, e);
        for (int k = 0; k < b->n_rows && !rc; k++) {
            sum += (double)t->losses[k];
        }
        n += b->n_rows;
    }
    *loss = rc ? NAN : sum / (double)n;
    arena_release(&a);
    t->phase_ns[TRAIN_EVALUATE] += clock_mono_ns() - begin_ns;
    return rc;
}

/* Measures, and keeps the parameters where they are the best so far. */
static int validate_step(struct trainer *t, double *loss, struct err *e) {
    int rc = validate(t, loss, e);
    if (rc) {
        return rc;
    }
    struct train_state *s = &t->state;
    if (!(*loss >= s->best_validation)) { /* also where there is no best yet */
        s->best_validation = *loss;
        s->worse_in_a_row = 0;
        ggml_backend_tensor_get(t->lora.params, t->best_params, 0, ggml_nbytes(t->lora.params));
    } else {
        s->worse_in_a_row++;
    }
    s->stopped_early = t->opts->patience > 0 && s->worse_in_a_row >= t->opts->patience;
    return 0;
}

static bool validation_due(const struct trainer *t, bool epoch_ends) {
    if (t->validation.n_chosen == 0) {
        return false;
    }
    bool last = t->state.step == t->n_steps;
    return last || (t->opts->validate_every > 0 ? t->state.step % t->opts->validate_every == 0
                                                : epoch_ends);
}

/* --- The way --------------------------------------------------------------------------------- */

static void tell(const struct trainer *t, const struct train_point *point) {
    const struct train_observer *ob = t->opts->observer;
    if (!ob || !ob->stepped) {
        return;
    }
    int64_t done = t->state.step - t->result->resumed_from;
    double elapsed_s = clock_ns_to_s(t->train_ns);
    const struct train_progress p = {.point = *point,
                                     .n_steps = t->n_steps,
                                     .n_tokens = t->state.n_tokens - t->resumed_tokens,
                                     .elapsed_s = elapsed_s,
                                     .eta_s = elapsed_s / (double)done *
                                              (double)(t->n_steps - t->state.step)};
    ob->stepped(ob->ctx, &p);
}

static int save(struct trainer *t, struct err *e) {
    int64_t begin_ns = clock_mono_ns();
    int rc = train_state_save(t, e);
    t->phase_ns[TRAIN_SAVE] += clock_mono_ns() - begin_ns;
    return rc;
}

/* A stop keeps the last whole step; a micro-batch that was under way is done again later. */
static int save_stopped(struct trainer *t, struct err *e) {
    int rc = save(t, e);
    return rc ? rc
              : err_set(e, EE_STOPPED,
                        "stopped after step %" PRId64 " of %" PRId64 "; --resume goes on from %s",
                        t->state.step, t->n_steps, t->checkpoint_path);
}

static int one_step(struct trainer *t, const struct epoch_order *o, struct err *e) {
    struct train_state *s = &t->state;
    struct step_sums sums = {0};
    struct train_point point = {.step = s->step + 1, .epoch = s->epoch + 1, .validation_loss = NAN};
    size_t left = o->n_micro - s->micro;
    size_t n = left < (size_t)t->opts->accumulate ? left : (size_t)t->opts->accumulate;
    int64_t begin_ns = clock_mono_ns();
    int rc = accumulate(t, o, s->micro, s->micro + n, &sums, e);
    rc = rc ? rc : update(t, o, s->micro, s->micro + n, sums.loss_scale, &point, e);
    if (rc) {
        return rc == EE_STOPPED ? save_stopped(t, e) : rc;
    }
    const int64_t took_ns = clock_mono_ns() - begin_ns;
    t->first_step_ns = t->train_ns > 0 ? t->first_step_ns : took_ns;
    t->train_ns += took_ns;
    point.loss = sums.loss;
    s->step++;
    s->micro += n;
    s->n_micro += (int64_t)n;
    s->n_tokens += sums.n_tokens;
    s->n_loss_tokens += sums.n_loss_tokens;
    bool epoch_ends = s->micro == o->n_micro;
    rc = validation_due(t, epoch_ends) ? validate_step(t, &point.validation_loss, e) : 0;
    rc = rc ? rc : train_state_add_point(s, &point, e);
    if (!rc) {
        tell(t, &point);
    }
    if (!rc && epoch_ends) {
        s->epoch++;
        s->micro = 0;
    }
    bool save_due = t->opts->save_every > 0 && s->step % t->opts->save_every == 0;
    return rc || !save_due || s->step == t->n_steps ? rc : save(t, e);
}

static bool finished(const struct trainer *t) {
    return t->state.step >= t->n_steps || t->state.stopped_early;
}

static int run_epoch(struct trainer *t, struct err *e) {
    struct arena a = ARENA_INIT;
    struct epoch_order order;
    int64_t epoch = t->state.epoch;
    int rc = epoch_order_make(&t->batching, epoch, &a, &order, e);
    while (!rc && t->state.epoch == epoch && !finished(t)) {
        rc = one_step(t, &order, e);
    }
    arena_release(&a);
    return rc;
}

static void tell_start(const struct trainer *t) {
    const struct train_observer *ob = t->opts->observer;
    if (!ob || !ob->started) {
        return;
    }
    const struct train_start s = {.device = t->device.name,
                                  .base_type = t->model.matrix_type,
                                  .n_rows = (int64_t)t->batching.n_chosen,
                                  .n_validation = (int64_t)t->validation.n_chosen,
                                  .n_left_out = (int64_t)t->rows.n_left_out,
                                  .n_params = t->lora.n_params,
                                  .n_steps = t->n_steps,
                                  .first_step = t->state.step + 1,
                                  .forecast_bytes = t->result->forecast_bytes,
                                  .free_bytes = (double)device_free_bytes(&t->device)};
    ob->started(ob->ctx, &s);
}

/* The parameters with the best validation loss are the ones that are kept. */
static void take_best(struct trainer *t) {
    if (t->best_params && isfinite(t->state.best_validation)) {
        ggml_backend_tensor_set(t->lora.params, t->best_params, 0, ggml_nbytes(t->lora.params));
    }
}

int trainer_run(struct trainer *t, struct err *e) {
    int rc = train_tell_stage(t->opts, TRAIN_STAGE_STEPS, e);
    tell_start(t);
    if (!rc && t->validation.n_chosen > 0 && t->state.step == 0) {
        rc = validate(t, &t->state.first_validation, e);
    }
    while (!rc && !finished(t)) {
        rc = run_epoch(t, e);
    }
    if (!rc) {
        take_best(t);
    }
    return rc;
}
