/*
 * A run carried to another device: what its served variants and trainings would take there.
 *
 * Time of a unit of work (a decoding step, a training row) is a fixed part, which does not depend on the
 * device, and its roofline: the larger of bytes over bandwidth and operations over peak, divided by the
 * achieved share. Both are fitted over the run, a group of stages at a time. Power is idle power and a
 * share of what is left to the limit, as large as here for equally busy time.
 *
 * Errors: the fit's own residuals, and what no single machine can tell: that another device achieves the
 * same shares. That part is assumed (project.c) and checked against the published rows where the target
 * is what they were measured on. docs/project.md says how far off it was.
 */
#ifndef REPORT_PROJECT_H
#define REPORT_PROJECT_H

#include "base/buf.h"
#include "base/err.h"

/* "text", "csv", ended by NULL. */
extern const char *const project_format_names[];

/* to: an id or name of data_dir/devices.yaml; devices: how many of them share the work. */
int project_format(const char *data_dir, const char *run_dir, const char *to, int devices,
                   const char *format, struct buf *out, struct err *e) EE_MUST_CHECK;

#endif
