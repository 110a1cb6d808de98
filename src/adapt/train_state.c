#include "adapt/train_internal.h"

#include "adapt/train_checkpoint.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>

int train_state_add_point(struct train_state *s, const struct train_point *p, struct err *e) {
    if (s->n_curve == s->cap_curve) {
        size_t cap = s->cap_curve ? 2 * s->cap_curve : 64;
        struct train_point *grown = realloc(s->curve, cap * sizeof(*grown));
        if (!grown) {
            return err_set(e, EE_NOMEM, "loss curve: out of memory");
        }
        s->curve = grown;
        s->cap_curve = cap;
    }
    s->curve[s->n_curve++] = *p;
    return 0;
}

/* JSON has no NaN. */
static json_t *number_or_null(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static double number_or_nan(const json_t *array, size_t i) {
    const json_t *v = json_array_get(array, i);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static json_t *curve_json(const struct train_state *s) {
    json_t *curve = json_array();
    for (size_t i = 0; i < s->n_curve; i++) {
        const struct train_point *p = &s->curve[i];
        json_array_append_new(curve, json_pack("[I, I, o, o, o, o]", (json_int_t)p->step,
                                               (json_int_t)p->epoch, number_or_null(p->loss),
                                               number_or_null(p->rate), number_or_null(p->norm),
                                               number_or_null(p->validation_loss)));
    }
    return curve;
}

int train_state_save(struct trainer *t, struct err *e) {
    const struct train_state *s = &t->state;
    json_t *state = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:[o, o], s:o}", "step",
                              (json_int_t)s->step, "epoch", (json_int_t)s->epoch, "micro",
                              (json_int_t)s->micro, "n_micro", (json_int_t)s->n_micro, "tokens",
                              (json_int_t)s->n_tokens, "loss_tokens", (json_int_t)s->n_loss_tokens,
                              "worse_in_a_row", (json_int_t)s->worse_in_a_row, "validation",
                              number_or_null(s->first_validation),
                              number_or_null(s->best_validation), "curve", curve_json(s));
    int rc = state ? train_checkpoint_write(t->checkpoint_path, &t->lora, t->best_params,
                                            t->settings, state, e)
                   : err_set(e, EE_NOMEM, "checkpoint: out of memory");
    json_decref(state);
    return rc;
}

static int load_curve(struct train_state *s, const json_t *curve, struct err *e) {
    const json_t *row;
    size_t i;
    int rc = 0;
    json_array_foreach(curve, i, row) {
        const struct train_point p = {
            .step = (int64_t)json_integer_value(json_array_get(row, 0)),
            .epoch = (int64_t)json_integer_value(json_array_get(row, 1)),
            .loss = number_or_nan(row, 2),
            .rate = number_or_nan(row, 3),
            .norm = number_or_nan(row, 4),
            .validation_loss = number_or_nan(row, 5),
        };
        rc = rc ? rc : train_state_add_point(s, &p, e);
    }
    return rc;
}

int train_state_load(struct trainer *t, struct err *e) {
    struct train_state *s = &t->state;
    json_t *state = NULL;
    int64_t micro = 0;
    int rc = train_checkpoint_read(t->checkpoint_path, &t->lora, t->best_params, t->settings,
                                   &state, e);
    rc = rc ? rc : json_want_int(state, "step", &s->step, e);
    rc = rc ? rc : json_want_int(state, "epoch", &s->epoch, e);
    rc = rc ? rc : json_want_int(state, "micro", &micro, e);
    rc = rc ? rc : json_want_int(state, "n_micro", &s->n_micro, e);
    rc = rc ? rc : json_want_int(state, "tokens", &s->n_tokens, e);
    rc = rc ? rc : json_want_int(state, "loss_tokens", &s->n_loss_tokens, e);
    rc = rc ? rc : json_want_int(state, "worse_in_a_row", &s->worse_in_a_row, e);
    if (!rc) {
        const json_t *validation = json_object_get(state, "validation");
        s->micro = (size_t)micro;
        s->first_validation = number_or_nan(validation, 0);
        s->best_validation = number_or_nan(validation, 1);
        rc = load_curve(s, json_object_get(state, "curve"), e);
    }
    json_decref(state);
    return rc;
}
