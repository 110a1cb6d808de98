/*
 * Reports of runs: text and Markdown tables for people, CSV and JSON for programs, one HTML page
 * to keep. Each is made from the run's store alone, so equal stores give equal bytes, on any
 * machine and at any later time; the page's as long as zlib is the same. docs/report.md describes
 * the formats.
 */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "report/collect.h"

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

/* "text", "csv", ...: the formats of report_format, ended by NULL. */
extern const char *const report_format_names[];

struct report_opts {
    const char *data_dir; /* the boards that the page's audit knows; NULL: none */
    size_t width;         /* columns of a terminal; 0: REPORT_WIDTH. Read by format text */
};
/*
 * Appends the report of n runs to out; opts NULL: none. Formats that hold one run only (json,
 * openmetrics) refuse more with EE_USAGE.
 */
int report_format(const char *const *run_dirs, size_t n, const char *format,
                  const struct report_opts *opts, struct buf *out, struct err *e) EE_MUST_CHECK;

/* "paper", "full", ended by NULL. */
extern const char *const report_profile_names[];

/* What report_metrics shows of a run. */
struct report_metrics_opts {
    struct report_what_if what_if;
    const char *profile; /* of report_profile_names; NULL: full as text, all as csv and json */
    const char *format;  /* text, csv or json */
    size_t width;        /* columns of a terminal; 0: REPORT_WIDTH */
    const char *variant; /* whose tornado and curve are shown; NULL: the cheapest */
};
/* Appends the metrics of one run, with its economics. */
int report_metrics(const char *run_dir, const struct report_metrics_opts *opts, struct buf *out,
                   struct err *e) EE_MUST_CHECK;

/* Writes metrics.csv, metrics.json and report.html into the run directory, each at once. */
int report_write_files(const char *run_dir, const char *data_dir, struct err *e) EE_MUST_CHECK;

#endif
