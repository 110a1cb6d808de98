#include "report/compare.h"

#include "report/compare_impl.h"

int compare_format(const char *const *run_dirs, size_t n, const struct compare_opts *opts,
                   struct buf *out, struct err *e) {
    struct compare_set *s = NULL;
    struct compare_differences d = {0};
    int rc = compare_set_load(run_dirs, n, opts->what_if, &s, e);
    if (!rc) {
        compare_set_width(s, opts->width);
    }
    rc = rc ? rc : compare_choose(s, opts->between, &d, e);
    rc = rc ? rc : (opts->as_json ? compare_json : compare_text)(s, &d, out, e);
    compare_set_free(s);
    return rc ? rc : buf_check(out, "compare", e);
}
