/*
 * Idle power of a run: of the machine before the first stage, and of the machine with a model loaded and
 * waiting, which is what a replica without traffic draws.
 */
#include "base/buf.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "energy/baseline.h"
#include "lifecycle/run_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A device's power falls for some time after work; averaging sensors add a second. */
static const double settle_s = 2;

static bool is_measured(struct meter *m) {
    for (size_t i = 0; i < meter_n_components(m); i++) {
        struct meter_component c;
        meter_component_info(m, i, &c);
        if (!c.modelled) {
            return true;
        }
    }
    return false;
}

/*
 * Recordings and models have nothing to tell about this machine that another run should use: their
 * baselines stay with the run.
 */
static int get_baseline(struct run *r, const char *kind, double wait_s, struct baseline *out,
                        struct err *e) {
    bool of_machine = is_measured(r->meter) && !strstr(r->plan.energy.source, "replay:");
    char *own_dir = of_machine ? NULL : fs_join(r->dir, "idle");
    if (!of_machine && !own_dir) {
        return err_set(e, EE_NOMEM, "idle power: out of memory");
    }
    const struct baseline_opts opts = {.use = BASELINE_EITHER,
                                       .kind = kind,
                                       .dir = own_dir,
                                       .max_seconds = r->plan.energy.idle_s,
                                       .settle_s = wait_s};
    int rc = baseline_get(r->meter, &opts, out, e);
    free(own_dir);
    if (!rc && out->note[0]) {
        run_note(r, "idle power, %s: %s", kind, out->note);
    }
    return rc;
}

static json_t *components_json(const struct meter_idle *idle) {
    json_t *list = json_array();
    for (size_t i = 0; i < idle->n; i++) {
        if (idle->c[i].quality != METER_MISSING) {
            json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:f}", "name", idle->c[i].name,
                                                  "quality", meter_quality_name(idle->c[i].quality),
                                                  "mean_w", idle->c[i].mean_w, "half_width_w",
                                                  idle->c[i].half_width_w));
        }
    }
    return list;
}

int idle_measure_bare(struct run *r, struct err *e) {
    if (r->plan.energy.idle_s <= 0 || meter_n_components(r->meter) == 0) {
        return 0;
    }
    struct baseline b;
    int rc = get_baseline(r, "bare", 0, &b, e);
    if (rc) {
        return rc;
    }
    meter_set_idle(r->meter, &b.idle);
    struct buf text;
    buf_init(&text);
    json_t *v = json_pack("{s:f, s:b, s:f, s:o}", "seconds", b.idle.seconds, "settled",
                          b.idle.settled, "age_s", b.age_s, "components", components_json(&b.idle));
    rc = json_write(v, &text, e);
    rc = rc ? rc : store_meta_set(r->store, "idle_json", text.data, e);
    json_decref(v);
    buf_release(&text);
    return rc;
}

/* What the power of a loaded, waiting model depends on: its size and where it lies. */
static int resident_kind(struct run *r, const struct variant *v, char *out, size_t size,
                         struct err *e) {
    struct buf text;
    char hex[HASH_HEX_SIZE];
    const char *model = variant_has_file(v) ? run_model(r, v)->hash
                                            : v->model->served[v->precision];
    json_t *of = json_pack("{s:s, s:s, s:o}", "model", model, "precision",
                           precision_names[v->precision], "engine", run_engine_json(r));
    buf_init(&text);
    int rc = json_write(of, &text, e);
    if (!rc) {
        hash_bytes(text.data, text.len, hex);
        snprintf(out, size, "resident-%.40s-%.16s", v->model->id, hex);
    }
    json_decref(of);
    buf_release(&text);
    return rc;
}

static json_t *total_json(const struct meter_total *t) {
    if (t->quality == METER_MISSING) {
        return json_pack("{s:s}", "reason", t->reason);
    }
    return json_pack("{s:f, s:f, s:f, s:s, s:s}", "watts", t->mean_w, "low_w", t->low_j, "high_w",
                     t->high_j, "quality", meter_quality_name(t->quality), "scope", t->scope);
}

int idle_measure_resident(struct run *r, const struct variant *v, json_t **out, struct err *e) {
    char kind[96];
    struct baseline *b = NULL;
    struct meter_idle bare;
    struct meter_total with;
    struct meter_total without;
    *out = NULL;
    int rc = resident_kind(r, v, kind, sizeof(kind), e);
    bool measured = is_measured(r->meter);
    if (!rc && measured) {
        b = calloc(1, sizeof(*b));
        rc = b ? get_baseline(r, kind, settle_s, b, e)
               : err_set(e, EE_NOMEM, "idle power: out of memory");
    }
    if (!rc) {
        meter_idle_total(r->meter, b ? &b->idle : NULL, &with);
        meter_idle_total(r->meter, meter_get_idle(r->meter, &bare) ? &bare : NULL, &without);
        *out = json_pack("{s:o, s:o, s:f, s:b, s:f}", "resident", total_json(&with), "bare",
                         total_json(&without), "seconds", b ? b->idle.seconds : 0.0, "settled",
                         b ? b->idle.settled : 1, "age_s", b ? b->age_s : 0.0);
    }
    free(b);
    return rc;
}
