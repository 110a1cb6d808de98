/* metrics.json: everything a report shows of one run, for programs. */
#include "report/economics.h"
#include "report/writers.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

enum { FORMAT_VERSION = 1 };

/* An object being filled; one failed allocation marks it, and the end asks once. */
struct object {
    json_t *json;
    bool failed;
};

static struct object object_new(void) {
    json_t *json = json_object();
    return (struct object){.json = json, .failed = !json};
}

/* Takes over value. */
static void put(struct object *o, const char *key, json_t *value) {
    if (!value || json_object_set_new(o->json, key, value)) {
        o->failed = true;
    }
}

static void put_str(struct object *o, const char *key, const char *s) {
    put(o, key, s ? json_string(s) : json_null());
}

/* JSON has neither NAN nor infinity: both are null, and the caller says which it was. */
static void put_num(struct object *o, const char *key, double x) {
    put(o, key, isfinite(x) ? json_real(x) : json_null());
}

static void put_object(struct object *o, const char *key, struct object child) {
    o->failed = o->failed || child.failed;
    put(o, key, child.json);
}

static void append_object(struct object *o, json_t *array, struct object child) {
    o->failed = o->failed || child.failed;
    if (json_array_append_new(array, child.json)) {
        o->failed = true;
    }
}

/* Stored JSON as it is; null where it does not parse. */
static void put_stored(struct object *o, const char *key, const char *text) {
    json_t *value = NULL;
    if (!text || json_parse(text, strlen(text), key, &value, NULL)) {
        value = json_null();
    }
    put(o, key, value);
}

static struct object paper_object(void) {
    struct object o = object_new();
    put_num(&o, "kwh_usd", paper_constants.kwh_usd);
    put_num(&o, "api_request_usd", paper_constants.api_request_usd);
    put_num(&o, "bytes_per_weight_fp16", paper_constants.bytes_per_weight_fp16);
    put_num(&o, "bytes_per_weight_int8", paper_constants.bytes_per_weight_int8);
    put_num(&o, "bytes_per_weight_int4", paper_constants.bytes_per_weight_int4);
    return o;
}

static void put_econ_fields(struct object *doc) {
    json_t *array = json_array();
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        const struct econ_field *f = econ_field(i);
        struct object o = object_new();
        put_str(&o, "name", f->name);
        put_str(&o, "unit", f->unit);
        put_str(&o, "about", f->about);
        put_num(&o, "low", f->low);
        put_num(&o, "high", f->high); /* null: no limit */
        put(&o, "varies", json_boolean(f->varies));
        append_object(doc, array, o);
    }
    put(doc, "econ_fields", array);
}

static void put_texts(struct object *o, const char *key, const char *const *texts, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        if (json_array_append_new(array, json_string(texts[i]))) {
            o->failed = true;
        }
    }
    put(o, key, array);
}

static void put_costing(struct object *doc, const struct costing *k) {
    struct object o = object_new();
    json_t *prices = json_array();
    put(&o, "is_given", json_boolean(k->is_given));
    for (size_t i = 0; i < k->n_uses; i++) {
        const struct price_entry *p = k->uses[i].entry;
        struct object price = object_new();
        put_str(&price, "kind", price_kind_names[p->kind]);
        put_str(&price, "name", p->name);
        put_str(&price, "source", p->source);
        put_str(&price, "date", p->date);
        put_str(&price, "note", p->note);
        put(&price, "is_stale", json_boolean(k->uses[i].is_stale));
        append_object(&o, prices, price);
    }
    put(&o, "prices", prices);
    put_texts(&o, "assumed", k->assumed, k->n_assumed);
    put_texts(&o, "excluded", k->excluded, k->n_excluded);
    put_object(doc, "costing", o);
}

static void put_metrics(struct object *doc) {
    json_t *array = json_array();
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric *m = metrics_at(i);
        struct object o = object_new();
        put_str(&o, "id", m->id);
        put_str(&o, "name", m->name);
        put_str(&o, "unit", m->unit);
        put_str(&o, "profile", m->profile);
        put_str(&o, "definition", m->definition);
        put_str(&o, "formula", m->formula);
        append_object(doc, array, o);
    }
    put(doc, "metrics", array);
}

static struct object energy_object(const struct store_energy *g) {
    struct object o = object_new();
    put_str(&o, "window", g->window);
    put_num(&o, "seconds", (g->end_ns - g->start_ns) / 1e9);
    put_str(&o, "component", g->component);
    put_str(&o, "scope", g->scope);
    put_str(&o, "source", g->source);
    put_str(&o, "quality", g->quality);
    put_num(&o, "joules", g->joules);
    put_num(&o, "low_j", g->low_j);
    put_num(&o, "high_j", g->high_j);
    put_num(&o, "above_idle_j", g->above_idle_j);
    put_num(&o, "idle_w", g->idle_w);
    put_num(&o, "mean_w", g->mean_w);
    put_num(&o, "peak_w", g->peak_w);
    put_num(&o, "coverage", g->coverage);
    put(&o, "is_short", json_boolean(g->is_short));
    put_str(&o, "reason", g->reason);
    return o;
}

static void put_stages(struct object *doc, const struct report_run *run) {
    json_t *array = json_array();
    for (size_t i = 0; i < run->n_stages; i++) {
        const struct report_stage *st = &run->stages[i];
        struct object o = object_new();
        put(&o, "stage_id", json_integer(st->s.stage_id));
        put_str(&o, "kind", st->s.kind);
        put_str(&o, "title", st->s.title);
        put_str(&o, "status", st->s.status);
        put_str(&o, "error_code", st->s.error_code);
        put_str(&o, "error", st->s.error);
        put_str(&o, "started_utc", st->s.started_utc);
        put_num(&o, "wall_s", st->s.wall_s);
        put_str(&o, "machine_id", st->s.machine_id);
        put_stored(&o, "inputs", st->s.inputs_json);
        put_stored(&o, "result", st->s.result_json);
        json_t *energies = json_array();
        for (size_t j = 0; j < st->n_energies; j++) {
            append_object(&o, energies, energy_object(&st->energies[j]));
        }
        put(&o, "energy", energies);
        append_object(doc, array, o);
    }
    put(doc, "stages", array);
}

static struct object row_object(const struct metric_row *r) {
    struct object o = object_new();
    put_str(&o, "metric", r->metric->id);
    put_str(&o, "profile", r->metric->profile);
    put_num(&o, "value", r->value);
    put(&o, "infinite", json_boolean(isinf(r->value)));
    put_num(&o, "low", r->low);
    put_num(&o, "high", r->high);
    put(&o, "n", r->n ? json_integer((json_int_t)r->n) : json_null());
    put_str(&o, "unit", r->metric->unit);
    put_str(&o, "label", r->label);
    put_str(&o, "reason", r->reason);
    return o;
}

/* Infinity is null here: a figure that is known is either a number or never. */
static void put_tornado(struct object *o, const struct econ *x) {
    struct econ_bar bars[ECON_FIELDS];
    size_t n = econ_tornado(x, econ_n_break_planned, bars);
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        struct object bar = object_new();
        put_str(&bar, "field", econ_field(bars[i].field)->name);
        put_num(&bar, "n_break_20_less", bars[i].at_low);
        put_num(&bar, "n_break_20_more", bars[i].at_high);
        append_object(o, array, bar);
    }
    put(o, "tornado", array);
}

static void put_curve(struct object *o, const struct econ *x) {
    struct economics_point points[ECONOMICS_POINTS];
    economics_curve(x, points);
    json_t *array = json_array();
    for (size_t i = 0; i < ECONOMICS_POINTS; i++) {
        struct object point = object_new();
        put_num(&point, "traffic_per_h", points[i].traffic_per_h);
        put_num(&point, "replicas", points[i].replicas);
        put_num(&point, "own_usd_per_h", points[i].own_usd_per_h);
        put_num(&point, "api_usd_per_h", points[i].api_usd_per_h);
        put_num(&point, "n_break", points[i].n_break);
        append_object(o, array, point);
    }
    put(o, "curve", array);
}

static void put_paying(struct object *o, const struct econ *x) {
    enum { MOST = 64 };
    struct econ_range ranges[MOST];
    double always_from = 0;
    size_t n = econ_paying(x, ranges, MOST, &always_from);
    json_t *array = json_array();
    for (size_t i = 0; i < n && i < MOST; i++) {
        struct object range = object_new();
        put_num(&range, "low", ranges[i].low);
        put_num(&range, "high", ranges[i].high);
        append_object(o, array, range);
    }
    put(o, "paying", array);
    put(o, "n_paying", json_integer((json_int_t)n));
    put_num(o, "always_from_per_h", always_from);
}

/* What docs/metrics.md computes with, so that another program can go on from here. */
static struct object economics_object(const struct report_variant *v) {
    struct object o = object_new();
    struct object fields = object_new();
    struct econ x;
    bool is_known = economics_of(v, &x);
    for (size_t i = 0; i < ECON_FIELDS; i++) {
        put_num(&fields, econ_field(i)->name, econ_at(&x, i));
    }
    put_object(&o, "fields", fields);
    put(&o, "is_complete", json_boolean(is_known));
    if (is_known) {
        put_paying(&o, &x);
        put_tornado(&o, &x);
        put_curve(&o, &x);
    }
    return o;
}

static struct object variant_object(const struct report_variant *v) {
    struct object o = object_new();
    put_str(&o, "variant_id", v->v.variant_id);
    put_str(&o, "model_id", v->v.model_id);
    put_str(&o, "family", v->v.family);
    put_str(&o, "size", v->v.size);
    put_str(&o, "method", v->v.method);
    put_str(&o, "task", v->v.task);
    put_str(&o, "precision", v->v.precision);
    put_str(&o, "engine", v->v.engine);
    put_str(&o, "device", v->v.device);
    put_num(&o, "params", v->v.params);
    put_str(&o, "note", v->v.note);
    struct object stages = object_new();
    for (int kind = 0; kind < REPORT_KINDS; kind++) {
        if (v->stages[kind]) {
            put(&stages, report_kind_name(kind), json_integer(v->stages[kind]->s.stage_id));
        }
    }
    put_object(&o, "stages", stages);
    json_t *rows = json_array();
    for (size_t i = 0; i < metrics_count(); i++) {
        append_object(&o, rows, row_object(&v->rows[i]));
    }
    put(&o, "rows", rows);
    put_object(&o, "economics", economics_object(v));
    return o;
}

static void put_run(struct object *doc, const struct report_run *run) {
    struct object facts = object_new();
    put_str(&facts, "run_id", run->run_id);
    for (size_t i = 0; i < run->n_facts; i++) {
        put_str(&facts, run->facts[i].key, run->facts[i].value);
    }
    put_str(&facts, "plan_yaml", run->plan_yaml);
    put_stored(&facts, "idle", run->idle_json);
    put_object(doc, "run", facts);
    struct object machines = object_new();
    for (size_t i = 0; i < run->n_machines; i++) {
        put_stored(&machines, run->machines[i].machine_id, run->machines[i].json);
    }
    put_object(doc, "machines", machines);
}

int report_json(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        struct object doc = object_new();
        put(&doc, "format", json_string("edge-eval metrics"));
        put(&doc, "format_version", json_integer(FORMAT_VERSION));
        put_run(&doc, runs[i]);
        put_object(&doc, "paper_constants", paper_object());
        put_metrics(&doc);
        put_econ_fields(&doc);
        put_costing(&doc, &runs[i]->costing);
        json_t *variants = json_array();
        for (size_t j = 0; j < runs[i]->n_variants; j++) {
            append_object(&doc, variants, variant_object(&runs[i]->variants[j]));
        }
        put(&doc, "variants", variants);
        put_stages(&doc, runs[i]);
        int rc = doc.failed ? err_set(e, EE_NOMEM, "metrics.json: out of memory")
                            : json_write(doc.json, out, e);
        json_decref(doc.json);
        if (rc) {
            return rc;
        }
        buf_addch(out, '\n');
    }
    return 0;
}
