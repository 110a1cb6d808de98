/*
 * A run of the published matrix beside the published rows: Markdown for docs/results/, and our rows in
 * the form of data/reference/. What a run does not have yet is named, so that an incomplete one is
 * reported as it is.
 */
#ifndef REPORT_RESULTS_H
#define REPORT_RESULTS_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

/* "md", "csv", ended by NULL. */
extern const char *const results_format_names[];

/*
 * sources[0] is the run of the matrix. The others add trainings with other settings: runs, and files of
 * scripts/gpu-adapt.py, whose names end in .json. data_dir holds reference/.
 */
int results_format(const char *data_dir, const char *const *sources, size_t n, const char *format,
                   struct buf *out, struct err *e) EE_MUST_CHECK;

#endif
