/* The comparison for programs. */
#include "report/compare_impl.h"

#include "report/jobj.h"

#include <math.h>

enum { FORMAT_VERSION = 1 };

static struct jobj value_object(const struct compare_variant *c, enum compare_axis axis) {
    struct jobj o = jobj_new();
    const struct metric_row *row = c->rows[axis];
    jobj_put_num(&o, "value", compare_value(c, axis));
    jobj_put_num(&o, "low", row ? row->low : (double)NAN);
    jobj_put_num(&o, "high", row ? row->high : (double)NAN);
    jobj_put_str(&o, "unit", row ? row->metric->unit : NULL);
    jobj_put_str(&o, "label", row ? row->label : NULL);
    jobj_put_str(&o, "reason", row ? row->reason : "this build has no such metric");
    return o;
}

static struct jobj variant_object(const struct compare_group *g, const struct compare_variant *c) {
    struct jobj o = jobj_new();
    bool is_dominated = c->dominator < g->n;
    bool has_quality = !isnan(compare_value(c, COMPARE_QUALITY));
    jobj_put_str(&o, "name", c->name);
    jobj_put_str(&o, "run_id", c->run->run_id);
    jobj_put_str(&o, "variant_id", c->v->v.variant_id);
    jobj_put_str(&o, "scope", *c->scope ? c->scope : NULL);
    jobj_put_str(&o, "work", c->work);
    jobj_put(&o, "frontier", json_boolean(!is_dominated && has_quality));
    jobj_put_str(&o, "dominated_by", is_dominated ? g->variants[c->dominator].name : NULL);
    for (int k = 0; k < COMPARE_AXES; k++) {
        jobj_put_object(&o, compare_axes[k].id, value_object(c, (enum compare_axis)k));
    }
    return o;
}

static struct jobj change_object(const struct compare_change *c, enum compare_axis axis) {
    static const char *const verdicts[] = {"refused", "undetermined", "same", "less", "more"};
    struct jobj o = jobj_new();
    bool is_known = c->verdict != COMPARE_REFUSED;
    jobj_put_str(&o, "verdict", verdicts[c->verdict]);
    jobj_put_num(&o, axis == COMPARE_QUALITY ? "points" : "ratio",
                 is_known ? c->i.estimate : (double)NAN);
    jobj_put_num(&o, "low", is_known ? c->i.low : (double)NAN);
    jobj_put_num(&o, "high", is_known ? c->i.high : (double)NAN);
    jobj_put(&o, "n", is_known && c->i.n ? json_integer((json_int_t)c->i.n) : json_null());
    jobj_put_str(&o, "method", is_known ? c->i.method : NULL);
    jobj_put_str(&o, "reason", is_known ? c->i.reason : c->refused);
    if (axis == COMPARE_QUALITY) {
        jobj_put_num(&o, "holm_p", c->adjusted_p);
    }
    return o;
}

static struct jobj difference_object(const struct compare_difference *d) {
    struct jobj o = jobj_new();
    struct buf sentence;
    buf_init(&sentence);
    compare_sentence(d, &sentence);
    jobj_put_str(&o, "a", d->a->name);
    jobj_put_str(&o, "b", d->b->name);
    jobj_put_str(&o, "sentence", sentence.data);
    o.failed = o.failed || sentence.failed;
    buf_release(&sentence);
    for (int k = 0; k < COMPARE_AXES; k++) {
        jobj_put_object(&o, compare_axes[k].id,
                        change_object(&d->changes[k], (enum compare_axis)k));
    }
    return o;
}

static bool is_of(const struct compare_group *g, const struct compare_difference *d) {
    return d->a >= g->variants && d->a < g->variants + g->n;
}

static int add_group(const struct compare_group *g, const struct compare_differences *d,
                     struct jobj *doc, json_t *groups, struct err *e) {
    struct jobj o = jobj_new();
    struct arena a = ARENA_INIT;
    const char **notes = NULL;
    size_t n = 0;
    jobj_put_str(&o, "task", g->task);
    json_t *variants = json_array();
    for (size_t i = 0; i < g->n; i++) {
        jobj_append(&o, variants, variant_object(g, &g->variants[i]));
    }
    jobj_put(&o, "variants", variants);
    json_t *differences = json_array();
    for (size_t i = 0; i < d->n; i++) {
        if (is_of(g, &d->items[i])) {
            jobj_append(&o, differences, difference_object(&d->items[i]));
        }
    }
    jobj_put(&o, "differences", differences);
    json_t *list = json_array();
    int rc = compare_notes(g, &a, &notes, &n, e);
    for (size_t i = 0; !rc && i < n; i++) {
        o.failed = json_array_append_new(list, json_string(notes[i])) || o.failed;
    }
    jobj_put(&o, "notes", list);
    jobj_append(doc, groups, o);
    arena_release(&a);
    return rc;
}

int compare_json(const struct compare_set *s, const struct compare_differences *d, struct buf *out,
                 struct err *e) {
    struct jobj doc = jobj_new();
    jobj_put_str(&doc, "format", "edge-eval compare");
    jobj_put(&doc, "format_version", json_integer(FORMAT_VERSION));
    json_t *sets = json_array();
    for (size_t i = 0; s->what_if && i < s->what_if->n_sets; i++) {
        doc.failed = json_array_append_new(sets, json_string(s->what_if->sets[i])) || doc.failed;
    }
    jobj_put(&doc, "sets", sets);
    json_t *groups = json_array();
    int rc = 0;
    for (size_t i = 0; !rc && i < s->n_groups; i++) {
        rc = add_group(&s->groups[i], d, &doc, groups, e);
    }
    jobj_put(&doc, "groups", groups);
    if (rc) {
        json_decref(doc.json);
        return rc;
    }
    return jobj_write(&doc, "compare", out, e);
}
