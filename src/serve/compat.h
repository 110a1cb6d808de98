/*
 * The same records under other tools' definitions, so that a difference of figures can be told from
 * a difference of definitions. docs/serving.md says what each does and which version was read.
 */
#ifndef SERVE_COMPAT_H
#define SERVE_COMPAT_H

#include "serve/measure.h"

#include <jansson.h>

enum compat_tool { COMPAT_VLLM, COMPAT_GUIDELLM, COMPAT_AIPERF, COMPAT_TOOLS };

/* "vllm", ..., then NULL. */
extern const char *const compat_names[COMPAT_TOOLS + 1];

enum { COMPAT_MAX_ROWS = 16 };

/* A figure as that tool prints it: a rate or count has a mean alone. */
struct compat_row {
    const char *label;
    const char *unit; /* "ms", "s", "tok/s", ... */
    size_t n;
    double mean, median, p90, p99; /* NAN where it prints none */
};

struct compat {
    const char *title;
    struct compat_row rows[COMPAT_MAX_ROWS];
    size_t n;
};

/* m are the measures of load. */
int compat_make(enum compat_tool tool, const struct load_result *load, const struct measures *m,
                struct compat *out, struct err *e) EE_MUST_CHECK;
json_t *compat_json(const struct compat *c);

#endif
