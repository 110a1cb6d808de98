/* Inside src/report: the sections of report.html that are tables of measurements. */
#ifndef REPORT_HTML_PARTS_H
#define REPORT_HTML_PARTS_H

#include "report/collect.h"

#include "base/buf.h"
#include "base/err.h"

/* Stages that failed, with their errors in full; nothing when none did. */
void html_failures(const struct report_run *run, struct buf *out);
/* The data block that the page's scripts read, as JSON that is inert inside a script element. */
int html_data(const struct report_run *run, struct buf *out, struct err *e) EE_MUST_CHECK;
/* Time and energy of every stage, and of every window in it. */
void html_stages(const struct report_run *run, struct buf *out);

/* One cell of a table; class_name may be "". */
void html_cell(struct buf *out, const char *class_name, const char *text);
/* A cell with a figure to three digits and all its digits as the tooltip; empty for NAN. */
void html_number(struct buf *out, double x);

#endif
