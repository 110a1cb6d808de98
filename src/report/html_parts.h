/* Inside src/report: the sections of report.html that are tables of measurements. */
#ifndef REPORT_HTML_PARTS_H
#define REPORT_HTML_PARTS_H

#include "report/collect.h"

#include "base/buf.h"

/* Stages that failed, with their errors in full; nothing when none did. */
void html_failures(const struct report_run *run, struct buf *out);
/* Every figure of every variant. */
void html_figures(const struct report_run *run, struct buf *out);
/* Time and energy of every stage, and of every window in it. */
void html_stages(const struct report_run *run, struct buf *out);

/* One cell of a table; class_name may be "". */
void html_cell(struct buf *out, const char *class_name, const char *text);
/* A cell with a figure to three digits and all its digits as the tooltip; empty for NAN. */
void html_number(struct buf *out, double x);

#endif
