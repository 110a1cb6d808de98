/*
 * For tests of reports: a small stored run with several variants, failed stages, missing energy and
 * hostile strings.
 */
#ifndef TESTS_SUPPORT_REPORT_RUN_H
#define TESTS_SUPPORT_REPORT_RUN_H

#include "report/collect.h"

#include "base/buf.h"

#define HOSTILE                                                                                    \
    "<script>alert(\"1\")</script>, it's | `x`\n\"q\" \x1b[31mred\x07 \xff\xfe \xE2\x80\xAE"
#define CPU "CPU (modelled)"

/* Fails the test unless the call, which fills err, returns 0. */
extern struct err err;
void assert_ok(int rc, const char *what, int line);
#define OK(call) assert_ok((call), #call, __LINE__)

struct report_fixture {
    char dir[64];
    struct report_run *run;
};
/* For cmocka: *state is the run, stored and loaded. */
int report_run_setup(void **state);
int report_run_teardown(void **state);
/* The variant's row; the test fails without it. */
const struct metric_row *report_run_row(const struct report_fixture *f, const char *id,
                                        const char *metric, const char *profile);
/* Fail the test where the text has not, or has, this in it. */
void check_has(const struct buf *text, const char *what);
void check_lacks(const struct buf *text, const char *what);

#endif
