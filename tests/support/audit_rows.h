/*
 * A clean set of measurements for tests of the audit: two families, two sizes, two tasks, three
 * precisions; each variant trained, quantized, served in five repeats and scored. Every rule can
 * look at it, and none should find anything. Seeded noise of about a per cent.
 */
#ifndef TESTS_SUPPORT_AUDIT_ROWS_H
#define TESTS_SUPPORT_AUDIT_ROWS_H

#include "metrics/audit.h"

#include <stdint.h>

enum { AUDIT_CLEAN_VARIANTS = 24, AUDIT_CLEAN_REPEATS = 5, AUDIT_CLEAN_ROWS = 24 * 9 };

struct audit_clean {
    struct audit_row rows[AUDIT_CLEAN_ROWS + 1];
    struct audit_table table;
};

void audit_clean_make(struct audit_clean *c, uint64_t seed);
/* The i-th whole row of that stage. */
struct audit_row *audit_clean_row(struct audit_clean *c, enum audit_stage stage, size_t i);
/* The k-th repeat of the i-th serve row. */
struct audit_row *audit_clean_repeat(struct audit_clean *c, size_t i, size_t k);

#endif
