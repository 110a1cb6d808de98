#include "support/metric_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct quantity metric_joules(double value, const char *scope) {
    struct quantity q = quantity_of(value, 5);
    q.scope = scope;
    return q;
}

struct metric_table metric_table_of(const struct metrics_input *in) {
    struct metric_table t = {0};
    struct err e = ERR_INIT;
    t.rows = arena_array(&t.arena, metrics_count(), sizeof(*t.rows));
    assert_non_null(t.rows);
    assert_int_equal(metrics_compute(in, &t.arena, t.rows, &e), 0);
    return t;
}

const struct metric_row *metric_table_row(const struct metric_table *t, const char *profile,
                                          const char *id) {
    for (size_t i = 0; i < metrics_count(); i++) {
        const struct metric *m = t->rows[i].metric;
        if (strcmp(m->id, id) == 0 && (!profile || strcmp(m->profile, profile) == 0)) {
            return &t->rows[i];
        }
    }
    fail_msg("no metric %s", id);
    return NULL;
}

void metric_check_refused(const struct metric_row *r, const char *why) {
    if (!metric_refused(r) || !r->reason || !strstr(r->reason, why)) {
        fail_msg("%s is %g, reason \"%s\", want a refusal with \"%s\"", r->metric->id, r->value,
                 r->reason ? r->reason : "", why);
    }
}
