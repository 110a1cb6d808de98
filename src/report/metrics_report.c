/* edge-eval metrics: one run's metrics under the costs of its plan, or under others. */
#include "report/report.h"

#include "report/economics.h"
#include "report/text_table.h"
#include "report/writers.h"

#include <string.h>

const char *const report_profile_names[] = {"paper", "full", NULL};

static bool knows_costs(const struct report_run *run) {
    return run->costing.is_given;
}

static int text_full(const struct report_run *run, const char *variant, struct buf *out,
                     struct err *e) {
    int rc = text_table(run, SUMMARY_FULL, out, e);
    if (rc) {
        return rc;
    }
    if (knows_costs(run)) {
        buf_addch(out, '\n');
        economics_sources(run, out);
        buf_addch(out, '\n');
        economics_table(run, out);
        const struct report_variant *v = economics_choose(run, variant);
        if (v) {
            economics_detail(run, v, out);
        }
    }
    economics_refusals(run, out);
    return 0;
}

static int text(const struct report_run *run, const struct report_metrics_opts *opts,
                struct buf *out, struct err *e) {
    text_header(run, out);
    if (run->n_variants == 0) {
        return 0;
    }
    bool is_paper = opts->profile && strcmp(opts->profile, "paper") == 0;
    return is_paper ? text_table(run, SUMMARY_PAPER, out, e)
                    : text_full(run, opts->variant, out, e);
}

static int check_variant(const struct report_run *run, const char *variant, struct err *e) {
    if (!variant || economics_choose(run, variant)) {
        return 0;
    }
    struct buf names;
    buf_init(&names);
    for (size_t i = 0; i < run->n_variants; i++) {
        buf_addf(&names, "%s%s", i ? ", " : "", run->variants[i].v.variant_id);
    }
    int rc = err_set(e, EE_USAGE, "the run has no variant \"%.60s\"; it has: %s", variant,
                     names.data);
    buf_release(&names);
    return rc;
}

int report_metrics(const char *run_dir, const struct report_metrics_opts *opts, struct buf *out,
                   struct err *e) {
    struct report_run *run = NULL;
    int rc = report_run_load_as(run_dir, &opts->what_if, &run, e);
    if (!rc) {
        report_run_set_width(run, opts->width);
    }
    rc = rc ? rc : check_variant(run, opts->variant, e);
    const struct report_run *const runs[] = {run};
    if (!rc && strcmp(opts->format, "csv") == 0) {
        rc = report_csv_profile(runs, 1, opts->profile, out, e);
    } else if (!rc && strcmp(opts->format, "json") == 0) {
        rc = report_json(runs, 1, out, e);
    } else if (!rc) {
        rc = text(run, opts, out, e);
    }
    report_run_free(run);
    return rc ? rc : buf_check(out, "metrics", e);
}
