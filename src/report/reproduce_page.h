/* Inside src/report: the published variants as a page like report.html. */
#ifndef REPORT_REPRODUCE_PAGE_H
#define REPORT_REPRODUCE_PAGE_H

#include "report/published.h"

#include "base/buf.h"
#include "base/err.h"

/* The paper's claims stand where a run has its verdict. data_dir: as for published_load. */
int reproduce_page(const struct published *p, const char *data_dir, struct buf *out,
                   struct err *e) EE_MUST_CHECK;

#endif
