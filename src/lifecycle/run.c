/* A run's directory: creating, opening, locking and closing it. execute.c does the work. */
#include "lifecycle/run.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "lifecycle/reference.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/score_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void run_note(const struct run *r, const char *fmt, ...) {
    const struct run_observer *o = r->opts->observer;
    if (!o || !o->note) {
        return;
    }
    char text[1536];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    o->note(o->ctx, text);
}

static char *path_in(const struct run *r, const char *name) {
    return fs_join(r->dir, name);
}

/* Two processes must not measure into one directory; the lock dies with its holder. */
static int lock_dir(struct run *r, struct err *e) {
    char *path = path_in(r, "lock");
    if (!path) {
        return err_set(e, EE_NOMEM, "run: out of memory");
    }
    int rc = 0;
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (r->lock_fd < 0) {
        rc = err_errno(e, errno, "cannot create %s", path);
    } else if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        rc = err_set(e, EE_USAGE,
                     "%s is in use by another edge-eval run; wait for it or choose "
                     "another --out",
                     r->dir);
    }
    free(path);
    return rc;
}

static int load_tasks(struct run *r, struct err *e) {
    for (size_t i = 0; i < r->plan.n_tasks; i++) {
        const struct plan_task *t = &r->plan.tasks[i];
        int rc = task_load(t->kind, t->path, (size_t)t->items, &r->tasks[t->kind], e);
        rc = rc ? rc : hash_file(t->path, r->task_hash[t->kind], e);
        const char *rows = r->plan.adapt.data[t->kind];
        if (!rc && fs_exists(rows)) {
            rc = hash_file(rows, r->train_hash[t->kind], e);
        }
        if (rc) {
            return rc;
        }
        if (t->items > 0 && r->tasks[t->kind].n_items < (size_t)t->items) {
            run_note(r, "%s has %zu items, fewer than the %lld asked for", t->path,
                     r->tasks[t->kind].n_items, (long long)t->items);
        }
    }
    return 0;
}

/* Allocates a run with its plan's variants and tasks; dir may be NULL (describing only). */
static int new_run(const char *dir, const struct run_opts *opts, struct run **out, struct err *e) {
    struct run *r = calloc(1, sizeof(*r));
    *out = r;
    if (r) {
        r->opts = opts;
        r->lock_fd = -1;
        r->dir = strdup(dir ? dir : ".");
        r->artifacts = opts->scratch ? strdup(opts->scratch) : path_in(r, "artifacts");
        machine_describe(&r->machine);
    }
    return r && r->dir && r->artifacts ? 0 : err_set(e, EE_NOMEM, "run: out of memory");
}

/* Where a shape's weights will lie in F16. */
static int place_models(struct run *r, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < r->plan.n_models && !rc; i++) {
        struct plan_model *m = &r->plan.models[i];
        struct buf path;
        buf_init(&path);
        buf_addf(&path, "%s/%s.base.F16.gguf", r->artifacts, m->id);
        if (m->shape) {
            m->path = arena_strdup(&r->arena, path.data);
            rc = m->path ? buf_check(&path, "path", e) : err_set(e, EE_NOMEM, "run: out of memory");
        }
        buf_release(&path);
    }
    return rc;
}

/* Published rows that the plan asks for are there: found out before anything is measured. */
static int check_reference(struct run *r, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < r->n_variants && !rc; i++) {
        const struct variant *v = &r->variants[i];
        struct reference_quality quality;
        int64_t rows = 0;
        if (r->plan.adapt.extrapolate_published && variant_is_adapted(v)) {
            rc = reference_train_rows(r->opts->data_dir, v, &rows, e);
        }
        if (!rc && r->plan.published_quality) {
            rc = reference_quality(r->opts->data_dir, v, &quality, e);
        }
    }
    return rc;
}

static int prepare(struct run *r, struct err *e) {
    int rc = place_models(r, e);
    rc = rc ? rc : variants_expand(&r->plan, &r->arena, &r->variants, &r->n_variants, e);
    rc = rc ? rc : load_tasks(r, e);
    rc = rc ? rc : check_reference(r, e);
    return rc ? rc : score_sources_prepare(r, e);
}

void run_close(struct run *r) {
    if (!r) {
        return;
    }
    meter_stop(r->meter);
    store_close(r->store);
    for (int i = 0; i < TASK_KINDS; i++) {
        task_set_release(&r->tasks[i]);
    }
    if (r->lock_fd >= 0) {
        close(r->lock_fd);
    }
    free(r->dir);
    free(r->artifacts);
    arena_release(&r->arena);
    free(r);
}

/* The plan's absolute path: what is relative in the plan must mean the same when resumed from
 * another directory. */
static char *absolute(const char *path, struct err *e) {
    char *real = realpath(path, NULL);
    if (!real) {
        err_errno(e, errno, "cannot open %s", path);
    }
    return real;
}

/* A run that went from machine to machine may have lost what is empty or was left out. */
static int make_dirs(struct run *r, struct err *e) {
    char *logs = path_in(r, "logs");
    int rc = logs ? fs_mkdirs(logs, e) : err_set(e, EE_NOMEM, "run: out of memory");
    free(logs);
    return rc ? rc : fs_mkdirs(r->artifacts, e);
}

static int store_facts(struct run *r, struct err *e) {
    char created[24];
    clock_wall_iso8601(created, sizeof(created));
    struct buf id;
    buf_init(&id);
    buf_addf(&id, "%s-%s", r->plan.name, created);
    const char *const facts[][2] = {
        {"run_id", id.data},         {"created_utc", created},    {"version", r->opts->version},
        {"plan_path", r->plan.path}, {"plan_yaml", r->plan.text}, {"plan_name", r->plan.name},
        {"prices", r->opts->prices},
    };
    int rc = store_begin(r->store, e);
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]) && !rc; i++) {
        rc = facts[i][1] ? store_meta_set(r->store, facts[i][0], facts[i][1], e) : 0;
    }
    rc = rc ? rc : store_commit(r->store, e);
    buf_release(&id);
    return rc;
}

/* Removes a database that was never finished, with what SQLite keeps beside it. */
static void remove_unfinished(const char *path) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        struct buf b;
        buf_init(&b);
        buf_addf(&b, "%s%s", path, suffixes[i]);
        unlink(b.data);
        buf_release(&b);
    }
}

static int open_store(struct run *r, struct err *e) {
    char *path = path_in(r, "run.db");
    int rc = path ? store_open(path, false, &r->store, e)
                  : err_set(e, EE_NOMEM, "run: out of memory");
    free(path);
    return rc;
}

/* Closing a database brings what was written into its file; where that failed, the rest is beside. */
static int check_finished(const char *path, struct err *e) {
    struct buf wal;
    buf_init(&wal);
    buf_addf(&wal, "%s-wal", path);
    int rc = buf_check(&wal, path, e);
    if (!rc && fs_exists(wal.data)) {
        rc = err_set(e, EE_NOSPACE, "%s could not be written whole: the disk is full", path);
    }
    buf_release(&wal);
    return rc;
}

/* run.db gets its name once the plan is in it: a run killed before that has not begun. */
static int create_store(struct run *r, struct err *e) {
    char *path = path_in(r, "run.db");
    char *unfinished = path_in(r, "run.db.new");
    int rc = path && unfinished ? 0 : err_set(e, EE_NOMEM, "run: out of memory");
    if (!rc && fs_exists(path)) {
        rc = err_set(e, EE_USAGE,
                     "%s holds a run already; go on with it by \"edge-eval run --resume %s\", or "
                     "choose another --out",
                     r->dir, r->dir);
    } else if (!rc) {
        remove_unfinished(unfinished);
        rc = store_create(unfinished, &r->store, e);
        rc = rc ? rc : store_facts(r, e);
        store_close(r->store);
        r->store = NULL;
        rc = rc ? rc : check_finished(unfinished, e);
        if (!rc && rename(unfinished, path) != 0) {
            rc = err_errno(e, errno, "cannot rename %s", unfinished);
        }
        rc = rc ? rc : open_store(r, e);
        if (rc) {
            remove_unfinished(unfinished);
        }
    }
    free(unfinished);
    free(path);
    return rc;
}

int run_create(const char *plan_path, const char *dir, const struct run_opts *opts,
               struct run **out, struct err *e) {
    *out = NULL;
    struct run *r = NULL;
    char *plan_abs = absolute(plan_path, e);
    if (!plan_abs) {
        return e ? e->code : EE_MISSING;
    }
    int rc = new_run(dir, opts, &r, e);
    rc = rc ? rc : plan_load(plan_abs, opts->data_dir, &r->arena, &r->plan, e);
    rc = rc ? rc : prepare(r, e);
    rc = rc ? rc : make_dirs(r, e);
    rc = rc ? rc : lock_dir(r, e);
    rc = rc ? rc : create_store(r, e);
    free(plan_abs);
    if (rc) {
        run_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

static int load_stored_plan(struct run *r, struct err *e) {
    char *yaml = NULL;
    char *path = NULL;
    int rc = store_meta_get(r->store, "plan_yaml", &r->arena, &yaml, e);
    rc = rc ? rc : store_meta_get(r->store, "plan_path", &r->arena, &path, e);
    if (!rc && (!yaml || !path)) {
        rc = err_set(e, EE_FORMAT, "%s/run.db holds no plan: it is not a run of edge-eval", r->dir);
    }
    return rc ? rc
              : plan_parse(yaml, strlen(yaml), path, r->opts->data_dir, &r->arena, &r->plan, e);
}

int run_resume(const char *dir, const struct run_opts *opts, struct run **out, struct err *e) {
    *out = NULL;
    struct run *r = NULL;
    int rc = new_run(dir, opts, &r, e);
    if (!rc) {
        char *db = path_in(r, "run.db");
        if (!db || !fs_exists(db)) {
            rc = err_set(
                e, EE_MISSING,
                "%s holds no run (no run.db); start one by \"edge-eval run PLAN --out %s\"", dir,
                dir);
        }
        free(db);
    }
    rc = rc ? rc : lock_dir(r, e);
    rc = rc ? rc : open_store(r, e);
    rc = rc ? rc : load_stored_plan(r, e);
    rc = rc ? rc : make_dirs(r, e);
    rc = rc ? rc : prepare(r, e);
    if (rc) {
        run_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

int run_default_dir(const char *plan_path, const struct run_opts *opts, const char *parent,
                    char **out, struct err *e) {
    struct arena a = ARENA_INIT;
    struct plan plan;
    struct buf dir;
    buf_init(&dir);
    *out = NULL;
    int rc = plan_load(plan_path, opts->data_dir, &a, &plan, e);
    for (int i = 1; !rc; i++) {
        buf_clear(&dir);
        buf_addf(&dir, i == 1 ? "%s/%s" : "%s/%s-%d", parent, plan.name, i);
        rc = buf_check(&dir, "run directory", e);
        if (!rc && !fs_exists(dir.data)) {
            *out = buf_detach(&dir);
            break;
        }
    }
    buf_release(&dir);
    arena_release(&a);
    return rc;
}

int run_describe(const char *plan_path, const struct run_opts *opts, struct buf *out,
                 struct err *e) {
    struct run *r = NULL;
    int rc = new_run(NULL, opts, &r, e);
    rc = rc ? rc : plan_load(plan_path, opts->data_dir, &r->arena, &r->plan, e);
    rc = rc ? rc : prepare(r, e);
    rc = rc ? rc : inspect_models(r, e);
    rc = rc ? rc : describe_stages(r, out, e);
    run_close(r);
    return rc;
}
