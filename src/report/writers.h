/* Inside src/report: the formats, one file each; the table in report.c names them. */
#ifndef REPORT_WRITERS_H
#define REPORT_WRITERS_H

#include "report/collect.h"

#include "base/buf.h"
#include "base/err.h"

/* Appends n runs to out. */
typedef int report_writer_fn(const struct report_run *const *runs, size_t n, struct buf *out,
                             struct err *e);
report_writer_fn report_text;
report_writer_fn report_csv;
/* Only the rows of that profile, measured figures included; NULL: all. */
int report_csv_profile(const struct report_run *const *runs, size_t n, const char *profile,
                       struct buf *out, struct err *e) EE_MUST_CHECK;
report_writer_fn report_json;
report_writer_fn report_md;
report_writer_fn report_html;
report_writer_fn report_openmetrics;

#endif
