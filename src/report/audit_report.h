/*
 * edge-eval audit: findings over a run, CSV files or the published rows, as text or JSON.
 */
#ifndef REPORT_AUDIT_REPORT_H
#define REPORT_AUDIT_REPORT_H

#include "report/collect.h"

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

enum audit_format {
    AUDIT_TEXT,
    AUDIT_JSON,
    AUDIT_SECTION, /* of report.html */
};

/*
 * Audits the sources together: run directories, CSV files, or folders of CSV files. data_dir holds
 * devices/boards.yaml; without it (NULL) no board's power limit is known. width: columns of the text,
 * as report_width has it.
 */
int audit_report_format(const char *const *sources, size_t n, const char *data_dir,
                        enum audit_format format, size_t width, struct buf *out,
                        struct err *e) EE_MUST_CHECK;
/* The same of runs that are loaded already. */
int audit_report_runs(const struct report_run *const *runs, size_t n, const char *data_dir,
                      enum audit_format format, struct buf *out, struct err *e) EE_MUST_CHECK;
/* All rules with what they look for. */
void audit_report_rules(struct buf *out);

#endif
