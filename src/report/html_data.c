/*
 * The data block of report.html: what its charts and its long tables are drawn from. Compact,
 * because a page of 72 variants has to fit a mail: texts are stored once and rows are arrays in the
 * order of the registry of metrics. Figures that the page computes with or hands on have all their
 * digits, those that it only draws have five.
 */
#include "report/html_parts.h"

#include "report/economics.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct data {
    json_t *texts;  /* array of strings */
    json_t *index;  /* text -> its place in texts */
    double power_s; /* wall time of all stages with a power curve */
    bool failed;
};

static json_t *number(double x) {
    return isfinite(x) ? json_real(x)
           : isnan(x)  ? json_null()
                       : json_string(x > 0 ? "inf" : "-inf");
}

/* What is only drawn or shown needs no more than five digits. */
static json_t *coarse(double x) {
    char text[32];
    snprintf(text, sizeof(text), "%.5g", x);
    return number(strtod(text, NULL));
}

static void append(struct data *d, json_t *array, json_t *value) {
    if (!value || json_array_append_new(array, value)) {
        d->failed = true;
    }
}

static void put(struct data *d, json_t *object, const char *key, json_t *value) {
    if (!value || json_object_set_new(object, key, value)) {
        d->failed = true;
    }
}

/* The text's place in d->texts, null for none. */
static json_t *text_ref(struct data *d, const char *text) {
    if (!text) {
        return json_null();
    }
    json_t *known = json_object_get(d->index, text);
    if (!known) {
        json_int_t place = (json_int_t)json_array_size(d->texts);
        append(d, d->texts, json_string(text));
        put(d, d->index, text, json_integer(place));
        return json_integer(place);
    }
    return json_incref(known);
}

static json_t *metrics_json(struct data *d) {
    json_t *all = json_array();
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric *m = metrics_at(i);
        append(d, all,
               json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?}", "id", m->id, "name", m->name, "unit",
                         m->unit, "profile", m->profile, "definition", m->definition, "formula",
                         m->formula));
    }
    return all;
}

/* [value, low, high, n, flags of modelled energy, label, reason] in the registry's order. */
static json_t *rows_json(struct data *d, const struct report_variant *v) {
    json_t *rows = json_array();
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric_row *r = &v->rows[i];
        append(d, rows,
               json_pack("[o, o, o, I, b, o, o]", number(r->value), number(r->low), number(r->high),
                         (json_int_t)r->n, (r->flags & QUANTITY_MODELLED) != 0,
                         text_ref(d, r->label), text_ref(d, r->reason)));
    }
    return rows;
}

static json_t *curve_json(struct data *d, const struct report_curve *c) {
    json_t *q = json_array();
    for (int i = 0; c->n && i < REPORT_CURVE_POINTS; i++) {
        append(d, q, coarse(c->q[i]));
    }
    return json_pack("{s:I, s:o}", "n", (json_int_t)c->n, "q", q);
}

/* [cache, main, backends, weights, context, first token], seconds since exec. */
static json_t *starts_json(struct data *d, const struct report_variant *v) {
    json_t *starts = json_array();
    for (size_t i = 0; i < v->n_starts; i++) {
        const struct store_cold_start *s = &v->starts[i];
        append(d, starts,
               json_pack("[s, o, o, o, o, o]", s->cache, coarse(s->main_s), coarse(s->backend_s),
                         coarse(s->weights_s), coarse(s->context_s), coarse(s->first_token_s)));
    }
    return starts;
}

/* Stages are told apart over all runs of the page: a run's ids begin behind those of the one before. */
static json_int_t stage_base(const struct report_run *const *runs, size_t r) {
    json_int_t base = 0;
    for (size_t i = 0; i < r; i++) {
        json_int_t last = 0;
        for (size_t k = 0; k < runs[i]->n_stages; k++) {
            json_int_t id = (json_int_t)runs[i]->stages[k].s.stage_id;
            last = id > last ? id : last;
        }
        base += last + 1;
    }
    return base;
}

static json_t *stage_ids_json(struct data *d, const struct report_variant *v, json_int_t base) {
    json_t *ids = json_object();
    for (int kind = 0; kind < REPORT_KINDS; kind++) {
        if (v->stages[kind]) {
            put(d, ids, report_kind_name((enum report_kind)kind),
                json_integer(base + v->stages[kind]->s.stage_id));
        }
    }
    return ids;
}

static json_t *econ_fields_json(struct data *d) {
    json_t *all = json_array();
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        const struct econ_field *f = econ_field(i);
        append(d, all,
               json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", f->name, "unit", f->unit, "about",
                         f->about, "low", number(f->low), "high",
                         isinf(f->high) ? json_null() : number(f->high)));
    }
    return all;
}

/* The fields' values in their order, null where one is not known. */
static json_t *econ_json(struct data *d, const struct report_variant *v) {
    struct econ x;
    json_t *all = json_array();
    economics_of(v, &x);
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        append(d, all, number(econ_at(&x, i)));
    }
    return all;
}

static json_t *price_json(const struct price_entry *entry, const char *field) {
    const bool is_usable = entry && !entry->problem &&
                           (!entry->currency || strcmp(entry->currency, "USD") == 0);
    return is_usable ? number(price_value(entry, field)) : json_null();
}

/* regions: [name, $/kWh, g/kWh]; apis: [name, uncached, cached, written, output] in $/Mtok. */
static json_t *prices_json(struct data *d, const struct report_run *run) {
    const struct price_book *book = &run->prices;
    json_t *regions = json_array();
    json_t *apis = json_array();
    for (size_t i = 0; i < book->n; i++) {
        const struct price_entry *p = &book->entries[i];
        if (p->kind == PRICE_ELECTRICITY) {
            append(d, regions,
                   json_pack("[s, o, o]", p->name, price_json(p, "per_kwh"),
                             price_json(prices_find(book, PRICE_CARBON, p->name), "g_per_kwh")));
        } else if (p->kind == PRICE_API) {
            append(d, apis,
                   json_pack("[s, o, o, o, o]", p->name, price_json(p, "input"),
                             price_json(p, "cached_input"), price_json(p, "cache_write"),
                             price_json(p, "output")));
        }
    }
    return json_pack("{s:o, s:o}", "regions", regions, "apis", apis);
}

static void add_variants(struct data *d, const struct report_run *run, size_t r, json_int_t base,
                         json_t *all) {
    for (size_t i = 0; i < run->n_variants; i++) {
        const struct report_variant *v = &run->variants[i];
        append(d, all,
               json_pack(
                   "{s:I, s:s?, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:o, s:o, "
                   "s:o, s:o, s:o, s:o, s:o, s:o}",
                   "run", (json_int_t)r, "scope", v->input.serve_j.scope, "score_max",
                   number(v->input.score_max), "id", v->v.variant_id, "model", v->v.model_id,
                   "family", v->v.family, "size", v->v.size, "task", v->v.task, "method",
                   v->v.method, "precision", v->v.precision, "engine", v->v.engine, "device",
                   v->v.device, "note", v->v.note, "rows", rows_json(d, v), "ttft",
                   curve_json(d, &v->ttft), "tpot", curve_json(d, &v->tpot), "itl",
                   curve_json(d, &v->itl), "e2e", curve_json(d, &v->e2e), "starts",
                   starts_json(d, v), "stages", stage_ids_json(d, v, base), "econ",
                   econ_json(d, v)));
    }
}

/* What to know of a window's reading beside its quality: "short; covers 97 %: why". */
static json_t *window_note(struct data *d, const struct store_energy *g) {
    struct buf note;
    buf_init(&note);
    buf_addstr(&note, g->is_short ? "; short" : "");
    if (isfinite(g->joules) && isfinite(g->coverage) && g->coverage < 0.995) {
        buf_addf(&note, "; covers %.0f %%", 100 * g->coverage);
    }
    if (isnan(g->joules) && g->reason) {
        buf_addf(&note, ": %s", g->reason);
    }
    json_t *ref = note.len ? text_ref(d, note.data) : json_null();
    d->failed = d->failed || note.failed;
    buf_release(&note);
    return ref;
}

/* One row a window and component: [window, component, seconds, J, above idle J, mean W, quality,
 * low J, high J, peak W, note]. */
static json_t *windows_json(struct data *d, const struct report_stage *st) {
    json_t *all = json_array();
    for (size_t i = 0; i < st->n_energies; i++) {
        const struct store_energy *g = &st->energies[i];
        append(d, all,
               json_pack("[o, o, o, o, o, o, o, o, o, o, o]", text_ref(d, g->window),
                         text_ref(d, g->component), coarse((g->end_ns - g->start_ns) / 1e9),
                         coarse(g->joules), coarse(g->above_idle_j), coarse(g->mean_w),
                         text_ref(d, g->quality), coarse(g->low_j), coarse(g->high_j),
                         coarse(g->peak_w), window_note(d, g)));
    }
    return all;
}

/* Of all stages' curves laid end to end: some for each pixel of a wide window. */
enum { POWER_POINTS = 3000, MIN_STAGE_POINTS = 4 };

/* How many points a stage's curve may take: its share of the time, as the chart's axis is time. */
static size_t power_points(const struct data *d, const struct report_stage *st) {
    double share = d->power_s > 0 ? POWER_POINTS * st->s.wall_s / d->power_s : 0;
    return share > MIN_STAGE_POINTS ? (size_t)share : MIN_STAGE_POINTS;
}

/* One [component, [start s, mean W, start s, mean W, ...]] a component; neighbours are averaged by
 * their lengths where there are too many, and where a model's correction at the end is below zero. */
static json_t *powers_json(struct data *d, const struct report_stage *st) {
    const size_t most = power_points(d, st);
    json_t *all = json_array();
    for (size_t i = 0; i < st->n_powers; i++) {
        const struct store_power *p = &st->powers[i];
        const size_t step = (p->n + most - 1) / most;
        json_t *flat = json_array();
        for (size_t k = 0, next = 0; k < p->n; k = next) {
            double joules = 0;
            double seconds = 0;
            for (next = k; next < p->n && (next < k + step || p->points[next].watts < 0); next++) {
                joules += p->points[next].watts * p->points[next].length_s;
                seconds += p->points[next].length_s;
            }
            append(d, flat, coarse(p->points[k].start_s));
            append(d, flat, coarse(joules / seconds));
        }
        append(d, all, json_pack("[o, o]", text_ref(d, p->component), flat));
    }
    return all;
}

/* [[step, mean loss of the steps up to the next point], ...] and [[step, validation loss], ...]. */
static json_t *training_json(struct data *d, const struct report_stage *st) {
    enum { MAX_POINTS = 200 };
    const size_t step = (st->n_trainings + MAX_POINTS - 1) / MAX_POINTS;
    json_t *loss = json_array();
    json_t *validation = json_array();
    for (size_t k = 0; k < st->n_trainings; k += step) {
        double sum = 0;
        size_t n = 0;
        for (size_t m = k; m < st->n_trainings && m < k + step; m++, n++) {
            sum += st->trainings[m].loss;
        }
        append(d, loss,
               json_pack("[I, o]", (json_int_t)st->trainings[k].step, coarse(sum / (double)n)));
    }
    for (size_t k = 0; k < st->n_trainings; k++) {
        if (isfinite(st->trainings[k].validation_loss)) {
            append(d, validation,
                   json_pack("[I, o]", (json_int_t)st->trainings[k].step,
                             coarse(st->trainings[k].validation_loss)));
        }
    }
    return json_pack("{s:o, s:o}", "loss", loss, "validation", validation);
}

static void add_stages(struct data *d, const struct report_run *run, size_t r, json_int_t base,
                       json_t *all) {
    for (size_t i = 0; i < run->n_stages; i++) {
        const struct report_stage *st = &run->stages[i];
        append(d, all,
               json_pack("{s:I, s:I, s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o}", "run", (json_int_t)r,
                         "id", base + (json_int_t)st->s.stage_id, "kind", st->s.kind, "title",
                         st->s.title, "failed", report_stage_failed(st), "started",
                         st->s.started_utc, "wall_s", coarse(st->s.wall_s), "windows",
                         windows_json(d, st), "power", powers_json(d, st), "training",
                         training_json(d, st)));
    }
}

/* A run that is given twice is numbered. */
static json_t *names_json(struct data *d, const struct report_run *const *runs, size_t n) {
    json_t *all = json_array();
    for (size_t r = 0; r < n; r++) {
        size_t before = 0;
        for (size_t i = 0; i < r; i++) {
            before += strcmp(runs[i]->run_id, runs[r]->run_id) == 0;
        }
        struct buf name;
        buf_init(&name);
        buf_addstr(&name, runs[r]->run_id);
        if (before) {
            buf_addf(&name, " #%zu", before + 1);
        }
        append(d, all, json_string(name.data));
        buf_release(&name);
    }
    return all;
}

/* Where all rows of a run are from that are no measurements of ours; null for the others. */
static json_t *sources_json(struct data *d, const struct report_run *const *runs, size_t n) {
    json_t *all = json_array();
    for (size_t r = 0; r < n; r++) {
        append(d, all, runs[r]->published ? json_string(runs[r]->published) : json_null());
    }
    return all;
}

static double power_seconds(const struct report_run *const *runs, size_t n) {
    double sum = 0;
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < runs[r]->n_stages; i++) {
            sum += runs[r]->stages[i].n_powers ? runs[r]->stages[i].s.wall_s : 0;
        }
    }
    return sum;
}

int html_data(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    struct data d = {
        .texts = json_array(), .index = json_object(), .power_s = power_seconds(runs, n)};
    json_t *metrics = metrics_json(&d);
    json_t *variants = json_array();
    json_t *stages = json_array();
    for (size_t r = 0; r < n; r++) {
        add_variants(&d, runs[r], r, stage_base(runs, r), variants);
        add_stages(&d, runs[r], r, stage_base(runs, r), stages);
    }
    json_t *all = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O}", "runs",
                            names_json(&d, runs, n), "sources", sources_json(&d, runs, n),
                            "metrics", metrics, "econ_fields", econ_fields_json(&d), "prices",
                            prices_json(&d, runs[0]), "variants", variants, "stages", stages,
                            "texts", d.texts);
    int rc = d.failed || !all ? err_set(e, EE_NOMEM, "report.html: out of memory")
                              : json_write(all, out, e);
    json_decref(all);
    json_decref(d.texts);
    json_decref(d.index);
    return rc;
}
