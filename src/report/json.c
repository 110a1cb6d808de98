/* metrics.json: everything a report shows of one run, for programs. */
#include "report/economics.h"
#include "report/jobj.h"
#include "report/verdict.h"
#include "report/writers.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

enum { FORMAT_VERSION = 1 };

/* Stored JSON as it is; null where it does not parse. */
static void put_stored(struct jobj *o, const char *key, const char *text) {
    json_t *value = NULL;
    if (!text || json_parse(text, strlen(text), key, &value, NULL)) {
        value = json_null();
    }
    jobj_put(o, key, value);
}

static struct jobj paper_object(void) {
    struct jobj o = jobj_new();
    jobj_put_num(&o, "kwh_usd", paper_constants.kwh_usd);
    jobj_put_num(&o, "api_request_usd", paper_constants.api_request_usd);
    jobj_put_num(&o, "bytes_per_weight_fp16", paper_constants.bytes_per_weight_fp16);
    jobj_put_num(&o, "bytes_per_weight_int8", paper_constants.bytes_per_weight_int8);
    jobj_put_num(&o, "bytes_per_weight_int4", paper_constants.bytes_per_weight_int4);
    return o;
}

static void put_econ_fields(struct jobj *doc) {
    json_t *array = json_array();
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        const struct econ_field *f = econ_field(i);
        struct jobj o = jobj_new();
        jobj_put_str(&o, "name", f->name);
        jobj_put_str(&o, "unit", f->unit);
        jobj_put_str(&o, "about", f->about);
        jobj_put_num(&o, "low", f->low);
        jobj_put_num(&o, "high", f->high); /* null: no limit */
        jobj_put(&o, "varies", json_boolean(f->varies));
        jobj_append(doc, array, o);
    }
    jobj_put(doc, "econ_fields", array);
}

static void put_texts(struct jobj *o, const char *key, const char *const *texts, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        if (json_array_append_new(array, json_string(texts[i]))) {
            o->failed = true;
        }
    }
    jobj_put(o, key, array);
}

static void put_costing(struct jobj *doc, const struct costing *k) {
    struct jobj o = jobj_new();
    json_t *prices = json_array();
    jobj_put(&o, "is_given", json_boolean(k->is_given));
    for (size_t i = 0; i < k->n_uses; i++) {
        const struct price_entry *p = k->uses[i].entry;
        struct jobj price = jobj_new();
        jobj_put_str(&price, "kind", price_kind_names[p->kind]);
        jobj_put_str(&price, "name", p->name);
        jobj_put_str(&price, "source", p->source);
        jobj_put_str(&price, "date", p->date);
        jobj_put_str(&price, "note", p->note);
        jobj_put_str(&price, "quality", p->quality);
        jobj_put(&price, "is_stale", json_boolean(k->uses[i].is_stale));
        jobj_append(&o, prices, price);
    }
    jobj_put(&o, "prices", prices);
    put_texts(&o, "assumed", k->assumed, k->n_assumed);
    put_texts(&o, "excluded", k->excluded, k->n_excluded);
    jobj_put_object(doc, "costing", o);
}

static void put_metrics(struct jobj *doc) {
    json_t *array = json_array();
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric *m = metrics_at(i);
        struct jobj o = jobj_new();
        jobj_put_str(&o, "id", m->id);
        jobj_put_str(&o, "name", m->name);
        jobj_put_str(&o, "unit", m->unit);
        jobj_put_str(&o, "profile", m->profile);
        jobj_put_str(&o, "definition", m->definition);
        jobj_put_str(&o, "formula", m->formula);
        jobj_append(doc, array, o);
    }
    jobj_put(doc, "metrics", array);
}

static struct jobj energy_object(const struct store_energy *g) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "window", g->window);
    jobj_put_num(&o, "seconds", (g->end_ns - g->start_ns) / 1e9);
    jobj_put_str(&o, "component", g->component);
    jobj_put_str(&o, "scope", g->scope);
    jobj_put_str(&o, "source", g->source);
    jobj_put_str(&o, "quality", g->quality);
    jobj_put_num(&o, "joules", g->joules);
    jobj_put_num(&o, "low_j", g->low_j);
    jobj_put_num(&o, "high_j", g->high_j);
    jobj_put_num(&o, "above_idle_j", g->above_idle_j);
    jobj_put_num(&o, "idle_w", g->idle_w);
    jobj_put_num(&o, "mean_w", g->mean_w);
    jobj_put_num(&o, "peak_w", g->peak_w);
    jobj_put_num(&o, "coverage", g->coverage);
    jobj_put(&o, "is_short", json_boolean(g->is_short));
    jobj_put_str(&o, "reason", g->reason);
    return o;
}

static void put_stages(struct jobj *doc, const struct report_run *run) {
    json_t *array = json_array();
    for (size_t i = 0; i < run->n_stages; i++) {
        const struct report_stage *st = &run->stages[i];
        struct jobj o = jobj_new();
        jobj_put(&o, "stage_id", json_integer(st->s.stage_id));
        jobj_put_str(&o, "kind", st->s.kind);
        jobj_put_str(&o, "title", st->s.title);
        jobj_put_str(&o, "status", st->s.status);
        jobj_put_str(&o, "error_code", st->s.error_code);
        jobj_put_str(&o, "error", st->s.error);
        jobj_put_str(&o, "started_utc", st->s.started_utc);
        jobj_put_num(&o, "wall_s", st->s.wall_s);
        jobj_put_str(&o, "machine_id", st->s.machine_id);
        put_stored(&o, "inputs", st->s.inputs_json);
        put_stored(&o, "result", st->s.result_json);
        json_t *energies = json_array();
        for (size_t j = 0; j < st->n_energies; j++) {
            jobj_append(&o, energies, energy_object(&st->energies[j]));
        }
        jobj_put(&o, "energy", energies);
        jobj_append(doc, array, o);
    }
    jobj_put(doc, "stages", array);
}

static struct jobj row_object(const struct metric_row *r) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "metric", r->metric->id);
    jobj_put_str(&o, "profile", r->metric->profile);
    jobj_put_num(&o, "value", r->value);
    jobj_put(&o, "infinite", json_boolean(isinf(r->value)));
    jobj_put_num(&o, "low", r->low);
    jobj_put_num(&o, "high", r->high);
    jobj_put(&o, "n", r->n ? json_integer((json_int_t)r->n) : json_null());
    jobj_put_str(&o, "unit", r->metric->unit);
    jobj_put_str(&o, "label", r->label);
    jobj_put_str(&o, "reason", r->reason);
    return o;
}

/* Infinity is null here: a figure that is known is either a number or never. */
static void put_tornado(struct jobj *o, const struct econ *x) {
    struct econ_bar bars[ECON_FIELDS];
    size_t n = econ_tornado(x, econ_n_break_planned, bars);
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        struct jobj bar = jobj_new();
        jobj_put_str(&bar, "field", econ_field(bars[i].field)->name);
        jobj_put_num(&bar, "n_break_20_less", bars[i].at_low);
        jobj_put_num(&bar, "n_break_20_more", bars[i].at_high);
        jobj_append(o, array, bar);
    }
    jobj_put(o, "tornado", array);
}

static void put_curve(struct jobj *o, const struct econ *x) {
    struct economics_point points[ECONOMICS_POINTS];
    economics_curve(x, points);
    json_t *array = json_array();
    for (size_t i = 0; i < ECONOMICS_POINTS; i++) {
        struct jobj point = jobj_new();
        jobj_put_num(&point, "traffic_per_h", points[i].traffic_per_h);
        jobj_put_num(&point, "replicas", points[i].replicas);
        jobj_put_num(&point, "own_usd_per_h", points[i].own_usd_per_h);
        jobj_put_num(&point, "api_usd_per_h", points[i].api_usd_per_h);
        jobj_put_num(&point, "n_break", points[i].n_break);
        jobj_append(o, array, point);
    }
    jobj_put(o, "curve", array);
}

static void put_paying(struct jobj *o, const struct econ *x) {
    enum { MOST = 64 };
    struct econ_range ranges[MOST];
    double always_from = 0;
    size_t n = econ_paying(x, ranges, MOST, &always_from);
    json_t *array = json_array();
    for (size_t i = 0; i < n && i < MOST; i++) {
        struct jobj range = jobj_new();
        jobj_put_num(&range, "low", ranges[i].low);
        jobj_put_num(&range, "high", ranges[i].high);
        jobj_append(o, array, range);
    }
    jobj_put(o, "paying", array);
    jobj_put(o, "n_paying", json_integer((json_int_t)n));
    jobj_put_num(o, "always_from_per_h", always_from);
}

/* What docs/metrics.md computes with, so that another program can go on from here. */
static struct jobj economics_object(const struct report_variant *v) {
    struct jobj o = jobj_new();
    struct jobj fields = jobj_new();
    struct econ x;
    bool is_known = economics_of(v, &x);
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        jobj_put_num(&fields, econ_field(i)->name, econ_at(&x, i));
    }
    jobj_put_object(&o, "fields", fields);
    jobj_put(&o, "is_complete", json_boolean(is_known));
    if (is_known) {
        put_paying(&o, &x);
        put_tornado(&o, &x);
        put_curve(&o, &x);
    }
    return o;
}

static struct jobj variant_object(const struct report_variant *v) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "variant_id", v->v.variant_id);
    jobj_put_str(&o, "model_id", v->v.model_id);
    jobj_put_str(&o, "family", v->v.family);
    jobj_put_str(&o, "size", v->v.size);
    jobj_put_str(&o, "method", v->v.method);
    jobj_put_str(&o, "task", v->v.task);
    jobj_put_str(&o, "precision", v->v.precision);
    jobj_put_str(&o, "engine", v->v.engine);
    jobj_put_str(&o, "device", v->v.device);
    jobj_put_num(&o, "params", v->v.params);
    jobj_put_str(&o, "note", v->v.note);
    struct jobj stages = jobj_new();
    for (int kind = 0; kind < REPORT_KINDS; kind++) {
        if (v->stages[kind]) {
            jobj_put(&stages, report_kind_name(kind), json_integer(v->stages[kind]->s.stage_id));
        }
    }
    jobj_put_object(&o, "stages", stages);
    json_t *rows = json_array();
    for (size_t i = 0; i < metrics_count(); i++) {
        jobj_append(&o, rows, row_object(&v->rows[i]));
    }
    jobj_put(&o, "rows", rows);
    jobj_put_object(&o, "economics", economics_object(v));
    return o;
}

static void put_run(struct jobj *doc, const struct report_run *run) {
    struct jobj facts = jobj_new();
    jobj_put_str(&facts, "run_id", run->run_id);
    for (size_t i = 0; i < run->n_facts; i++) {
        jobj_put_str(&facts, run->facts[i].key, run->facts[i].value);
    }
    jobj_put_str(&facts, "plan_yaml", run->plan_yaml);
    put_stored(&facts, "idle", run->idle_json);
    jobj_put_object(doc, "run", facts);
    struct jobj machines = jobj_new();
    for (size_t i = 0; i < run->n_machines; i++) {
        put_stored(&machines, run->machines[i].machine_id, run->machines[i].json);
    }
    jobj_put_object(doc, "machines", machines);
}

static int put_verdict(struct jobj *doc, const struct report_run *run, struct err *e) {
    static const char *const keys[VERDICT_PARTS] = {
        [VERDICT_WHICH] = "which", [VERDICT_PAYS] = "pays", [VERDICT_SURE] = "sure"};
    struct arena a = ARENA_INIT;
    struct jobj o = jobj_new();
    struct verdict_text v;
    int rc = verdict_write(&run, 1, &a, &v, e);
    if (!rc) {
        put_texts(&o, "brief", v.brief, v.brief[VERDICT_WHICH] ? VERDICT_PARTS : 0);
    }
    for (int part = 0; !rc && part < VERDICT_PARTS; part++) {
        put_texts(&o, keys[part], v.items[part], v.n[part]);
    }
    jobj_put_object(doc, "verdict", o);
    arena_release(&a);
    return rc;
}

int report_json(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        struct jobj doc = jobj_new();
        jobj_put(&doc, "format", json_string("edge-eval metrics"));
        jobj_put(&doc, "format_version", json_integer(FORMAT_VERSION));
        put_run(&doc, runs[i]);
        int rc = put_verdict(&doc, runs[i], e);
        jobj_put_object(&doc, "paper_constants", paper_object());
        put_metrics(&doc);
        put_econ_fields(&doc);
        put_costing(&doc, &runs[i]->costing);
        json_t *variants = json_array();
        for (size_t j = 0; j < runs[i]->n_variants; j++) {
            jobj_append(&doc, variants, variant_object(&runs[i]->variants[j]));
        }
        jobj_put(&doc, "variants", variants);
        put_stages(&doc, runs[i]);
        if (rc) {
            json_decref(doc.json);
            return rc;
        }
        rc = jobj_write(&doc, "metrics.json", out, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}
