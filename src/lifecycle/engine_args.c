#include "lifecycle/engine_args.h"

#include "base/json.h"
#include "lifecycle/run_internal.h"

/* What shapes a server's answers and their times; where it listens does not. */
static json_t *server_json(const struct plan_server *p) {
    json_t *command = json_array();
    for (const char *const *w = p->command; w && *w; w++) {
        json_array_append_new(command, json_string(*w));
    }
    return json_pack("{s:s, s:o, s:s, s:s, s:i, s:s}", "name", p->name, "command", command, "url",
                     p->url && !p->command ? p->url : "", "model", p->model ? p->model : "", "api",
                     (int)p->api, "extra", p->extra ? p->extra : "");
}

json_t *run_engine_json(const struct run *r) {
    json_t *v = json_pack(
        "{s:I, s:I, s:I, s:b, s:i}", "threads", (json_int_t)r->plan.engine.threads, "gpu_layers",
        (json_int_t)r->plan.engine.gpu_layers, "batch", (json_int_t)r->plan.engine.batch,
        "kv_unified", r->plan.engine.kv_unified, "device_sampling", r->plan.engine.device_sampling);
    if (r->plan.server.is_used) {
        json_object_set_new(v, "server", server_json(&r->plan.server));
    }
    return v;
}

void engine_args_read(const json_t *args, struct engine_opts *opts) {
    opts->n_threads = (int)json_int_or(args, "threads", 0);
    opts->n_gpu_layers = (int)json_int_or(args, "gpu_layers", ENGINE_ALL_GPU_LAYERS);
    opts->n_batch = (int)json_int_or(args, "batch", 0);
    opts->kv_unified = json_is_true(json_object_get(args, "kv_unified"));
    opts->device_sampling = (enum engine_switch)json_int_or(args, "device_sampling",
                                                            (int64_t)ENGINE_AUTO);
}
