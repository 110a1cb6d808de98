/*
 * Memory runs out at every single place, one at a time: the n-th allocation fails, for n from 1
 * until the operation no longer makes that many. Each time the operation must end with a negative
 * code and a message, or with the right result, and give back all it took.
 *
 * This program's malloc stands in front of the C library's, for the shared libraries too. The
 * sanitizers have their own, so that these tests are skipped there.
 */
#include "support/goldens.h"
#include "support/scratch.h"
#include "support/store_rows.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/channel.h"
#include "base/clock.h"
#include "base/csvdoc.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/opt.h"
#include "base/pack.h"
#include "base/page_cache.h"
#include "base/process.h"
#include "base/utf8.h"
#include "base/ydoc.h"
#include "report/audit_report.h"
#include "stats/choose.h"
#include "stats/multiple.h"
#include "stats/percentile.h"
#include "stats/repeats.h"
#include "store/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- the allocator ---- */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_FAIL 1
#else
#define CAN_FAIL 0
#endif

/* Of one thread: nothing here starts another. */
static struct {
    size_t until_failure; /* 0: none is due */
    bool has_failed;
    long live; /* allocations that were not freed */
} heap;

#if CAN_FAIL

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static bool is_due(void) {
    if (heap.until_failure == 0 || --heap.until_failure > 0) {
        return false;
    }
    heap.has_failed = true;
    errno = ENOMEM;
    return true;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): stdlib.h has reserved ones */
void *malloc(size_t size) {
    void *p = is_due() ? NULL : __libc_malloc(size);
    heap.live += p != NULL;
    return p;
}

void *calloc(size_t n, size_t size) {
    void *p = is_due() ? NULL : __libc_calloc(n, size);
    heap.live += p != NULL;
    return p;
}

void *realloc(void *old, size_t size) {
    if (is_due()) {
        return NULL;
    }
    void *p = __libc_realloc(old, size);
    heap.live += (p != NULL && !old) - (!p && old && size == 0);
    return p;
}

void free(void *p) {
    heap.live -= p != NULL;
    __libc_free(p);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

#endif

/* ---- the driver ---- */

/* Returns 0 only with the right result, and owns nothing afterwards. */
typedef int op_fn(void *ctx, struct err *e);

enum { WRONG_RESULT = 77 };

/* What a test says about the failures that its operation must report. */
enum tolerance { REPORTS_ALL, MAY_DO_WITHOUT };

static void fail_one_after_another(op_fn *op, void *ctx, enum tolerance tolerance) {
    if (!CAN_FAIL) {
        skip();
    }
    struct err e = ERR_INIT;
    OK(op(ctx, &e)); /* what is made once and kept is made now */
    size_t n_reported = 0;
    size_t n = 1;
    for (;; n++) {
        memset(&e, 0, sizeof(e));
        long live = heap.live;
        heap.has_failed = false;
        heap.until_failure = n;
        int rc = op(ctx, &e);
        heap.until_failure = 0;
        if (heap.live != live) {
            fail_msg("failure of allocation %zu: %ld are not given back", n, heap.live - live);
        }
        if (!heap.has_failed) {
            OK(rc);
            break;
        }
        if (rc > 0 || (rc == 0 && tolerance == REPORTS_ALL)) {
            fail_msg("failure of allocation %zu: %s; last message: %s", n,
                     rc ? "a wrong result" : "nobody was told of it", e.msg);
        }
        if (rc < 0 && (e.code != rc || !e.msg[0])) {
            fail_msg("failure of allocation %zu: returned %d, error has %d \"%s\"", n, rc, e.code,
                     e.msg);
        }
        n_reported += rc < 0;
    }
    assert_true(n > 1);
    assert_true(n_reported > 0 || tolerance == MAY_DO_WITHOUT);
}

/* For what an operation does only to check itself; what it returns goes back to until_failure. */
static size_t suspend_failure(void) {
    size_t left = heap.until_failure;
    heap.until_failure = 0;
    return left;
}

static int no_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "no memory, as the caller sees it");
}

/* ---- base ---- */

static int use_buf(void *ctx, struct err *e) {
    (void)ctx;
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 5000; i++) {
        buf_addf(&b, "%04d", i);
    }
    utf8_add_repaired(&b, "\xff", 1);
    size_t len = b.len;
    int rc = buf_check(&b, "text", e);
    char *text = buf_detach(&b);
    if (!rc && !text) {
        rc = no_memory(e);
    }
    if (!rc && (len != 20003 || strncmp(text, "000000010002", 12) != 0)) {
        rc = WRONG_RESULT;
    }
    if (rc < 0 && text) {
        rc = WRONG_RESULT; /* a part must not look like the whole */
    }
    free(text);
    return rc;
}

static void buf_survives(void **state) {
    (void)state;
    fail_one_after_another(use_buf, NULL, REPORTS_ALL);
}

static int use_arena(void *ctx, struct err *e) {
    (void)ctx;
    struct arena a = ARENA_INIT;
    bool missed = false;
    for (size_t i = 0; i < 100; i++) {
        char *p = arena_alloc(&a, 1000);
        char *s = arena_strdup(&a, "text");
        int64_t *n = arena_array(&a, 5000, sizeof(*n));
        missed |= !p || !s || !n;
    }
    int rc = missed == a.failed ? 0 : WRONG_RESULT;
    if (!rc && missed) {
        rc = no_memory(e);
    }
    arena_release(&a);
    return rc;
}

static void arena_survives(void **state) {
    (void)state;
    fail_one_after_another(use_arena, NULL, REPORTS_ALL);
}

static int use_paths(void *ctx, struct err *e) {
    (void)ctx;
    char *joined = fs_join("a", "b");
    char *absolute = fs_join("a", "/b");
    char *dir = fs_dirname("a/b");
    char *exe = fs_exe_path();
    int rc = joined && absolute && dir && exe ? 0 : no_memory(e);
    free(joined);
    free(absolute);
    free(dir);
    free(exe);
    return rc;
}

static int use_files(void *ctx, struct err *e) {
    struct scratch *s = ctx;
    char path[128];
    snprintf(path, sizeof(path), "%s/file", s->dir);
    char hex[HASH_HEX_SIZE];
    double fraction;
    struct buf b;
    buf_init(&b);
    int rc = fs_write_atomic(path, "some text", 9, e);
    rc = rc ? rc : fs_read(path, &b, e);
    rc = rc ? rc : hash_file(path, hex, e);
    rc = rc ? rc : page_cache_fill(path, NULL, &fraction, e);
    rc = rc ? rc : page_cache_resident(path, &fraction, e);
    if (!rc && strcmp(b.data, "some text") != 0) {
        rc = WRONG_RESULT;
    }
    buf_release(&b);
    size_t left = suspend_failure();
    bool has_temporary = scratch_count(s->dir) > 1;
    heap.until_failure = left;
    return has_temporary ? WRONG_RESULT : rc;
}

static void files_survive(void **state) {
    fail_one_after_another(use_paths, NULL, REPORTS_ALL);
    fail_one_after_another(use_files, *state, REPORTS_ALL);
}

static int use_machine(void *ctx, struct err *e) {
    (void)ctx;
    (void)e;
    struct machine m;
    machine_describe(&m);
    uint64_t available = machine_available_memory_bytes();
    return m.hw_threads > 0 && m.cpu_model[0] && available != 1 ? 0 : WRONG_RESULT;
}

static void machine_survives(void **state) {
    (void)state;
    fail_one_after_another(use_machine, NULL, MAY_DO_WITHOUT);
}

static const char some_json[] =
    "{\"models\": [{\"id\": \"a\", \"n\": 1}, {\"id\": \"b\", \"n\": 2.5}], \"ok\": true, "
    "\"a\": 1, \"b\": 2, \"c\": 3, \"d\": 4, \"e\": 5, \"f\": 6, \"g\": 7, \"h\": 8, \"i\": 9}";

static int use_json(void *ctx, struct err *e) {
    (void)ctx;
    json_t *v = NULL;
    struct buf b;
    buf_init(&b);
    int rc = json_parse(some_json, strlen(some_json), "test", &v, e);
    if ((rc != 0) == (v != NULL)) {
        rc = WRONG_RESULT;
    }
    rc = rc ? rc : json_write(v, &b, e);
    if (!rc && b.len != strlen("{\"models\":[{\"id\":\"a\",\"n\":1},{\"id\":\"b\",\"n\":2.5}],"
                               "\"ok\":true}") +
                            9 * 6) {
        rc = WRONG_RESULT;
    }
    json_decref(v);
    buf_release(&b);
    return rc;
}

static void json_survives(void **state) {
    (void)state;
    fail_one_after_another(use_json, NULL, REPORTS_ALL);
}

static int use_channel(void *ctx, struct err *e) {
    (void)ctx;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        return WRONG_RESULT;
    }
    struct channel c;
    json_t *got = NULL;
    channel_init(&c, fds[1]);
    struct channel sender = {.fd = fds[0]};
    int rc = channel_send(&sender, json_pack("{s:s, s:i}", "t", "row", "n", 5), e);
    rc = rc ? rc : channel_recv(&c, clock_mono_ns() + NS_PER_S, &got, e);
    if (!rc && json_int_or(got, "n", 0) != 5) {
        rc = WRONG_RESULT;
    }
    json_decref(got);
    channel_release(&c);
    close(fds[0]);
    close(fds[1]);
    return rc;
}

static void channel_survives(void **state) {
    (void)state;
    fail_one_after_another(use_channel, NULL, REPORTS_ALL);
}

static const char some_yaml[] = "models:\n  - {id: a, n: 1}\n  - {id: b, n: 2}\n"
                                "text: |\n  some lines\n  of text\n"
                                "'quoted': \"with \\t escapes\"\nlast: [1, 2, 3, 4, 5, 6, 7, 8]\n";

static int use_ydoc(void *ctx, struct err *e) {
    (void)ctx;
    static const char *const keys[] = {"models", "text", "quoted", "last", NULL};
    struct ydoc *d = NULL;
    int rc = ydoc_load_bytes(some_yaml, strlen(some_yaml), "test", &d, e);
    if ((rc != 0) == (d != NULL) || (rc && rc != EE_NOMEM)) {
        rc = WRONG_RESULT;
    }
    rc = rc ? rc : ymap_check(ydoc_root(d), "test", keys, e);
    int64_t n = 0;
    rc = rc ? rc : ynode_int(yseq_at(ymap_get(ydoc_root(d), "last"), 7), "n", 0, 9, &n, e);
    if (!rc && n != 8) {
        rc = WRONG_RESULT;
    }
    ydoc_free(d);
    return rc;
}

/* The list of what is allowed needs memory; the refusal and its position do not. */
static int use_ydoc_refusal(void *ctx, struct err *e) {
    static const char *const keys[] = {"models", NULL};
    struct err inner = ERR_INIT;
    int rc = ymap_check(ydoc_root(ctx), "test", keys, &inner);
    (void)e;
    return rc == EE_FORMAT && strstr(inner.msg, "p.yaml:2:1: unknown key \"other\"") ? 0
                                                                                     : WRONG_RESULT;
}

static void ydoc_survives(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct ydoc *d = NULL;
    fail_one_after_another(use_ydoc, NULL, REPORTS_ALL);
    OK(ydoc_load_bytes("models: 1\nother: 2\n", 19, "p.yaml", &d, &e));
    fail_one_after_another(use_ydoc_refusal, d, MAY_DO_WITHOUT);
    ydoc_free(d);
}

static int use_opt(void *ctx, struct err *e) {
    (void)ctx;
    static const char *const formats[] = {"text", "csv", "json", NULL};
    static const char *const usage[] = {"x [--format F]", NULL};
    const char *format = NULL;
    const struct opt options[] = {
        {OPT_CHOICE, 0, "format", &format, "F", "how", formats},
        {OPT_END, 0, NULL, NULL, NULL, NULL, NULL},
    };
    const struct opt_command cmd = {
        .name = "x", .usage = usage, .summary = "s", .options = options};
    char name[] = "x";
    char right[] = "--format=json";
    char wrong[] = "--format=xml";
    char *argv[] = {name, right, NULL};
    char *bad_argv[] = {name, wrong, NULL};
    int n;
    bool help;
    struct err inner = ERR_INIT;
    int rc = opt_parse(&cmd, 2, argv, &n, &help, e);
    if (!rc && (!format || strcmp(format, "json") != 0)) {
        rc = WRONG_RESULT;
    }
    if (opt_parse(&cmd, 2, bad_argv, &n, &help, &inner) != EE_USAGE || !strstr(inner.msg, "xml")) {
        rc = WRONG_RESULT;
    }
    struct buf b;
    buf_init(&b);
    opt_help(&cmd, &b);
    rc = rc ? rc : buf_check(&b, "help", e);
    buf_release(&b);
    return rc;
}

static void opt_survives(void **state) {
    (void)state;
    fail_one_after_another(use_opt, NULL, MAY_DO_WITHOUT);
}

static int use_pack(void *ctx, struct err *e) {
    (void)ctx;
    struct buf b;
    buf_init(&b);
    int rc = pack_base64("aaaaaaaaaaaaaaaaaaaaaaaa", 24, &b, e);
    if (rc ? b.len != 0 : strncmp(b.data, "eN", 2) != 0 || b.len % 4 != 0) {
        rc = WRONG_RESULT; /* a part must not look like the whole */
    }
    buf_release(&b);
    return rc;
}

static void pack_survives(void **state) {
    (void)state;
    fail_one_after_another(use_pack, NULL, REPORTS_ALL);
}

static int use_process(void *ctx, struct err *e) {
    (void)ctx;
    static const char *const add[] = {"EE_TEST=1", NULL};
    static const char *const argv[] = {"/bin/sh", "-c", "exit $((EE_TEST + 4))", NULL};
    const struct process_spec spec = {.argv = argv, .env_add = add, .with_channel = true};
    struct process p;
    int rc = process_spawn(&p, &spec, e);
    if (rc) {
        process_release(&p);
        return p.pid == -1 && p.channel_fd == -1 ? rc : WRONG_RESULT;
    }
    bool ended = process_wait_until(&p, clock_mono_ns() + 60 * NS_PER_S);
    bool right = ended && p.end == PROCESS_EXITED && p.status == 5;
    process_release(&p);
    return right ? 0 : WRONG_RESULT;
}

static int use_process_kill(void *ctx, struct err *e) {
    (void)ctx;
    static const char *const argv[] = {"/bin/sleep", "1000", NULL};
    const struct process_spec spec = {.argv = argv};
    struct process p;
    int rc = process_spawn(&p, &spec, e);
    if (!rc) {
        process_kill_tree(&p, 0);
        rc = p.end == PROCESS_KILLED ? 0 : WRONG_RESULT;
    }
    process_release(&p);
    return rc;
}

static void process_survives(void **state) {
    (void)state;
    fail_one_after_another(use_process, NULL, MAY_DO_WITHOUT);
    fail_one_after_another(use_process_kill, NULL, MAY_DO_WITHOUT);
}

/* ---- store ---- */

/* Names that need no allocation. */
struct store_case {
    char dir[80];
    char path[100];
};

/* In memory where that is permitted: thousands of transactions are synced to a disk elsewhere. */
static struct store_case name_store(struct scratch *sc) {
    struct store_case c;
    const char *disk = scratch_small_disk(sc, 16 << 20);
    snprintf(c.dir, sizeof(c.dir), "%s", disk ? disk : sc->dir);
    snprintf(c.path, sizeof(c.path), "%s/run.db", c.dir);
    return c;
}

static int use_store_create(void *ctx, struct err *e) {
    const struct store_case *c = ctx;
    struct store *s = NULL;
    int rc = store_create(c->path, &s, e);
    if ((rc != 0) == (s != NULL)) {
        rc = WRONG_RESULT;
    }
    store_close(s);
    if (rc < 0 && access(c->path, F_OK) == 0) {
        rc = WRONG_RESULT; /* half a store stands in the way of the next try */
    }
    unlink(c->path);
    return rc;
}

static void creating_a_store_survives(void **state) {
    struct store_case c = name_store(*state);
    fail_one_after_another(use_store_create, &c, MAY_DO_WITHOUT);
}

static int use_store_write(void *ctx, struct err *e) {
    const struct store_case *c = ctx;
    struct store *s = NULL;
    struct store_stage st = a_stage;
    int64_t id = 0;
    st.key = "k2";
    int rc = store_open(c->path, false, &s, e);
    if (rc) {
        return s ? WRONG_RESULT : rc;
    }
    rc = store_begin(s, e);
    rc = rc ? rc : store_stage_put(s, &st, &id, e);
    rc = rc ? rc : rows_put_all(s, id, e);
    rc = rc ? rc : store_variant_stage_put(s, "v1", id, e);
    rc = rc ? rc : store_variant_note(s, "v1", "a note", e);
    rc = rc ? rc : store_meta_set(s, "k", "v", e);
    rc = rc ? rc : store_stage_finish(s, id, 5, "{}", e);
    rc = rc ? rc : store_commit(s, e);
    if (rc) {
        store_rollback(s);
    }
    store_close(s);
    return rc;
}

static void undo_store_write(const struct store_case *c) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct store *s = rows_open(c->path, false);
    struct store_stage st;
    OK(store_stage_find(s, "k2", &a, &st, &e));
    if (st.key) {
        assert_int_equal(rows_count(s, st.stage_id), 6); /* whole or not there */
        OK(store_stage_delete(s, st.stage_id, &e));
    }
    assert_int_equal(rows_count_stages(s), 1);
    arena_release(&a);
    store_close(s);
}

static int use_store_write_and_undo(void *ctx, struct err *e) {
    int rc = use_store_write(ctx, e);
    size_t left = suspend_failure();
    undo_store_write(ctx);
    heap.until_failure = left;
    return rc;
}

static void writing_to_a_store_survives(void **state) {
    struct store_case c = name_store(*state);
    struct store *s = rows_new_store(c.path);
    rows_put_stage(s, "k1");
    store_close(s);
    fail_one_after_another(use_store_write_and_undo, &c, MAY_DO_WITHOUT);
}

static bool is(const char *got, const char *want) {
    return got && strcmp(got, want) == 0;
}

static int use_store_read(void *ctx, struct err *e) {
    const struct store_case *c = ctx;
    struct store *s = NULL;
    struct arena a = ARENA_INIT;
    struct store_stage st = {0};
    struct store_stage used = {0};
    struct store_variant *variants = NULL;
    struct store_energy *energies = NULL;
    struct store_request *requests = NULL;
    struct store_cold_start *cold_starts = NULL;
    struct store_memory *memories = NULL;
    struct store_artifact *artifacts = NULL;
    struct store_score *scores = NULL;
    char *machine = NULL;
    size_t n[7] = {0};
    int rc = store_open(c->path, true, &s, e);
    rc = rc ? rc : store_machine_get(s, "m1", &a, &machine, e);
    rc = rc ? rc : store_stage_find(s, "k1", &a, &st, e);
    rc = rc ? rc : store_variant_stage(s, "v1", "serve", &a, &used, e);
    rc = rc ? rc : store_variants(s, &a, &variants, &n[0], e);
    rc = rc ? rc : store_energies(s, st.stage_id, &a, &energies, &n[1], e);
    rc = rc ? rc : store_requests(s, st.stage_id, true, &a, &requests, &n[2], e);
    rc = rc ? rc : store_cold_starts(s, st.stage_id, &a, &cold_starts, &n[3], e);
    rc = rc ? rc : store_memories(s, st.stage_id, &a, &memories, &n[4], e);
    rc = rc ? rc : store_artifacts(s, st.stage_id, &a, &artifacts, &n[5], e);
    rc = rc ? rc : store_scores(s, st.stage_id, &a, &scores, &n[6], e);
    /* A text that could not be loaded must not read as NULL. */
    if (!rc &&
        !(is(machine, "{}") && is(st.key, "k1") && is(st.title, a_stage.title) &&
          is(used.key, "k1") && n[0] == 1 && is(variants[0].device, "cpu") && n[1] == 1 &&
          is(energies[0].source, "rapl") && n[2] == 1 && is(requests[0].text, "an answer") &&
          requests[0].events_bytes == 4 && n[3] == 1 && is(cold_starts[0].cache, "cold") &&
          n[4] == 1 && is(memories[0].part, "weights") && n[5] == 1 &&
          is(artifacts[0].hash, an_artifact.hash) && n[6] == 1 && is(scores[0].scorer, "f1"))) {
        rc = WRONG_RESULT;
    }
    arena_release(&a);
    store_close(s);
    return rc;
}

static void make_store_to_read(const struct store_case *c) {
    struct err e = ERR_INIT;
    struct store *s = rows_new_store(c->path);
    int64_t id = rows_put_stage(s, "k1");
    struct store_request row = a_request;
    row.events = "\1\0\0";
    row.events_bytes = 4;
    row.ordinal = 1;
    OK(rows_put_all(s, id, &e));
    OK(store_variant_stage_put(s, "v1", id, &e));
    OK(store_stage_delete(s, id, &e));
    id = rows_put_stage(s, "k1");
    OK(store_energy_put(s, id, &an_energy, &e));
    OK(store_request_put(s, id, &row, &e));
    OK(store_cold_start_put(s, id, &a_cold_start, &e));
    OK(store_memory_put(s, id, &a_memory, &e));
    OK(store_artifact_put(s, id, &an_artifact, &e));
    OK(store_score_put(s, id, &a_score, &e));
    OK(store_variant_stage_put(s, "v1", id, &e));
    store_close(s);
}

static void reading_a_store_survives(void **state) {
    struct store_case c = name_store(*state);
    make_store_to_read(&c);
    fail_one_after_another(use_store_read, &c, MAY_DO_WITHOUT);
}

static int use_store_read_as_nobody(void *ctx, struct err *e) {
    scratch_be_nobody();
    int rc = use_store_read(ctx, e);
    scratch_be_root();
    return rc;
}

static void reading_from_a_read_only_directory_survives(void **state) {
    struct store_case c = name_store(*state);
    make_store_to_read(&c);
    assert_int_equal(chmod(c.dir, 0555), 0);
    fail_one_after_another(use_store_read_as_nobody, &c, MAY_DO_WITHOUT);
}

static int use_events(void *ctx, struct err *e) {
    (void)ctx;
    static int64_t times[10000];
    struct arena a = ARENA_INIT;
    const void *blob = NULL;
    size_t bytes = 0;
    int64_t *got = NULL;
    size_t n = 0;
    times[9999] = 5000;
    int rc = store_pack_events(&a, times, 10000, &blob, &bytes, e);
    rc = rc ? rc : store_unpack_events(&a, blob, bytes, 0, &got, &n, e);
    if (!rc && (n != 10000 || got[9999] != 5000)) {
        rc = WRONG_RESULT;
    }
    arena_release(&a);
    return rc;
}

static void token_times_survive(void **state) {
    (void)state;
    fail_one_after_another(use_events, NULL, REPORTS_ALL);
}

static int use_stats(void *ctx, struct err *e) {
    (void)ctx;
    const double a[] = {1.5, -2, 3, 4.25, 5, 6.5};
    const double b[] = {7, 2.5, 1, 9, 2, 4};
    const struct stats_opts opts = {.resamples = 100};
    const struct stats_device_joules device = {.device = "gpu0", .gain = 0.05, .joules = b};
    const struct stats_joules j = {&device, 1, 6, false};
    struct stats_joules_interval of_joules;
    struct stats_interval i;
    double adjusted[6];
    int rc = stats_paired_ratio(a, b, 6, &opts, &i, e);
    rc = rc ? rc : stats_paired_ratio(b, b + 1, 5, &opts, &i, e);
    rc = rc ? rc : stats_paired_difference(a, b, 6, &opts, &i, e);
    rc = rc ? rc : stats_mean_of(a, 6, &opts, &i, e);
    rc = rc ? rc : stats_percentile_in_time(b, b, 6, 0.5, 0.95, &i, e);
    rc = rc ? rc : stats_repeats_ratio(b, 6, b, 6, &opts, &i, e);
    rc = rc ? rc : stats_joules_ratio(&j, &j, &opts, &of_joules, e);
    rc = rc ? rc : stats_holm(b, 6, adjusted, e);
    return rc ? rc : i.method ? 0 : WRONG_RESULT;
}

static void statistics_survive(void **state) {
    (void)state;
    fail_one_after_another(use_stats, NULL, REPORTS_ALL);
}

/* ---- measurements in CSV files ---- */

static const char some_csv[] = "family,precision,energy_j,power_mean_w,duration_s,note\n"
                               "A,fp16,110,10,10,\"a \"\"b\"\"\"\nA,int8,-5,x,10,\nB,fp16,3\n";

static int use_csvdoc(void *ctx, struct err *e) {
    (void)ctx;
    struct csvdoc *d = NULL;
    int rc = csvdoc_load_bytes(some_csv, strlen(some_csv), "test", &d, e);
    if ((rc != 0) == (d != NULL) || (rc && rc != EE_NOMEM)) {
        rc = WRONG_RESULT;
    }
    if (!rc && strcmp(csvdoc_cell(d, 0, csvdoc_find(d, "note")), "a \"b\"") != 0) {
        rc = WRONG_RESULT;
    }
    csvdoc_free(d);
    return rc;
}

static void csvdoc_survives(void **state) {
    (void)state;
    fail_one_after_another(use_csvdoc, NULL, REPORTS_ALL);
}

struct audit_use {
    const char *csv;
    char *data_dir;
    bool as_json;
};

static int use_audit(void *ctx, struct err *e) {
    const struct audit_use *use = ctx;
    struct buf out;
    buf_init(&out);
    int rc = audit_report_format(&use->csv, 1, use->data_dir, use->as_json, 0, &out, e);
    if (!rc && (!strstr(out.data, "energy-mismatch") || !strstr(out.data, "column power_mean_w"))) {
        rc = WRONG_RESULT;
    }
    buf_release(&out);
    return rc;
}

static void an_audit_survives(void **state) {
    if (!CAN_FAIL) {
        skip(); /* before anything is allocated that a skip would leave behind */
    }
    struct audit_use use = {.csv = scratch_write(*state, "m.csv", some_csv, strlen(some_csv)),
                            .data_dir = source_path("data")};
    fail_one_after_another(use_audit, &use, REPORTS_ALL);
    use.as_json = true;
    fail_one_after_another(use_audit, &use, REPORTS_ALL);
    free(use.data_dir);
}

#define ON_FILES(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

static int announce(void **state) {
    (void)state;
    if (!CAN_FAIL) {
        print_message("this build's allocator cannot be made to fail\n");
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_survives),
        cmocka_unit_test(arena_survives),
        ON_FILES(files_survive),
        cmocka_unit_test(machine_survives),
        cmocka_unit_test(json_survives),
        cmocka_unit_test(channel_survives),
        cmocka_unit_test(ydoc_survives),
        cmocka_unit_test(opt_survives),
        cmocka_unit_test(pack_survives),
        cmocka_unit_test(process_survives),
        ON_FILES(creating_a_store_survives),
        ON_FILES(writing_to_a_store_survives),
        ON_FILES(reading_a_store_survives),
        ON_FILES(reading_from_a_read_only_directory_survives),
        cmocka_unit_test(token_times_survive),
        cmocka_unit_test(statistics_survive),
        cmocka_unit_test(csvdoc_survives),
        ON_FILES(an_audit_survives),
    };
    return cmocka_run_group_tests(tests, announce, NULL);
}
