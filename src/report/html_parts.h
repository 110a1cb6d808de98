/* Inside src/report: the sections of report.html. Those of one run take all of the page, and which. */
#ifndef REPORT_HTML_PARTS_H
#define REPORT_HTML_PARTS_H

#include "report/collect.h"

#include "base/buf.h"
#include "base/err.h"

struct html_page {
    const struct report_run *const *runs;
    size_t n;
    const char *lead; /* a section in place of the verdict; NULL */
};
int report_html_page(const struct html_page *page, struct buf *out, struct err *e) EE_MUST_CHECK;

/* Nothing where no run has a variant. */
int html_verdict(const struct report_run *const *runs, size_t n, struct buf *out,
                 struct err *e) EE_MUST_CHECK;
int html_summary(const struct report_run *const *runs, size_t n, size_t i, struct buf *out,
                 struct err *e) EE_MUST_CHECK;
/* Stages that failed, with their errors in full; nothing when none did. */
void html_failures(const struct report_run *const *runs, size_t n, struct buf *out);
/* The data block that the page's scripts read, as JSON. */
int html_data(const struct report_run *const *runs, size_t n, struct buf *out,
              struct err *e) EE_MUST_CHECK;
/* Time and energy of every stage, and the place for those of every window in it. */
void html_stages(const struct report_run *const *runs, size_t n, size_t r, struct buf *out);
void html_facts(const struct report_run *const *runs, size_t n, size_t r, struct buf *out);
void html_definitions(struct buf *out);

/* <section> with its anchor and title; the anchors of later runs are numbered: "summary-2". */
void html_open_section(const struct report_run *const *runs, size_t n, size_t i, const char *id,
                       const char *title, struct buf *out);
void html_fact(struct buf *out, const char *name, const char *value);

/* One cell of a table; class_name may be "". */
void html_cell(struct buf *out, const char *class_name, const char *text);
/* A cell with a figure to three digits, and six of them as the tooltip; empty for NAN. */
void html_number(struct buf *out, double x);

#endif
