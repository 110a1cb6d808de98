/* Opening, describing and closing a model on libllama, and its chat template. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/machine.h"
#include "engine/gguf_info.h"
#include "engine/llama_internal.h"

#include <ggml-backend.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CTX_SEQ = 512, DEFAULT_BATCH = 512, MIN_OUTPUTS = 32 };

/* Defaults for zeroed fields. */
static struct engine_opts effective(const struct engine_opts *asked) {
    struct engine_opts o = *asked;
    o.n_threads = o.n_threads > 0 ? o.n_threads : machine_hw_threads();
    o.n_seq_max = o.n_seq_max > 0 ? o.n_seq_max : 1;
    o.n_ctx_seq = o.n_ctx_seq > 0 ? o.n_ctx_seq : DEFAULT_CTX_SEQ;
    o.n_batch = o.n_batch > 0 ? o.n_batch : DEFAULT_BATCH;
    o.n_batch = o.n_batch > o.n_seq_max ? o.n_batch : o.n_seq_max;
    return o;
}

#define GIB (1024.0 * 1024.0 * 1024.0)

/* Memory free on accelerators, which weights and cache can go to. */
static uint64_t free_device_bytes(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        if (ggml_backend_dev_type(dev) == GGML_BACKEND_DEVICE_TYPE_GPU) {
            size_t free_bytes = 0;
            size_t total_bytes = 0;
            ggml_backend_dev_memory(dev, &free_bytes, &total_bytes);
            sum += free_bytes;
        }
    }
    return sum;
}

static int check_memory(const struct engine_opts *o, const struct gguf_info *f, struct err *e) {
    int64_t kv = gguf_info_kv_token_bytes(f) * o->n_ctx_seq * o->n_seq_max;
    uint64_t need = (uint64_t)(f->tensor_bytes + kv);
    uint64_t have = machine_available_memory_bytes();
    if (o->n_gpu_layers != 0) {
        have += free_device_bytes();
    }
    if (have > 0 && need > have) {
        return err_set(
            e, EE_NOMEM,
            "%s needs %.1f GiB (weights %.1f, KV cache %.1f) and %.1f GiB are free; use a "
            "smaller precision, context or concurrency",
            o->model_path, (double)need / GIB, (double)f->tensor_bytes / GIB, (double)kv / GIB,
            (double)have / GIB);
    }
    return 0;
}

static int check_before_load(const struct engine_opts *o, struct gguf_info *f, struct err *e) {
    int rc = gguf_info_read_model(o->model_path, f, e);
    rc = rc ? rc : gguf_info_check_answers(f, o->model_path, e);
    return rc ? rc : check_memory(o, f, e);
}

struct llama_model *llama_load_weights(const struct engine_opts *o) {
    struct llama_model_params mp = llama_model_default_params();
    ggml_backend_dev_t no_device = NULL;
    if (o->n_gpu_layers == 0) {
        mp.devices = &no_device; /* an empty list: none is to be used, for nothing */
    }
    mp.n_gpu_layers = o->n_gpu_layers;
    mp.load_mode = o->use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
    return llama_model_load_from_file(o->model_path, mp);
}

static int make_context(struct engine *g, const struct engine_opts *o, struct err *e) {
    struct llama_sampler_seq_config *samplers = NULL;
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = (uint32_t)o->n_ctx_seq * (uint32_t)o->n_seq_max;
    cp.n_batch = (uint32_t)o->n_batch;
    cp.n_ubatch = (uint32_t)o->n_batch;
    cp.n_seq_max = (uint32_t)o->n_seq_max;
    /* One output a sequence and step: without a limit the engine reserves logits for every token of
     * a batch. A limit under 16 made prefill a third slower (measured, see docs/benchmarks.md). */
    int n_outputs = o->n_seq_max > o->n_outputs ? o->n_seq_max : o->n_outputs;
    cp.n_outputs_max = (uint32_t)(n_outputs > MIN_OUTPUTS ? n_outputs : MIN_OUTPUTS);
    cp.n_threads = o->n_threads;
    cp.n_threads_batch = o->n_threads;
    cp.kv_unified = o->kv_unified;
    cp.no_perf = true;
    cp.op_offload = o->n_gpu_layers != 0;
    cp.offload_kqv = o->n_gpu_layers != 0;
    if (g->info.device_sampling) {
        /* From the start, so that the engine plans its memory once. */
        int rc = llama_samplers_at_start(g, &samplers, e);
        if (rc) {
            free(samplers);
            return rc;
        }
        cp.samplers = samplers;
        cp.n_samplers = (size_t)g->n_seq_max;
    }
    g->ctx = llama_init_from_model(g->model, cp);
    free(samplers);
    if (!g->ctx) {
        char what[512];
        snprintf(what, sizeof(what), "no context of %d x %d tokens for %.380s", o->n_seq_max,
                 o->n_ctx_seq, o->model_path);
        return llama_fail(e, EE_NOMEM, what);
    }
    return 0;
}

static ggml_backend_dev_t first_gpu(void) {
    ggml_backend_dev_t gpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    return gpu ? gpu : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU);
}

static void name_device(ggml_backend_dev_t gpu, char *buf, size_t size) {
    snprintf(buf, size, "%s", gpu ? ggml_backend_dev_description(gpu) : "CPU");
}

int engine_device_name(int n_gpu_layers, char *buf, size_t size, struct err *e) {
    int rc = llama_start_backends(e);
    if (!rc) {
        name_device(n_gpu_layers != 0 ? first_gpu() : NULL, buf, size);
    }
    return rc;
}

static void fill_info(struct engine *g, const struct engine_opts *o, const struct gguf_info *f) {
    struct engine_info *info = &g->info;
    ggml_backend_dev_t gpu = o->n_gpu_layers != 0 ? first_gpu() : NULL;
    llama_model_meta_val_str(g->model, "general.architecture", info->arch, sizeof(info->arch));
    llama_model_desc(g->model, info->description, sizeof(info->description));
    name_device(gpu, info->device, sizeof(info->device));
    info->n_params = (int64_t)llama_model_n_params(g->model);
    info->weights_bytes = (int64_t)llama_model_size(g->model);
    info->host_weights_bytes = gpu && o->n_gpu_layers == ENGINE_ALL_GPU_LAYERS ? f->host_bytes : 0;
    info->kv_token_bytes = gguf_info_kv_token_bytes(f);
    info->kv_bytes = info->kv_token_bytes * llama_n_ctx(g->ctx);
    /* With one cache for all, a sequence could take what the others were promised. */
    info->n_ctx_seq = o->kv_unified ? o->n_ctx_seq : (int)llama_n_ctx_seq(g->ctx);
    info->n_threads = llama_n_threads(g->ctx);
    info->n_gpu_layers = gpu ? o->n_gpu_layers : 0;
}

static int check_generates(const struct llama_model *model, const char *path, struct err *e) {
    if (!llama_model_has_decoder(model) || llama_model_has_encoder(model)) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s does not generate text (an encoder); use a model that does", path);
    }
    return 0;
}

int engine_open(const struct engine_opts *opts, struct engine **out, struct engine_times *times,
                struct err *e) {
    *out = NULL;
    const struct engine_opts o = effective(opts);
    struct gguf_info file = {0};
    int rc = llama_start_backends(e);
    if (rc) {
        return rc;
    }
    times->backends_ns = clock_mono_ns();
    if (!o.skip_checks && (rc = check_before_load(&o, &file, e))) {
        return rc;
    }
    struct engine *g = calloc(1, sizeof(*g));
    if (!g) {
        return err_set(e, EE_NOMEM, "opening %s: out of memory", o.model_path);
    }
    g->device_free_before = free_device_bytes();
    g->n_seq_max = o.n_seq_max;
    g->n_batch = o.n_batch;
    g->kv_unified = o.kv_unified;
    char what[512];
    snprintf(what, sizeof(what), "cannot load %.400s", o.model_path);
    g->model = llama_load_weights(&o);
    if (!g->model) {
        rc = llama_fail(e, EE_FORMAT, what);
        goto fail;
    }
    rc = check_generates(g->model, o.model_path, e);
    g->has_states = llama_model_is_recurrent(g->model) || llama_model_is_hybrid(g->model);
    if (rc) {
        goto fail;
    }
    times->weights_ns = clock_mono_ns();
    ggml_backend_dev_t gpu = o.n_gpu_layers != 0 ? first_gpu() : NULL;
    g->info.device_sampling = o.device_sampling == ENGINE_ON ||
                              (o.device_sampling == ENGINE_AUTO && gpu);
    rc = make_context(g, &o, e);
    if (rc) {
        goto fail;
    }
    times->context_ns = clock_mono_ns();
    g->vocab = llama_model_get_vocab(g->model);
    g->n_vocab = llama_vocab_n_tokens(g->vocab);
    g->chat_template = llama_model_chat_template(g->model, NULL);
    fill_info(g, &o, &file);
    *out = g;
    return 0;
fail:
    engine_close(g);
    return rc;
}

int engine_open_vocabulary(const char *model_path, struct engine **out, struct err *e) {
    struct gguf_info file;
    *out = NULL;
    int rc = llama_start_backends(e);
    rc = rc ? rc : gguf_info_read_model(model_path, &file, e);
    if (rc) {
        return rc;
    }
    struct engine *g = calloc(1, sizeof(*g));
    if (!g) {
        return err_set(e, EE_NOMEM, "opening %s: out of memory", model_path);
    }
    struct llama_model_params mp = llama_model_default_params();
    mp.vocab_only = true;
    g->model = llama_model_load_from_file(model_path, mp);
    if (!g->model) {
        char what[512];
        snprintf(what, sizeof(what), "cannot load the vocabulary of %.400s", model_path);
        engine_close(g);
        return llama_fail(e, EE_FORMAT, what);
    }
    rc = check_generates(g->model, model_path, e);
    if (rc) {
        engine_close(g);
        return rc;
    }
    g->vocab = llama_model_get_vocab(g->model);
    g->n_vocab = llama_vocab_n_tokens(g->vocab);
    g->chat_template = llama_model_chat_template(g->model, NULL);
    *out = g;
    return 0;
}

const char *engine_version(void) {
    return llama_version();
}

void engine_close(struct engine *g) {
    if (g) {
        llama_samplers_detach(g);
        if (g->ctx) {
            llama_free(g->ctx);
        }
        if (g->model) {
            llama_model_free(g->model);
        }
        free(g);
    }
}

void engine_get_info(const struct engine *g, struct engine_info *info) {
    *info = g->info;
    uint64_t left = free_device_bytes();
    if (info->n_gpu_layers != 0 && g->device_free_before > left) {
        info->device_taken_bytes = (int64_t)(g->device_free_before - left);
    }
}

const char *engine_finish_name(enum engine_finish f) {
    static const char *const names[] = {"stop", "length", "forced", "error"};
    return names[f];
}
