/* Sums of a reading's components. Pure. */
#include "energy/meter.h"
#include "energy/note.h"

#include <math.h>
#include <string.h>

static bool wanted(const char *name, const char *const *names, size_t n_names) {
    for (size_t i = 0; i < n_names; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return names == NULL;
}

static const struct component_reading *component_named(const struct meter_reading *r,
                                                       const char *name) {
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->c[i].name, name) == 0) {
            return &r->c[i];
        }
    }
    return NULL;
}

/* What people call a scope. */
static const char *scope_word(const char *scope) {
    static const struct {
        const char *scope, *word;
    } words[] = {{"gpu", "GPU"},   {"module", "module"},       {"cpu", "CPU"},
                 {"dram", "DRAM"}, {"cpu+dram", "CPU + DRAM"}, {"wall", "wall"},
                 {"node", "node"}, {"battery", "battery"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(scope, words[i].scope) == 0) {
            return words[i].word;
        }
    }
    return scope;
}

/* "GPU + CPU (modelled)": each scope once, in the order of the components; "GPU only". */
static void describe_scope(struct meter_total *t, const struct component_reading *const *parts,
                           size_t n) {
    size_t distinct = 0;
    bool modelled = false;
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++) {
            seen = seen || strcmp(parts[k]->scope, parts[i]->scope) == 0;
        }
        if (seen) {
            continue;
        }
        bool model = parts[i]->modelled;
        note_add(t->scope, sizeof(t->scope), " + ", "%s%s", scope_word(parts[i]->scope),
                 model ? " (modelled)" : "");
        modelled = modelled || model;
        distinct++;
    }
    if (distinct == 1 && !modelled) {
        note_add(t->scope, sizeof(t->scope), "", " only");
    }
}

static void add_part(struct meter_total *t, const struct component_reading *c) {
    t->joules += c->joules;
    t->low_j += c->low_j;
    t->high_j += c->high_j;
    t->gain_j += c->gain * c->joules;
    t->mean_w += c->mean_w;
    t->quality = c->quality > t->quality ? c->quality : t->quality;
    t->coverage = c->coverage < t->coverage ? c->coverage : t->coverage;
    t->is_short = t->is_short || c->is_short;
    t->shared = t->shared || c->shared;
    t->has_idle = t->has_idle && c->has_idle;
    t->idle_w += c->idle_w;
    t->above_idle_j += c->above_idle_j;
    t->above_idle_low_j += c->above_idle_low_j;
    t->above_idle_high_j += c->above_idle_high_j;
}

static void make_missing(struct meter_total *t) {
    t->quality = METER_MISSING;
    t->joules = t->low_j = t->high_j = t->gain_j = t->mean_w = NAN;
    t->coverage = 0;
    t->has_idle = false;
    t->idle_w = t->above_idle_j = t->above_idle_low_j = t->above_idle_high_j = 0;
}

/* Fills parts with what the sum is of; returns how many they are. */
static size_t choose_parts(const struct meter_reading *r, const char *const *names, size_t n_names,
                           const struct component_reading **parts) {
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (wanted(r->c[i].name, names, n_names) && (names || !r->c[i].whole)) {
            parts[n++] = &r->c[i];
        }
    }
    if (n == 0 && !names && r->n > 0) {
        parts[n++] = &r->c[0]; /* several would each be the whole machine: the first is enough */
    }
    return n;
}

void meter_total(const struct meter_reading *r, const char *const *names, size_t n_names,
                 struct meter_total *out) {
    const struct component_reading *parts[METER_MAX_COMPONENTS];
    size_t n = choose_parts(r, names, n_names, parts);
    memset(out, 0, sizeof(*out));
    out->coverage = 1;
    out->has_idle = true;
    for (size_t i = 0; i < n; i++) {
        add_part(out, parts[i]);
        if (parts[i]->quality == METER_MISSING) {
            note_add(out->reason, sizeof(out->reason), "; ", "%s: %s", parts[i]->name,
                     parts[i]->reason);
        }
    }
    for (size_t i = 0; names && i < n_names; i++) {
        if (!component_named(r, names[i])) {
            note_add(out->reason, sizeof(out->reason), "; ", "%s: no such component", names[i]);
        }
    }
    if (n == 0 && !out->reason[0]) {
        note_set(out->reason, sizeof(out->reason), "no energy sensor is in use");
    }
    describe_scope(out, parts, n);
    if (out->reason[0]) {
        make_missing(out);
    }
}
