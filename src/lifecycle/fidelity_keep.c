#include "lifecycle/fidelity.h"

#include "base/arena.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

void fidelity_key(const char *base_hash, const char *other_hash, struct buf *out) {
    buf_addf(out, "fidelity/%s/%s", base_hash, other_hash);
}

static int check_file(struct store *s, const char *path, const char *run_dir, const char *hash,
                      struct err *e) {
    struct arena a = ARENA_INIT;
    struct store_stage *stages = NULL;
    size_t n = 0;
    bool found = false;
    int rc = store_stages(s, &a, &stages, &n, e);
    for (size_t i = 0; !rc && i < n; i++) {
        struct store_artifact *files = NULL;
        size_t n_files = 0;
        rc = store_artifacts(s, stages[i].stage_id, &a, &files, &n_files, e);
        for (size_t k = 0; k < n_files; k++) {
            found = found || strcmp(files[k].hash, hash) == 0;
        }
    }
    arena_release(&a);
    return rc || found ? rc
                       : err_set(e, EE_USAGE,
                                 "%s is none of the model files of %s; those lie in its artifacts/",
                                 path, run_dir);
}

static int put(struct store *s, const struct fidelity_opts *o, char hashes[2][HASH_HEX_SIZE],
               const json_t *result, struct err *e) {
    struct buf key, text;
    buf_init(&key);
    buf_init(&text);
    fidelity_key(hashes[0], hashes[1], &key);
    json_t *kept = json_deep_copy(result);
    const char *on = o->text_path ? fs_basename(o->text_path) : o->task;
    int rc = kept && json_object_set_new(kept, "on", json_string(on)) == 0
                 ? json_write(kept, &text, e)
                 : err_set(e, EE_NOMEM, "fidelity: out of memory");
    rc = rc ? rc : buf_check(&key, "fidelity", e);
    rc = rc ? rc : store_meta_set(s, key.data, text.data, e);
    json_decref(kept);
    buf_release(&text);
    buf_release(&key);
    return rc;
}

int fidelity_keep(const char *run_dir, const struct fidelity_opts *o, const json_t *result,
                  struct err *e) {
    const char *const paths[] = {o->base_path, o->other_path};
    char hashes[2][HASH_HEX_SIZE];
    struct store *s = NULL;
    char *path = fs_join(run_dir, "run.db");
    int rc = !path ? err_set(e, EE_NOMEM, "fidelity: out of memory")
             : !fs_exists(path)
                 ? err_set(e, EE_MISSING, "%s is not a run directory: it has no run.db", run_dir)
                 : store_open(path, false, &s, e);
    for (size_t i = 0; !rc && i < 2; i++) {
        rc = hash_file(paths[i], hashes[i], e);
        rc = rc ? rc : check_file(s, paths[i], run_dir, hashes[i], e);
    }
    rc = rc ? rc : put(s, o, hashes, result, e);
    store_close(s);
    free(path);
    return rc;
}
