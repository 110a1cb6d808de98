/*
 * The store as a file: what a crash, a full disk, a missing permission, a second writer or a
 * stranger's file do to it.
 */
#include "store/store.h"

#include "support/scratch.h"
#include "support/store_rows.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sqlite3.h>
#include <cmocka.h>

/* ---- helpers ---- */

/* A finished run at dir/name: one stage, k1, with a row in each table. */
static const char *finished_run(struct scratch *sc, const char *name) {
    struct err e = ERR_INIT;
    const char *path = scratch_path(sc, name);
    struct store *s = rows_new_store(path);
    OK(rows_put_all(s, rows_put_stage(s, "k1"), &e));
    store_close(s);
    return path;
}

static void check_whole(struct store *s) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct store_stage st;
    OK(store_stage_find(s, "k1", &a, &st, &e));
    assert_string_equal(st.key, "k1");
    assert_int_equal(rows_count(s, st.stage_id), 6);
    arena_release(&a);
}

/* SQL on a file without the store; returns the first column of the last row. */
static int sql(const char *path, const char *text) {
    sqlite3 *db;
    sqlite3_stmt *st;
    int value = 0;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (const char *rest = text; *rest;) {
        assert_int_equal(sqlite3_prepare_v2(db, rest, -1, &st, &rest), SQLITE_OK);
        while (sqlite3_step(st) == SQLITE_ROW) {
            value = sqlite3_column_int(st, 0);
        }
        assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

static void check_intact(const char *path) {
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA foreign_key_check", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_DONE);
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void read_file(const char *path, struct buf *b) {
    struct err e = ERR_INIT;
    buf_init(b);
    OK(fs_read(path, b, &e));
}

static void refuse_both_ways(const char *path, int code, const char *part) {
    struct err e = ERR_INIT;
    struct buf before;
    struct buf after;
    read_file(path, &before);
    for (int read_only = 0; read_only < 2; read_only++) {
        struct store *s = (struct store *)&e;
        REFUSED_WITH(store_open(path, read_only, &s, &e), code, part);
        assert_null(s);
        assert_non_null(strstr(e.msg, path));
    }
    read_file(path, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len); /* it is not ours to change */
    buf_release(&before);
    buf_release(&after);
}

/* Runs body in a child process, which must not return from it with anything but 0. */
static pid_t in_child(int (*body)(const char *path, int fd), const char *path, int fd) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(body(path, fd));
    }
    assert_true(pid > 0);
    return pid;
}

static int wait_child(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* ---- making and opening ---- */

static void a_new_store_is_whole_when_opened_again(void **state) {
    struct scratch *sc = *state;
    const char *path = finished_run(sc, "run.db");
    assert_int_equal(scratch_count(sc->dir), 1); /* nothing beside it once it is closed */
    assert_int_equal(sql(path, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
    check_intact(path);
    struct store *s = rows_open(path, true);
    check_whole(s);
    store_close(s);
    s = rows_open(path, false);
    check_whole(s);
    rows_put_stage(s, "k2");
    store_close(s);
    s = rows_open(path, true);
    assert_int_equal(rows_count_stages(s), 2);
    store_close(s);
    store_close(NULL);
}

static void what_exists_is_not_created_again(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    struct store *s = NULL;
    char want[256];
    const char *path = finished_run(sc, "run.db");
    snprintf(want, sizeof(want), "%s exists already", path);
    REFUSED(store_create(path, &s, &e), EE_USAGE, want);
    assert_null(s);
    s = rows_open(path, true);
    check_whole(s);
    store_close(s);
    assert_int_equal(store_create(sc->dir, &s, &e), EE_USAGE);
    const char *empty = scratch_write(sc, "empty", "", 0);
    assert_int_equal(store_create(empty, &s, &e), EE_USAGE);
    assert_true(fs_exists(empty));
}

static void a_store_that_cannot_be_made_leaves_nothing(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    struct store *s = NULL;
    REFUSED_WITH(store_create(scratch_path(sc, "none/run.db"), &s, &e), EE_MISSING,
                 "No such file or directory");
    assert_int_equal(chmod(sc->dir, 0555), 0);
    scratch_be_nobody();
    int rc = store_create(scratch_path(sc, "run.db"), &s, &e);
    scratch_be_root();
    REFUSED_WITH(rc, EE_PERM, "cannot create ");
    assert_int_equal(scratch_count(sc->dir), 0);
}

static void what_is_not_there_is_not_opened(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    struct store *s = NULL;
    char want[256];
    const char *path = scratch_path(sc, "none.db");
    snprintf(want, sizeof(want), "cannot open %s: No such file or directory", path);
    REFUSED(store_open(path, true, &s, &e), EE_MISSING, want);
    REFUSED(store_open(path, false, &s, &e), EE_MISSING, want);
    assert_int_equal(scratch_count(sc->dir), 0); /* opening makes none */
    assert_true(store_open(sc->dir, true, &s, &e) < 0);
    assert_true(store_open(sc->dir, false, &s, &e) < 0);
}

static void a_newer_schema_is_refused_by_name(void **state) {
    struct scratch *sc = *state;
    const char *path = finished_run(sc, "run.db");
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA user_version = %d", STORE_SCHEMA_VERSION + 1);
    sql(path, text);
    char part[128];
    snprintf(part, sizeof(part),
             "newer edge-eval (schema %d, this build reads up to %d); update edge-eval",
             STORE_SCHEMA_VERSION + 1, STORE_SCHEMA_VERSION);
    refuse_both_ways(path, EE_UNSUPPORTED, part);
}

/* As schema 1 left it: without what later ones added. */
static void an_older_schema_is_read_from_a_copy_and_migrated_for_writing(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    const char *path = finished_run(sc, "run.db");
    sql(path,
        "DROP TABLE power; DROP TABLE training; DROP TABLE gpu_look; PRAGMA user_version = 1");
    struct buf before;
    struct buf after;
    read_file(path, &before);
    struct arena a = ARENA_INIT;
    struct store *s = rows_open(path, true);
    check_whole(s);
    struct store_power *powers;
    size_t n = 1;
    OK(store_powers(s, 1, &a, &powers, &n, &e));
    assert_int_equal(n, 0);
    store_close(s);
    read_file(path, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    s = rows_open(path, false);
    check_whole(s);
    store_close(s);
    assert_int_equal(sql(path, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
    check_intact(path);
    buf_release(&before);
    buf_release(&after);
    arena_release(&a);
}

static void files_of_others_are_refused_and_left_alone(void **state) {
    struct scratch *sc = *state;
    static const char *const others[] = {
        "CREATE TABLE t (x); INSERT INTO t VALUES (1)",
        "CREATE TABLE t (x); PRAGMA user_version = 1",
        "CREATE TABLE t (x); PRAGMA user_version = -1",
        "CREATE TABLE t (x); PRAGMA user_version = 99",
        "CREATE TABLE stage (x); CREATE TABLE meta (x); PRAGMA user_version = 1",
        "CREATE TABLE t (x); PRAGMA journal_mode = WAL; PRAGMA user_version = 1",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        char name[16];
        snprintf(name, sizeof(name), "other%zu.db", i);
        const char *path = scratch_path(sc, name);
        sql(path, others[i]);
        refuse_both_ways(path, EE_FORMAT, "is not an edge-eval run");
    }
    refuse_both_ways(scratch_write(sc, "empty", "", 0), EE_FORMAT, "is not an edge-eval run");
    const char *lines = "not a database, and long enough to have a header if it were one. "
                        "not a database, and long enough to have a header if it were one.";
    refuse_both_ways(scratch_write(sc, "text", lines, strlen(lines)), EE_FORMAT,
                     "file is not a database");
}

/* Our tables with no version: a creation that was cut, or a file that someone reset. */
static void a_run_without_a_version_is_refused(void **state) {
    const char *path = finished_run(*state, "run.db");
    sql(path, "PRAGMA user_version = 0");
    refuse_both_ways(path, EE_FORMAT, "is not an edge-eval run");
    sql(path, "PRAGMA user_version = -3");
    refuse_both_ways(path, EE_FORMAT, "is not an edge-eval run");
}

/* ---- damage ---- */

/* Loads everything; whatever the file holds, this returns, and a failure has its message. */
static int load_all(const char *path, struct err *e) {
    struct store *s = NULL;
    struct arena a = ARENA_INIT;
    struct store_stage *stages;
    struct store_variant *variants;
    struct store_energy *energies;
    struct store_request *requests;
    struct store_score *scores;
    size_t n_stages = 0;
    size_t n;
    char *text;
    int rc = store_open(path, true, &s, e);
    if (rc) {
        return rc;
    }
    rc = store_meta_get(s, "run_id", &a, &text, e);
    rc = rc ? rc : store_variants(s, &a, &variants, &n, e);
    rc = rc ? rc : store_stages(s, &a, &stages, &n_stages, e);
    for (size_t i = 0; i < n_stages && !rc; i++) {
        rc = store_energies(s, stages[i].stage_id, &a, &energies, &n, e);
        rc = rc ? rc : store_requests(s, stages[i].stage_id, true, &a, &requests, &n, e);
        rc = rc ? rc : store_scores(s, stages[i].stage_id, &a, &scores, &n, e);
    }
    store_close(s);
    arena_release(&a);
    return rc;
}

static void check_code_with_message(int rc, const struct err *e) {
    if (rc) {
        assert_true(rc == EE_FORMAT || rc == EE_IO || rc == EE_FAIL);
        assert_int_equal(e->code, rc);
        assert_true(strlen(e->msg) > 10);
    }
}

static void a_file_cut_anywhere_is_an_error_and_no_crash(void **state) {
    struct scratch *sc = *state;
    const char *path = finished_run(sc, "run.db");
    struct buf whole;
    read_file(path, &whole);
    int refused = 0;
    for (size_t len = 0; len < whole.len; len += len < 128 ? 25 : 1021) {
        struct err e = ERR_INIT;
        int rc = load_all(scratch_write(sc, "cut.db", whole.data, len), &e);
        check_code_with_message(rc, &e);
        refused += rc != 0;
        if (len < 4096) {
            assert_int_equal(rc, EE_FORMAT);
        }
    }
    assert_true(refused > 10);
    buf_release(&whole);
}

static void damaged_bytes_are_an_error_at_most(void **state) {
    struct scratch *sc = *state;
    const char *path = finished_run(sc, "run.db");
    struct buf whole;
    read_file(path, &whole);
    uint32_t x = 1;
    int refused = 0;
    for (int i = 0; i < 200; i++) {
        struct buf b;
        buf_init(&b);
        buf_add(&b, whole.data, whole.len);
        for (int k = 0; k < 8; k++) {
            x = x * 1664525 + 1013904223;
            b.data[x % b.len] = (char)(x >> 24);
        }
        struct err e = ERR_INIT;
        int rc = load_all(scratch_write(sc, "bad.db", b.data, b.len), &e);
        if (rc != EE_UNSUPPORTED) { /* a version that only looks newer */
            check_code_with_message(rc, &e);
        }
        refused += rc != 0;
        buf_release(&b);
    }
    assert_true(refused > 0);
    buf_release(&whole);
}

/* ---- permissions ---- */

static void a_read_only_file_is_read_and_not_resumed(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    struct store *s = NULL;
    const char *path = finished_run(sc, "run.db");
    assert_int_equal(chmod(path, 0444), 0);
    scratch_be_nobody();
    int rc = store_open(path, false, &s, &e);
    scratch_be_root();
    REFUSED_WITH(rc, EE_PERM, "run.db is read-only");
    assert_null(s);
    assert_int_equal(chmod(sc->dir, 0777), 0);
    scratch_be_nobody();
    rc = store_open(path, true, &s, &e);
    scratch_be_root();
    OK(rc);
    check_whole(s);
    store_close(s);
}

static void check_readable_as_nobody(struct scratch *sc, const char *path) {
    struct err e = ERR_INIT;
    struct store *s = NULL;
    size_t before = scratch_count(sc->dir);
    scratch_be_nobody();
    int rc = store_open(path, true, &s, &e);
    if (rc == 0) {
        check_whole(s);
        REFUSED_WITH(store_meta_set(s, "k", "v", &e), EE_PERM, "readonly");
    }
    store_close(s);
    scratch_be_root();
    OK(rc);
    assert_int_equal(scratch_count(sc->dir), before);
}

static void a_finished_run_is_read_from_a_read_only_directory(void **state) {
    struct scratch *sc = *state;
    /* These mean something in the URI that this takes. */
    static const char *const names[] = {"run.db", "a run.db", "run?mode=rw.db", "run#1%20.db",
                                        "caf\xc3\xa9&b=c.db"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(chmod(sc->dir, 0755), 0);
        const char *path = finished_run(sc, names[i]);
        assert_int_equal(chmod(sc->dir, 0555), 0);
        check_readable_as_nobody(sc, path);
        char doubled[256];
        snprintf(doubled, sizeof(doubled), "/%s", path);
        check_readable_as_nobody(sc, doubled);
    }
    char cwd[512];
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(chdir(sc->dir), 0);
    check_readable_as_nobody(sc, "run.db");
    check_readable_as_nobody(sc, "./run#1%20.db");
    assert_int_equal(chdir(cwd), 0);
    /* A refusal there is the same as elsewhere. */
    struct err e = ERR_INIT;
    struct store *s = NULL;
    assert_int_equal(chmod(sc->dir, 0755), 0);
    const char *newer = finished_run(sc, "newer.db");
    sql(newer, "PRAGMA user_version = 99");
    assert_int_equal(chmod(sc->dir, 0555), 0);
    scratch_be_nobody();
    int rc = store_open(newer, true, &s, &e);
    scratch_be_root();
    REFUSED_WITH(rc, EE_UNSUPPORTED, "newer edge-eval");
    scratch_be_nobody();
    rc = store_open(scratch_path(sc, "run.db"), false, &s, &e);
    scratch_be_root();
    assert_int_equal(rc, EE_PERM);
}

/* Mounted so, not even root may write. */
static void a_finished_run_is_read_from_a_read_only_disk(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    const char *disk = scratch_small_disk(sc, 4 << 20);
    if (!disk) {
        skip();
    }
    const char *path = finished_run(sc, "small/run.db");
    assert_int_equal(mount("none", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    struct store *s = rows_open(path, true);
    check_whole(s);
    store_close(s);
    REFUSED_WITH(store_open(path, false, &s, &e), EE_PERM, "run.db is read-only");
    REFUSED_WITH(store_create(scratch_path(sc, "small/new.db"), &s, &e), EE_PERM,
                 "Read-only file system");
}

/* Its last rows are in the log beside it: to leave them out would be to report another run. */
static void an_unfinished_run_in_a_read_only_directory_is_not_half_read(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    assert_int_equal(mkdir(scratch_path(sc, "copy"), 0755), 0);
    struct store *s = rows_new_store(scratch_path(sc, "run.db"));
    OK(rows_put_all(s, rows_put_stage(s, "k1"), &e));
    struct buf b;
    read_file(scratch_path(sc, "run.db"), &b); /* as a killed writer leaves it */
    const char *path = scratch_write(sc, "copy/run.db", b.data, b.len);
    buf_release(&b);
    read_file(scratch_path(sc, "run.db-wal"), &b);
    assert_true(b.len > 0);
    scratch_write(sc, "copy/run.db-wal", b.data, b.len);
    buf_release(&b);
    store_close(s);
    assert_int_equal(chmod(scratch_path(sc, "copy"), 0555), 0);
    scratch_be_nobody();
    int rc = store_open(path, true, &s, &e);
    scratch_be_root();
    REFUSED_WITH(rc, EE_PERM,
                 "run.db was not closed, and reading it needs to write beside it; copy the run's "
                 "directory to where you can write");
    assert_int_equal(chmod(scratch_path(sc, "copy"), 0755), 0);
    s = rows_open(path, true); /* where it can be written, all of it is there */
    check_whole(s);
    store_close(s);
}

static void a_file_that_may_not_be_read_is_refused(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    struct store *s = NULL;
    const char *path = finished_run(sc, "run.db");
    assert_int_equal(chmod(path, 0), 0);
    for (int read_only = 0; read_only < 2; read_only++) {
        scratch_be_nobody();
        int rc = store_open(path, read_only, &s, &e);
        scratch_be_root();
        REFUSED_WITH(rc, EE_PERM, path);
    }
}

/* ---- several at once ---- */

static void a_reader_sees_whole_transactions(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    const char *path = finished_run(sc, "run.db");
    struct store *writer = rows_open(path, false);
    struct store *reader = rows_open(path, true);
    OK(store_begin(writer, &e));
    int64_t id = rows_put_stage(writer, "k2");
    OK(rows_put_all(writer, id, &e));
    assert_int_equal(rows_count_stages(reader), 1);
    struct store *late = rows_open(path, true); /* opened in its midst */
    assert_int_equal(rows_count_stages(late), 1);
    OK(store_commit(writer, &e));
    assert_int_equal(rows_count_stages(reader), 2);
    assert_int_equal(rows_count(reader, id), 6);
    assert_int_equal(rows_count(late, id), 6);
    store_close(late);
    store_close(writer);
    check_whole(reader);
    store_close(reader);
}

static void a_second_writer_is_told_so(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    const char *path = finished_run(sc, "run.db");
    struct store *first = rows_open(path, false);
    struct store *second = rows_open(path, false);
    OK(store_begin(first, &e));
    rows_put_stage(first, "mine");
    REFUSED_WITH(store_begin(second, &e), EE_IO,
                 "another process is writing to it: wait until it has ended");
    OK(store_commit(first, &e));
    OK(store_begin(second, &e)); /* now it is free */
    rows_put_stage(second, "yours");
    OK(store_commit(second, &e));
    assert_int_equal(rows_count_stages(first), 3);
    store_close(first);
    store_close(second);
}

static int hold_for_a_moment(const char *path, int fd) {
    struct err e = ERR_INIT;
    struct store *s = NULL;
    int rc = store_open(path, false, &s, &e);
    rc = rc ? rc : store_begin(s, &e);
    rc = rc ? rc : store_meta_set(s, "held", "yes", &e);
    if (rc || write(fd, "x", 1) != 1) {
        return 1;
    }
    clock_sleep_until_ns(clock_mono_ns() + 100 * NS_PER_MS);
    rc = store_commit(s, &e);
    store_close(s);
    return rc != 0;
}

static void a_writer_waits_for_another_that_ends(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    int ready[2];
    char c;
    const char *path = finished_run(sc, "run.db");
    assert_int_equal(pipe(ready), 0);
    pid_t pid = in_child(hold_for_a_moment, path, ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    struct store *s = rows_open(path, false);
    OK(store_begin(s, &e));
    rows_put_stage(s, "k2");
    OK(store_commit(s, &e));
    assert_int_equal(wait_child(pid), 0);
    struct arena a = ARENA_INIT;
    char *held = NULL;
    OK(store_meta_get(s, "held", &a, &held, &e));
    assert_string_equal(held, "yes");
    arena_release(&a);
    store_close(s);
    close(ready[0]);
    close(ready[1]);
}

/* ---- crashes ---- */

static int write_and_hang(const char *path, int fd) {
    struct err e = ERR_INIT;
    struct store *s = NULL;
    struct store_stage st = a_stage;
    int64_t id = 0;
    st.key = "half";
    int rc = store_open(path, false, &s, &e);
    rc = rc ? rc : store_begin(s, &e);
    rc = rc ? rc : store_stage_put(s, &st, &id, &e);
    /* Past what SQLite keeps in memory, so that half of it is in the file by now. */
    static char text[8000];
    memset(text, 't', sizeof(text) - 1);
    for (int i = 0; i < 1000 && !rc; i++) {
        struct store_request row = a_request;
        row.ordinal = i;
        row.text = text;
        rc = store_request_put(s, id, &row, &e);
    }
    if (rc || write(fd, "x", 1) != 1) {
        return 1;
    }
    for (;;) {
        pause();
    }
}

static void a_writer_killed_in_a_transaction_leaves_none_of_it(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    int ready[2];
    char c;
    const char *path = finished_run(sc, "run.db");
    assert_int_equal(pipe(ready), 0);
    pid_t pid = in_child(write_and_hang, path, ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    uint64_t log_bytes = 0;
    OK(fs_size(scratch_path(sc, "run.db-wal"), &log_bytes, &e));
    assert_true(log_bytes > 1 << 20); /* it did write */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(WIFSIGNALED(wait_child(pid)));
    struct store *s = rows_open(path, true); /* first for a reader, with the log as it is */
    assert_int_equal(rows_count_stages(s), 1);
    check_whole(s);
    store_close(s);
    s = rows_open(path, false);
    assert_int_equal(rows_count_stages(s), 1);
    int64_t id = rows_put_stage(s, "half"); /* and the stage is run again */
    OK(rows_put_all(s, id, &e));
    store_close(s);
    check_intact(path);
    s = rows_open(path, true);
    assert_int_equal(rows_count(s, id), 6);
    store_close(s);
    close(ready[0]);
    close(ready[1]);
}

static int write_stages(const char *path, int fd) {
    struct err e = ERR_INIT;
    struct store *s = NULL;
    int rc = store_open(path, false, &s, &e);
    for (int i = 0; !rc; i++) {
        struct store_stage st = a_stage;
        char key[24];
        int64_t id = 0;
        snprintf(key, sizeof(key), "%ld-%d", (long)getpid(), i);
        st.key = key;
        rc = store_begin(s, &e);
        rc = rc ? rc : store_stage_put(s, &st, &id, &e);
        rc = rc ? rc : rows_put_all(s, id, &e);
        rc = rc ? rc : store_commit(s, &e);
        rc = rc ? rc : write(fd, "x", 1) != 1;
    }
    return 1;
}

/* Wherever the kill falls, also inside a commit: each stage is there whole or not at all. */
static void a_writer_killed_at_any_moment_leaves_whole_stages(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    const char *path = finished_run(sc, "run.db");
    size_t committed = 1;
    for (int round = 0; round < 12; round++) {
        int done[2];
        char c;
        assert_int_equal(pipe(done), 0);
        pid_t pid = in_child(write_stages, path, done[1]);
        close(done[1]);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(read(done[0], &c, 1), 1);
            committed++;
        }
        clock_sleep_until_ns(clock_mono_ns() + round * 173 * 1000);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(WIFSIGNALED(wait_child(pid)));
        while (read(done[0], &c, 1) == 1) {
            committed++;
        }
        close(done[0]);
        struct store *s = rows_open(path, round % 2);
        struct arena a = ARENA_INIT;
        struct store_stage *stages;
        size_t n;
        OK(store_stages(s, &a, &stages, &n, &e));
        /* One more may be in without having been heard of. */
        assert_in_range(n, committed, committed + 1);
        committed = n;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(rows_count(s, stages[i].stage_id), 6);
        }
        arena_release(&a);
        store_close(s);
    }
    check_intact(path);
}

/* ---- a full disk ---- */

static void a_full_disk_is_named_and_survived(void **state) {
    struct scratch *sc = *state;
    struct err e = ERR_INIT;
    const char *disk = scratch_small_disk(sc, 4 << 20);
    if (!disk) {
        skip();
    }
    const char *path = finished_run(sc, "small/run.db");
    struct store *s = rows_open(path, false);
    scratch_fill_disk(disk, 300 << 10);
    static char text[20000];
    memset(text, 't', sizeof(text) - 1);
    OK(store_begin(s, &e));
    int64_t id = rows_put_stage(s, "big");
    int rc = 0;
    for (int i = 0; i < 1000 && !rc; i++) {
        struct store_request row = a_request;
        row.ordinal = i;
        row.text = text;
        rc = store_request_put(s, id, &row, &e);
    }
    rc = rc ? rc : store_commit(s, &e);
    REFUSED_WITH(rc, EE_NOSPACE, "full");
    store_rollback(s);
    check_whole(s); /* what was there is there, and can be read */
    assert_int_equal(rows_count_stages(s), 1);
    assert_int_equal(unlink(scratch_path(sc, "small/ballast")), 0);
    OK(store_begin(s, &e)); /* and once there is room, the run goes on */
    id = rows_put_stage(s, "big");
    OK(rows_put_all(s, id, &e));
    OK(store_commit(s, &e));
    store_close(s);
    check_intact(path);
}

static void a_store_that_does_not_fit_is_not_begun(void **state) {
    struct scratch *sc = *state;
    const char *disk = scratch_small_disk(sc, 1 << 20);
    if (!disk) {
        skip();
    }
    /* Every room up to what is enough: the database, its log, its shared memory. */
    const char *path = scratch_path(sc, "small/run.db");
    bool made = false;
    int refused = 0;
    for (size_t left = 0; left <= 600 << 10 && !made; left += 4 << 10) {
        struct err e = ERR_INIT;
        struct store *s = NULL;
        scratch_fill_disk(disk, left);
        int rc = store_create(path, &s, &e);
        store_close(s);
        if (rc) {
            REFUSED_WITH(rc, EE_NOSPACE, "run.db");
            assert_int_equal(scratch_count(disk), 1); /* the ballast */
            refused++;
        }
        made = rc == 0;
        assert_int_equal(unlink(scratch_path(sc, "small/ballast")), 0);
    }
    assert_true(made);
    assert_true(refused >= 3);
    check_intact(path);
}

#define ON_FILES(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_FILES(a_new_store_is_whole_when_opened_again),
        ON_FILES(what_exists_is_not_created_again),
        ON_FILES(a_store_that_cannot_be_made_leaves_nothing),
        ON_FILES(what_is_not_there_is_not_opened),
        ON_FILES(a_newer_schema_is_refused_by_name),
        ON_FILES(an_older_schema_is_read_from_a_copy_and_migrated_for_writing),
        ON_FILES(files_of_others_are_refused_and_left_alone),
        ON_FILES(a_run_without_a_version_is_refused),
        ON_FILES(a_file_cut_anywhere_is_an_error_and_no_crash),
        ON_FILES(damaged_bytes_are_an_error_at_most),
        ON_FILES(a_read_only_file_is_read_and_not_resumed),
        ON_FILES(a_finished_run_is_read_from_a_read_only_directory),
        ON_FILES(a_finished_run_is_read_from_a_read_only_disk),
        ON_FILES(an_unfinished_run_in_a_read_only_directory_is_not_half_read),
        ON_FILES(a_file_that_may_not_be_read_is_refused),
        ON_FILES(a_reader_sees_whole_transactions),
        ON_FILES(a_second_writer_is_told_so),
        ON_FILES(a_writer_waits_for_another_that_ends),
        ON_FILES(a_writer_killed_in_a_transaction_leaves_none_of_it),
        ON_FILES(a_writer_killed_at_any_moment_leaves_whole_stages),
        ON_FILES(a_full_disk_is_named_and_survived),
        ON_FILES(a_store_that_does_not_fit_is_not_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
