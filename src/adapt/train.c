#include "adapt/train.h"

#include "adapt/adapter_file.h"
#include "adapt/train_internal.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/machine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const train_phase_names[] = {"load",      "forward",  "backward",
                                         "optimiser", "evaluate", "save"};

struct train_opts train_defaults(void) {
    return (struct train_opts){.recompute = true,
                               .rank = 16,
                               .alpha = 16,
                               .dropout = 0.05,
                               .modules = "q,k,v,o,gate,up,down",
                               .rate = 2e-4,
                               .schedule = "cosine",
                               .warmup = 0.03,
                               .clip = 1,
                               .epochs = 1,
                               .batch = 4,
                               .accumulate = 2,
                               .seed = 1};
}

static int write_adapter(struct trainer *t, struct err *e) {
    struct buf settings;
    int64_t begin_ns = clock_mono_ns();
    buf_init(&settings);
    int rc = train_tell_stage(t->opts, TRAIN_STAGE_SAVE, e);
    rc = rc ? rc : json_write(t->settings, &settings, e);
    rc = rc ? rc
            : adapter_file_write(t->opts->out_path, &t->model.shape, &t->lora, settings.data, e);
    buf_release(&settings);
    if (!rc) {
        unlink(t->checkpoint_path);
    }
    t->phase_ns[TRAIN_SAVE] += clock_mono_ns() - begin_ns;
    return rc;
}

static double peak_bytes(const struct trainer *t) {
    ggml_backend_dev_t dev = ggml_backend_get_device(t->device.backend);
    if (ggml_backend_dev_type(dev) == GGML_BACKEND_DEVICE_TYPE_CPU) {
        return (double)machine_self_memory_bytes("VmHWM");
    }
    return (double)(t->model.weights_bytes + ggml_backend_buffer_get_size(t->lora.buffer) +
                    pass_bytes(t->pass));
}

static int copy_curve(const struct train_state *s, struct arena *a, struct train_result *r,
                      struct err *e) {
    r->n_curve = s->n_curve;
    r->curve = arena_array(a, s->n_curve, sizeof(*r->curve));
    if (!r->curve) {
        return err_set(e, EE_NOMEM, "loss curve: out of memory");
    }
    memcpy(r->curve, s->curve, s->n_curve * sizeof(*r->curve));
    return 0;
}

static int fill_result(struct trainer *t, struct arena *a, struct err *e) {
    struct train_result *r = t->result;
    const struct train_state *s = &t->state;
    struct pass_times times;
    pass_get_times(t->pass, &times);
    t->phase_ns[TRAIN_FORWARD] = times.forward_ns;
    t->phase_ns[TRAIN_BACKWARD] = times.backward_ns;
    r->n_steps = s->step;
    r->n_epochs = s->n_curve ? s->curve[s->n_curve - 1].epoch : 0;
    r->n_rows = (int64_t)t->batching.n_chosen;
    r->n_params = t->lora.n_params;
    r->n_tokens = s->n_tokens;
    r->n_loss_tokens = s->n_loss_tokens;
    r->first_loss = s->n_curve ? s->curve[0].loss : NAN;
    r->last_loss = s->n_curve ? s->curve[s->n_curve - 1].loss : NAN;
    r->first_validation = s->first_validation;
    r->best_validation = s->best_validation;
    r->stopped_early = s->stopped_early;
    r->train_s = clock_ns_to_s(t->train_ns);
    r->first_step_s = t->train_ns > 0 ? clock_ns_to_s(t->first_step_ns) : NAN;
    r->tokens_per_s = t->train_ns > 0 ? (double)(s->n_tokens - t->resumed_tokens) / r->train_s
                                      : NAN;
    for (int i = 0; i < TRAIN_PHASES; i++) {
        r->phase_s[i] = clock_ns_to_s(t->phase_ns[i]);
    }
    r->peak_bytes = peak_bytes(t);
    snprintf(r->device, sizeof(r->device), "%s", t->device.name);
    snprintf(r->base_type, sizeof(r->base_type), "%s", t->model.matrix_type);
    snprintf(r->compute, sizeof(r->compute), "%s", ggml_type_name(t->device.compute));
    return copy_curve(s, a, r, e);
}

int train_tell_stage(const struct train_opts *o, enum train_stage s, struct err *e) {
    const struct train_observer *ob = o->observer;
    return ob && ob->stage ? ob->stage(ob->ctx, s, e) : 0;
}

int train_run(const struct train_opts *o, struct arena *a, struct train_result *result,
              struct err *e) {
    struct trainer t;
    *result = (struct train_result){0};
    int rc = trainer_open(&t, o, result, e);
    rc = rc ? rc : trainer_run(&t, e);
    rc = rc ? rc : write_adapter(&t, e);
    rc = rc ? rc : fill_result(&t, a, e);
    trainer_close(&t);
    return rc;
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void put_number(json_t *o, const char *key, double v) {
    if (isfinite(v)) {
        json_object_set_new(o, key, json_real(v));
    }
}

static json_t *point_json(const struct train_point *p) {
    json_t *o = json_pack("{s:I, s:I}", "step", (json_int_t)p->step, "epoch", (json_int_t)p->epoch);
    put_number(o, "loss", p->loss);
    put_number(o, "lr", p->rate);
    put_number(o, "grad_norm", p->norm);
    put_number(o, "validation_loss", p->validation_loss);
    return o;
}

json_t *train_result_json(const struct train_result *r, bool curve) {
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:s, s:s, s:s}", "steps",
                          (json_int_t)r->n_steps, "epochs", (json_int_t)r->n_epochs, "rows",
                          (json_int_t)r->n_rows, "params", (json_int_t)r->n_params, "tokens",
                          (json_int_t)r->n_tokens, "loss_tokens", (json_int_t)r->n_loss_tokens,
                          "stopped_early", r->stopped_early, "resumed_from",
                          (json_int_t)r->resumed_from, "device", r->device, "base", r->base_type,
                          "compute", r->compute);
    json_t *phases = json_object();
    for (int i = 0; i < TRAIN_PHASES; i++) {
        put_number(phases, train_phase_names[i], r->phase_s[i]);
    }
    json_object_set_new(o, "phase_s", phases);
    put_number(o, "first_loss", r->first_loss);
    put_number(o, "last_loss", r->last_loss);
    put_number(o, "first_validation_loss", r->first_validation);
    put_number(o, "best_validation_loss", r->best_validation);
    put_number(o, "train_s", r->train_s);
    put_number(o, "first_step_s", r->first_step_s);
    put_number(o, "tokens_per_s", r->tokens_per_s);
    put_number(o, "forecast_bytes", r->forecast_bytes);
    put_number(o, "peak_bytes", r->peak_bytes);
    json_t *points = curve ? json_array() : NULL;
    for (size_t i = 0; curve && i < r->n_curve; i++) {
        json_array_append_new(points, point_json(&r->curve[i]));
    }
    if (points) {
        json_object_set_new(o, "curve", points);
    }
    return o;
}
