/* Inside src/report: the tables for a terminal, at most run->width columns wide. */
#ifndef REPORT_TEXT_TABLE_H
#define REPORT_TEXT_TABLE_H

#include "report/collect.h"
#include "report/summary.h"

#include "base/buf.h"
#include "base/err.h"

/* What was measured where; also that there is nothing yet. */
void text_header(const struct report_run *run, struct buf *out);
/* A line a variant and the notes below. */
int text_table(const struct report_run *run, enum summary_profile profile, struct buf *out,
               struct err *e) EE_MUST_CHECK;
/*
 * Tables that are wider than that come in parts, one below the other. The columns from `from` on that
 * stand beside the keys, each after a space: those before the index returned, at least one.
 */
size_t text_part_end(const struct report_run *run, const size_t *widths, size_t n, size_t from);
/*
 * No figure is cut: usual widths grow to what the cells need; where the table is then wider than the
 * terminal, every column takes no more than that.
 */
void text_fit_widths(const struct report_run *run, const size_t *needed, size_t *widths, size_t n);
/* A variant's task, method and precision in cells, as tables begin their lines. */
void text_keys(const struct report_variant *v, struct buf *out);
/* Score and energy of each variant as bars with intervals; nothing where no variant has either. */
void text_glance(const struct report_run *run, struct buf *out);
/* The same for the titles. */
void text_key_titles(struct buf *out);

#endif
