/* Between the files of the workload. */
#ifndef SERVE_WORKLOAD_INTERNAL_H
#define SERVE_WORKLOAD_INTERNAL_H

#include "serve/workload.h"

/* Renders the requests of all prompts. */
int workload_payloads(struct workload *w, struct err *e) EE_MUST_CHECK;

#endif
