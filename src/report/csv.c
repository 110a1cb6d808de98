/* metrics.csv: one row a variant and metric, refused ones included. */
#include "report/writers.h"

#include "report/fmt.h"

#include <math.h>
#include <string.h>

static const char header[] = "run_id,variant_id,family,size,method,task,precision,engine,device,"
                             "metric,profile,value,low,high,n,unit,label,reason\n";

static void add_row(struct buf *out, const char *run_id, const struct store_variant *v,
                    const struct metric_row *r) {
    const char *const keys[] = {run_id,    v->variant_id, v->family,         v->size,
                                v->method, v->task,       v->precision,      v->engine,
                                v->device, r->metric->id, r->metric->profile};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        fmt_csv(out, keys[i]);
        buf_addch(out, ',');
    }
    const double figures[] = {r->value, r->low, r->high};
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        fmt_full(out, figures[i]); /* nothing for NAN */
        buf_addch(out, ',');
    }
    if (r->n) {
        buf_addf(out, "%zu", r->n);
    }
    const char *const texts[] = {r->metric->unit, r->label, r->reason};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        buf_addch(out, ',');
        fmt_csv(out, texts[i]);
    }
    buf_addch(out, '\n');
}

static bool is_wanted(const struct metric *m, const char *profile) {
    return !profile || strcmp(m->profile, profile) == 0 || strcmp(m->profile, "measured") == 0;
}

int report_csv_profile(const struct report_run *const *runs, size_t n, const char *profile,
                       struct buf *out, struct err *e) {
    (void)e;
    buf_addstr(out, header);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < runs[i]->n_variants; j++) {
            const struct report_variant *v = &runs[i]->variants[j];
            for (size_t k = 0; k < metrics_count(); k++) {
                if (is_wanted(v->rows[k].metric, profile)) {
                    add_row(out, runs[i]->run_id, &v->v, &v->rows[k]);
                }
            }
        }
    }
    return 0;
}

int report_csv(const struct report_run *const *runs, size_t n, struct buf *out, struct err *e) {
    return report_csv_profile(runs, n, NULL, out, e);
}
