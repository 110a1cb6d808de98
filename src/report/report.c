#include "report/report.h"

#include "report/writers.h"

#include "base/fs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    report_writer_fn *write;
    bool many;        /* several runs in one report */
    const char *file; /* in the run directory; NULL for formats that are only printed */
} formats[] = {
    {"text", report_text, true, NULL},
    {"csv", report_csv, true, "metrics.csv"},
    {"json", report_json, false, "metrics.json"},
    {"html", report_html, true, "report.html"},
    {"md", report_md, true, NULL},
    {"openmetrics", report_openmetrics, false, NULL},
};
enum { N_FORMATS = sizeof(formats) / sizeof(formats[0]) };

const char *const report_format_names[] = {"text", "csv",         "json", "html",
                                           "md",   "openmetrics", NULL};
_Static_assert(sizeof(report_format_names) / sizeof(report_format_names[0]) == N_FORMATS + 1,
               "one name a format");

static void free_runs(struct report_run **runs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        report_run_free(runs[i]);
    }
    free(runs);
}

static int load_runs(const char *const *dirs, size_t n, const struct report_opts *opts,
                     struct report_run ***out, struct err *e) {
    struct report_run **runs = calloc(n, sizeof(void *)); /* POSIX: all pointers are alike */
    if (!runs) {
        err_set(e, EE_NOMEM, "report: out of memory");
        return EE_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        int rc = report_run_load(dirs[i], &runs[i], e);
        if (rc) {
            free_runs(runs, i);
            return rc;
        }
        runs[i]->data_dir = opts->data_dir;
        report_run_set_width(runs[i], opts->width);
    }
    *out = runs;
    return 0;
}

static int find_format(const char *name, size_t *at, struct err *e) {
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            *at = i;
            return 0;
        }
    }
    return err_set(e, EE_USAGE, "there is no report format \"%.40s\"", name);
}

int report_format(const char *const *run_dirs, size_t n, const char *format,
                  const struct report_opts *opts, struct buf *out, struct err *e) {
    static const struct report_opts none = {0};
    size_t f = 0;
    int rc = find_format(format, &f, e);
    if (rc) {
        return rc;
    }
    if (n == 0 || (n > 1 && !formats[f].many)) {
        return err_set(e, EE_USAGE, "%s reports show one run at a time", format);
    }
    struct report_run **runs = NULL;
    rc = load_runs(run_dirs, n, opts ? opts : &none, &runs, e);
    if (rc) {
        return rc;
    }
    rc = formats[f].write((const struct report_run *const *)runs, n, out, e);
    free_runs(runs, n);
    return rc ? rc : buf_check(out, "report", e);
}

static int write_file(const struct report_run *run, const char *run_dir, size_t f, struct err *e) {
    struct buf text;
    buf_init(&text);
    char *path = fs_join(run_dir, formats[f].file);
    int rc = path ? formats[f].write(&run, 1, &text, e) : err_set(e, EE_NOMEM, "out of memory");
    rc = rc ? rc : buf_check(&text, formats[f].file, e);
    rc = rc ? rc : fs_write_atomic(path, text.data, text.len, e);
    free(path);
    buf_release(&text);
    return rc;
}

int report_write_files(const char *run_dir, const char *data_dir, struct err *e) {
    struct report_run *run = NULL;
    int rc = report_run_load(run_dir, &run, e);
    if (!rc) {
        run->data_dir = data_dir;
    }
    for (size_t f = 0; !rc && f < N_FORMATS; f++) {
        if (formats[f].file) {
            rc = write_file(run, run_dir, f, e);
        }
    }
    report_run_free(run);
    return rc;
}
