#include "report/costs.h"

#include "report/fmt.h"

#include "base/ydoc.h"

#include <string.h>

static int load_prices(struct store *s, struct report_run *run, const struct report_what_if *w,
                       struct err *e) {
    char *text = NULL;
    int rc = store_meta_get(s, "prices", &run->arena, &text, e);
    if (!rc && text) {
        rc = prices_load_bytes(text, strlen(text), "the run's prices", &run->arena, &run->prices,
                               e);
    } else if (!rc && w && w->fallback) {
        rc = prices_merge(w->fallback, &run->arena, &run->prices, e);
    }
    if (!rc && w && w->prices) {
        rc = prices_merge(w->prices, &run->arena, &run->prices, e);
    }
    return rc;
}

/*
 * What cannot be read is no reason to withhold a report, since plans of other versions are stored
 * too: *problem then says why there are no costs.
 */
static int read_plan(struct report_run *run, struct plan_cost *cost, const char **problem,
                     struct err *e) {
    struct ydoc *doc = NULL;
    int64_t seed = 1;
    *cost = (struct plan_cost){0};
    *problem = NULL;
    if (!run->plan_yaml) {
        return 0;
    }
    struct err ignored = ERR_INIT;
    int rc = ydoc_load_bytes(run->plan_yaml, strlen(run->plan_yaml), "the run's plan", &doc,
                             &ignored);
    if (rc) {
        return rc == EE_NOMEM ? err_set(e, EE_NOMEM, "report: out of memory") : 0;
    }
    struct ynode root = ydoc_root(doc);
    if (ynode_int(ymap_get(root, "seed"), "seed", 0, UINT32_MAX, &seed, &ignored)) {
        seed = 1;
    }
    run->seed = (uint64_t)seed;
    rc = plan_cost_read(ymap_get(root, "cost"), &run->arena, cost, &ignored);
    ydoc_free(doc);
    if (rc == EE_FORMAT) {
        *cost = (struct plan_cost){0};
        *problem = fmt_utf8(&run->arena, ignored.msg);
        rc = *problem ? 0 : EE_NOMEM;
    }
    return rc ? err_set(e, rc, "report: out of memory") : 0;
}

int report_load_costs(struct store *s, struct report_run *run, const struct report_what_if *what_if,
                      struct err *e) {
    struct plan_cost cost;
    const char *problem = NULL;
    const char *as_of = report_fact(run, "created_utc");
    int rc = load_prices(s, run, what_if, e);
    rc = rc ? rc : read_plan(run, &cost, &problem, e);
    for (size_t i = 0; !rc && what_if && i < what_if->n_sets; i++) {
        rc = plan_cost_set(what_if->sets[i], &run->arena, &cost, e);
    }
    if (what_if && what_if->as_of) {
        as_of = what_if->as_of;
    }
    rc = rc ? rc : costing_resolve(&cost, &run->prices, as_of, &run->arena, &run->costing, e);
    run->costing.problem = problem;
    return rc;
}
