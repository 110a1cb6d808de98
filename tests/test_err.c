/* Errors, and the two other small parts that only format: the log and the clock. */
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* ---- err ---- */

static void an_error_is_set_and_its_code_returned(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(err_set(&e, EE_FORMAT, "%s:%d", "a.yaml", 7), EE_FORMAT);
    assert_int_equal(e.code, EE_FORMAT);
    assert_string_equal(e.msg, "a.yaml:7");
    assert_int_equal(err_set(&e, EE_TIMEOUT, "late"), EE_TIMEOUT); /* reused */
    assert_string_equal(e.msg, "late");
}

static void a_caller_without_an_error_gets_the_code(void **state) {
    (void)state;
    assert_int_equal(err_set(NULL, EE_USAGE, "x"), EE_USAGE);
    assert_int_equal(err_errno(NULL, ENOSPC, "x"), EE_NOSPACE);
    assert_true(err_prefix(NULL, "x") < 0);
}

static void errno_becomes_a_code_and_its_text(void **state) {
    (void)state;
    static const struct {
        int errnum, code;
    } rows[] = {
        {ENOENT, EE_MISSING}, {ENOTDIR, EE_MISSING}, {EACCES, EE_PERM},  {EPERM, EE_PERM},
        {EROFS, EE_PERM},     {ENOSPC, EE_NOSPACE},  {ENOMEM, EE_NOMEM}, {EDQUOT, EE_NOSPACE},
        {EIO, EE_IO},         {EISDIR, EE_IO},       {0, EE_IO},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(err_errno(&e, rows[i].errnum, "cannot read %s", "f"), rows[i].code);
        assert_int_equal(e.code, rows[i].code);
        assert_memory_equal(e.msg, "cannot read f: ", 15);
        assert_string_equal(e.msg + 15, strerror(rows[i].errnum));
    }
}

static void a_message_too_long_is_cut_inside_its_storage(void **state) {
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    struct err e;
    err_set(&e, EE_IO, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
    err_errno(&e, EIO, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
    assert_int_equal(err_prefix(&e, "%s", text), EE_IO);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

static void a_prefix_keeps_the_code_and_may_quote_nothing(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    err_set(&e, EE_PERM, "50%% %%s of it");
    assert_int_equal(err_prefix(&e, "stage %d", 3), EE_PERM);
    assert_string_equal(e.msg, "stage 3: 50% %s of it");
}

static void every_code_has_a_name_that_leads_back(void **state) {
    (void)state;
    for (int code = EE_STOPPED; code <= EE_OK; code++) {
        const char *name = err_code_name(code);
        assert_int_equal(err_code_from_name(name), code);
        assert_null(strpbrk(name, " \"\n"));
    }
    assert_string_equal(err_code_name(-99), "failed");
    assert_string_equal(err_code_name(1), "failed");
    assert_int_equal(err_code_from_name("no such thing"), EE_FAIL);
    assert_int_equal(err_code_from_name(""), EE_FAIL);
}

/* ---- log ---- */

struct seen {
    int n;
    enum log_level level;
    char line[4096];
};

static void keep(enum log_level level, const char *line, void *ctx) {
    struct seen *s = ctx;
    s->n++;
    s->level = level;
    snprintf(s->line, sizeof(s->line), "%s", line);
}

static void lines_above_the_level_reach_the_sink(void **state) {
    (void)state;
    struct seen s = {0};
    log_error("nobody %s", "listens"); /* no sink yet: dropped, no crash */
    log_set_sink(keep, &s, LOG_WARN);
    log_info("not this");
    log_debug("nor this");
    assert_int_equal(s.n, 0);
    log_warn("%d %%", 5);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.level, LOG_WARN);
    assert_string_equal(s.line, "5 %");
    log_error("%0*d", 3000, 1);
    assert_int_equal(s.level, LOG_ERROR);
    assert_int_equal(strlen(s.line), 2047);
    log_set_sink(keep, &s, LOG_DEBUG);
    log_debug("now");
    assert_string_equal(s.line, "now");
    log_info("and");
    assert_int_equal(s.n, 4);
    log_set_sink(NULL, NULL, LOG_ERROR);
    log_error("gone");
    assert_int_equal(s.n, 4);
}

/* ---- clock ---- */

static void the_clock_never_goes_back(void **state) {
    (void)state;
    int64_t last = clock_mono_ns();
    int64_t cpu = clock_process_cpu_ns();
    assert_true(last > 0 && cpu > 0);
    for (int i = 0; i < 100000; i++) {
        int64_t now = clock_mono_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_process_cpu_ns() > cpu);
}

static void a_sleep_ends_after_its_deadline(void **state) {
    (void)state;
    int64_t deadline = clock_mono_ns() + 2 * NS_PER_MS;
    clock_sleep_until_ns(deadline);
    assert_true(clock_mono_ns() >= deadline);
    clock_sleep_until_ns(0);
    clock_sleep_until_ns(-1);
    clock_sleep_until_ns(INT64_MIN);
}

static void nanoseconds_become_seconds(void **state) {
    (void)state;
    assert_true(clock_ns_to_s(1500000000) == 1.5);
    assert_true(clock_ns_to_s(-NS_PER_S) == -1);
    assert_true(clock_ns_to_s(0) == 0);
}

static void wall_time_is_utc_in_21_bytes(void **state) {
    (void)state;
    char text[21];
    time_t before = time(NULL);
    clock_wall_iso8601(text, sizeof(text));
    time_t after = time(NULL);
    assert_int_equal(strlen(text), 20);
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    assert_non_null(end);
    assert_string_equal(end, "");
    time_t parsed = timegm(&tm);
    assert_true(parsed >= before && parsed <= after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_set_and_its_code_returned),
        cmocka_unit_test(a_caller_without_an_error_gets_the_code),
        cmocka_unit_test(errno_becomes_a_code_and_its_text),
        cmocka_unit_test(a_message_too_long_is_cut_inside_its_storage),
        cmocka_unit_test(a_prefix_keeps_the_code_and_may_quote_nothing),
        cmocka_unit_test(every_code_has_a_name_that_leads_back),
        cmocka_unit_test(lines_above_the_level_reach_the_sink),
        cmocka_unit_test(the_clock_never_goes_back),
        cmocka_unit_test(a_sleep_ends_after_its_deadline),
        cmocka_unit_test(nanoseconds_become_seconds),
        cmocka_unit_test(wall_time_is_utc_in_21_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
