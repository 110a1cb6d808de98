/* manifest.json: what a reader needs to judge or repeat a run. */
#include "base/fs.h"
#include "base/json.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/score_source.h"

#include <stdlib.h>
#include <string.h>

static json_t *models_json(const struct run *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->plan.n_models; i++) {
        const struct plan_model *p = &r->plan.models[i];
        const struct model_facts *m = &r->models[i];
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "id", p->id, "family",
                              p->family, "size", p->size, "file",
                              p->path ? fs_basename(p->path) : "", "hash", m->hash, "file_type",
                              m->file_type, "params", (json_int_t)m->n_params);
        if (p->note) {
            json_object_set_new(o, "note", json_string(p->note));
        }
        if (m->failed) {
            json_object_set_new(o, "error", json_string(m->error));
        }
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *tasks_json(const struct run *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->plan.n_tasks; i++) {
        const struct plan_task *t = &r->plan.tasks[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "task", t->name, "hash",
                                              r->task_hash[t->kind], "items",
                                              (json_int_t)r->tasks[t->kind].n_items, "max_tokens",
                                              (json_int_t)t->max_tokens));
    }
    return list;
}

/* A meta value that is JSON text, parsed; null when absent. */
static json_t *meta_json(struct run *r, const char *key) {
    struct arena a = ARENA_INIT;
    char *text = NULL;
    json_t *v = NULL;
    if (store_meta_get(r->store, key, &a, &text, NULL) == 0 && text &&
        json_parse(text, strlen(text), key, &v, NULL) != 0) {
        v = NULL;
    }
    arena_release(&a);
    return v ? v : json_null();
}

static json_t *meta_string(struct run *r, const char *key) {
    struct arena a = ARENA_INIT;
    char *text = NULL;
    json_t *v = NULL;
    if (store_meta_get(r->store, key, &a, &text, NULL) == 0 && text) {
        v = json_string(text);
    }
    arena_release(&a);
    return v ? v : json_null();
}

static json_t *stored_machine(struct run *r) {
    struct arena a = ARENA_INIT;
    char *text = NULL;
    json_t *v = NULL;
    if (store_machine_get(r->store, r->machine_id, &a, &text, NULL) == 0 && text &&
        json_parse(text, strlen(text), "machine", &v, NULL) != 0) {
        v = NULL;
    }
    arena_release(&a);
    return v ? v : json_null();
}

int manifest_write(struct run *r, struct err *e) {
    json_t *m = json_object();
    json_object_set_new(m, "run_id", meta_string(r, "run_id"));
    json_object_set_new(m, "created_utc", meta_string(r, "created_utc"));
    json_object_set_new(m, "edge_eval_version", json_string(r->opts->version));
    json_object_set_new(m, "engine", json_string(run_engine_name(r)));
    /* A server tells its version, if at all, in the stages that it ran in. */
    json_object_set_new(m, "engine_version",
                        r->plan.server.is_used ? json_null() : json_string(r->engine_version));
    json_object_set_new(m, "machine_id", json_string(r->machine_id));
    json_object_set_new(m, "machine", stored_machine(r));
    json_object_set_new(m, "idle", meta_json(r, "idle_json"));
    json_object_set_new(m, "seed", json_integer((json_int_t)r->plan.seed));
    json_object_set_new(m, "models", models_json(r));
    json_object_set_new(m, "tasks", tasks_json(r));
    json_object_set_new(m, "scored_by", score_sources_json(r));
    json_object_set_new(m, "engine_settings", run_engine_json(r));
    json_object_set_new(m, "energy_source", json_string(r->plan.energy.source));
    json_object_set_new(m, "plan", json_string(r->plan.text));
    json_object_set_new(m, "prices", meta_json(r, "prices"));
    char *text = json_dumps(m, JSON_INDENT(2));
    char *path = fs_join(r->dir, "manifest.json");
    int rc = text && path ? fs_write_atomic(path, text, strlen(text), e)
                          : err_set(e, EE_NOMEM, "manifest: out of memory");
    free(path);
    free(text);
    json_decref(m);
    return rc;
}
