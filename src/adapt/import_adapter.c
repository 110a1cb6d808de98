#include "adapt/import_write.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/gguf_info.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct importing {
    const char *dir;
    const char *model_path;
    struct gguf_info info;
    struct gguf_context *model;
    struct ggml_context *shapes; /* of the model's tensors */
    json_t *config;              /* adapter_config.json */
    struct safetensors *file;
    struct gguf_context *g;
    struct import_tensor *tensors;
    int64_t rank; /* of the first pair */
    bool one_rank;
};

/* --- Configuration --------------------------------------------------------------------------- */

static bool is_empty(const json_t *v) {
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

/* Settings under which an adapter is more than alpha / rank * B A. */
static int check_config(const struct importing *m, struct err *e) {
    static const char *const others[] = {
        "use_dora",  "fan_in_fan_out",    "alpha_pattern",           "modules_to_save",
        "lora_bias", "layer_replication", "trainable_token_indices", "target_parameters",
        "use_qalora"};
    const char *kind = json_str_or(m->config, "peft_type", "");
    const char *bias = json_str_or(m->config, "bias", "none");
    if (strcmp(kind, "LORA") != 0) {
        return err_set(e, EE_UNSUPPORTED, "peft_type is \"%.40s\"; LORA can be imported", kind);
    }
    if (strcmp(bias, "none") != 0) {
        return err_set(e, EE_UNSUPPORTED,
                       "bias is \"%.40s\"; only adapters without trained biases "
                       "can be imported",
                       bias);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (!is_empty(json_object_get(m->config, others[i]))) {
            return err_set(e, EE_UNSUPPORTED,
                           "\"%s\" is set, which llama.cpp's adapters do not have", others[i]);
        }
    }
    return 0;
}

static int read_config(struct importing *m, struct err *e) {
    char *path = fs_join(m->dir, "adapter_config.json");
    int rc = path ? 0 : err_set(e, EE_NOMEM, "import: out of memory");
    if (!rc && !fs_exists(path)) {
        rc = err_set(e, EE_MISSING, "%s is not there: is %s a PEFT adapter?", path, m->dir);
    }
    rc = rc ? rc : json_parse_file(path, &m->config, e);
    if (!rc) {
        rc = check_config(m, e);
        rc = rc ? err_prefix(e, "%s", path) : 0;
    }
    free(path);
    return rc;
}

/* --- Names ----------------------------------------------------------------------------------- */

static const struct module {
    const char *hf;
    const char *gguf;
} modules[] = {{"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
               {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"},
               {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
               {"mlp.down_proj", "ffn_down"}};

/* The matrix that "model.layers.3.self_attn.q_proj" is in the GGUF file; false for none. */
static bool matrix_of(const char *hf, size_t len, char out[GGML_MAX_NAME]) {
    static const char prefix[] = "model.layers.";
    if (len == strlen("lm_head") && !strncmp(hf, "lm_head", len)) {
        snprintf(out, GGML_MAX_NAME, "output.weight");
        return true;
    }
    if (len < sizeof(prefix) || strncmp(hf, prefix, sizeof(prefix) - 1) != 0) {
        return false;
    }
    char *dot = NULL;
    const char *digits = hf + sizeof(prefix) - 1;
    long layer = *digits >= '0' && *digits <= '9' ? strtol(digits, &dot, 10) : -1;
    if (layer < 0 || !dot || *dot != '.') {
        return false;
    }
    const char *module = dot + 1;
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
        size_t n = strlen(modules[i].hf);
        if (module + n == hf + len && !strncmp(module, modules[i].hf, n)) {
            snprintf(out, GGML_MAX_NAME, "blk.%ld.%s.weight", layer, modules[i].gguf);
            return true;
        }
    }
    return false;
}

/* Splits "base_model.model.X.lora_A.weight" into X's matrix and the half. */
static bool split_name(const char *name, char matrix[GGML_MAX_NAME], char *half) {
    static const char prefix[] = "base_model.model.";
    static const char *const endings[] = {".lora_A.weight", ".lora_B.weight"};
    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0) {
        return false;
    }
    const char *hf = name + sizeof(prefix) - 1;
    size_t len = strlen(hf);
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(endings[i]);
        if (len > n && !strcmp(hf + len - n, endings[i])) {
            *half = i == 0 ? 'a' : 'b';
            return matrix_of(hf, len - n, matrix);
        }
    }
    return false;
}

/* --- Tensors --------------------------------------------------------------------------------- */

static bool starts_with_blk(const char *matrix, const char *module) {
    const char *dot = strrchr(matrix, '.');
    size_t n = strlen(module);
    return !strncmp(matrix, "blk.", 4) && dot && (size_t)(dot - matrix) > n &&
           !strncmp(dot - n, module, n) && dot[-(ptrdiff_t)n - 1] == '.';
}

/* Rows of a head where llama.cpp keeps the base's rows reordered, else 0. */
static int64_t head_rows(const struct importing *m, const char *matrix) {
    bool rotates = starts_with_blk(matrix, "attn_q") || starts_with_blk(matrix, "attn_k");
    return rotates && !strcmp(m->info.arch, "llama") ? m->info.head_dim_k : 0;
}

static int take(struct importing *m, const struct safetensor *source, struct import_tensor *t,
                struct err *e) {
    char matrix[GGML_MAX_NAME];
    char half;
    const char *path = safetensors_path(m->file);
    if (!split_name(source->name, matrix, &half)) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s: tensor %.200s is no half of a LoRA pair on a matrix of llama or qwen2",
                       path, source->name);
    }
    const struct ggml_tensor *w = ggml_get_tensor(m->shapes, matrix);
    if (!w) {
        return err_set(e, EE_USAGE, "%s adapts %s, which %s does not have", path, matrix,
                       m->model_path);
    }
    if (source->n_dims != 2 || source->shape[0] < 1 || source->shape[1] < 1) {
        return err_set(e, EE_FORMAT, "%s: tensor %.200s is no matrix", path, source->name);
    }
    int64_t rank = source->shape[half == 'a' ? 0 : 1];
    const int64_t shape[2] = {half == 'a' ? rank : w->ne[1], half == 'a' ? w->ne[0] : rank};
    int rc = import_check_tensor(m->file, source, 2, shape, e);
    if (!rc && rank > w->ne[0] && rank > w->ne[1]) {
        rc = err_set(e, EE_FORMAT, "%s: tensor %.200s has rank %" PRId64 ", above its matrix", path,
                     source->name, rank);
    }
    m->one_rank = m->one_rank && (m->rank == 0 || m->rank == rank);
    m->rank = rank;
    int n = snprintf(t->name, sizeof(t->name), "%s.lora_%c", matrix, half);
    if (!rc && n >= (int)sizeof(t->name)) {
        rc = err_set(e, EE_FORMAT, "%s: tensor %.200s has too long a name", path, source->name);
    }
    t->n_dims = 2;
    t->ne[0] = shape[1];
    t->ne[1] = shape[0];
    t->type = GGML_TYPE_F32;
    t->file = m->file;
    t->source = source;
    t->head_rows = half == 'b' ? head_rows(m, matrix) : 0;
    return rc;
}

static const struct import_tensor *other_half(const struct importing *m,
                                              const struct import_tensor *t) {
    size_t last = strlen(t->name) - 1;
    for (size_t i = 0; i < safetensors_count(m->file); i++) {
        const struct import_tensor *o = &m->tensors[i];
        if (o != t && strlen(o->name) == last + 1 && !strncmp(o->name, t->name, last)) {
            return o;
        }
    }
    return NULL;
}

static int check_pairs(const struct importing *m, struct err *e) {
    for (size_t i = 0; i < safetensors_count(m->file); i++) {
        const struct import_tensor *t = &m->tensors[i];
        const struct import_tensor *o = other_half(m, t);
        bool is_a = t->name[strlen(t->name) - 1] == 'a';
        if (!o) {
            return err_set(e, EE_FORMAT, "%s: tensor %.200s has no other half",
                           safetensors_path(m->file), t->source->name);
        }
        if (is_a && t->ne[1] != o->ne[0]) {
            return err_set(e, EE_FORMAT,
                           "%s: the pair of %.200s has ranks %" PRId64 " and %" PRId64,
                           safetensors_path(m->file), t->source->name, t->ne[1], o->ne[0]);
        }
    }
    return 0;
}

static int take_tensors(struct importing *m, struct err *e) {
    char *path = fs_join(m->dir, "adapter_model.safetensors");
    int rc = path ? 0 : err_set(e, EE_NOMEM, "import: out of memory");
    if (!rc && !fs_exists(path)) {
        rc = err_set(e, EE_MISSING, "%s is not there (adapters saved as .bin cannot be read)",
                     path);
    }
    rc = rc ? rc : safetensors_open(path, &m->file, e);
    size_t n = rc ? 0 : safetensors_count(m->file);
    if (!rc && n == 0) {
        rc = err_set(e, EE_FORMAT, "%s has no tensors", path);
    }
    m->tensors = calloc(n + 1, sizeof(*m->tensors));
    rc = rc || m->tensors ? rc : err_set(e, EE_NOMEM, "import: out of memory");
    for (size_t i = 0; i < n && !rc; i++) {
        rc = take(m, safetensors_at(m->file, i), &m->tensors[i], e);
    }
    free(path);
    return rc ? rc : check_pairs(m, e);
}

/* --- The file -------------------------------------------------------------------------------- */

/* llama.cpp multiplies by alpha / rank. Rank-stabilised adapters mean alpha / sqrt(rank). */
static int set_keys(struct importing *m, struct err *e) {
    double alpha = 0;
    int rc = json_want_num(m->config, "lora_alpha", &alpha, e);
    bool stabilised = json_is_true(json_object_get(m->config, "use_rslora"));
    if (!rc && stabilised && !m->one_rank) {
        rc = err_set(e, EE_UNSUPPORTED, "use_rslora with several ranks cannot be imported");
    }
    if (!rc && !(alpha > 0 && alpha < 1e6)) {
        rc = err_set(e, EE_FORMAT, "lora_alpha is %g, not over 0", alpha);
    }
    if (rc) {
        return err_prefix(e, "%s/adapter_config.json", m->dir);
    }
    m->g = gguf_init_empty();
    if (!m->g) {
        return err_set(e, EE_NOMEM, "import: out of memory");
    }
    alpha *= stabilised ? sqrt((double)m->rank) : 1;
    gguf_set_val_str(m->g, "general.architecture", m->info.arch);
    gguf_set_val_str(m->g, "general.type", "adapter");
    gguf_set_val_str(m->g, "adapter.type", "lora");
    gguf_set_val_f32(m->g, "adapter.lora.alpha", (float)alpha);
    return 0;
}

static int open_model(struct importing *m, struct err *e) {
    int rc = gguf_info_read_model(m->model_path, &m->info, e);
    if (!rc && strcmp(m->info.arch, "llama") != 0 && strcmp(m->info.arch, "qwen2") != 0) {
        rc = err_set(e, EE_UNSUPPORTED,
                     "%s is of the architecture %s; adapters of llama and qwen2 can be imported",
                     m->model_path, m->info.arch);
    }
    if (rc) {
        return rc;
    }
    m->model = gguf_init_from_file(m->model_path,
                                   (struct gguf_init_params){.no_alloc = true, .ctx = &m->shapes});
    return m->model ? 0 : err_set(e, EE_FORMAT, "%s cannot be read", m->model_path);
}

int import_adapter(const char *dir, const char *model_path, const char *out_path,
                   const struct import_opts *opts, struct err *e) {
    struct importing m = {.dir = dir, .model_path = model_path, .one_rank = true};
    struct gguf_info info;
    int rc = open_model(&m, e);
    rc = rc ? rc : read_config(&m, e);
    rc = rc ? rc : take_tensors(&m, e);
    rc = rc ? rc : set_keys(&m, e);
    rc = rc ? rc : import_write(out_path, m.g, m.tensors, safetensors_count(m.file), opts, e);
    rc = rc ? rc : gguf_info_read(out_path, &info, NULL, e); /* is it whole? */
    if (m.g) {
        gguf_free(m.g);
    }
    if (m.model) {
        gguf_free(m.model);
    }
    ggml_free(m.shapes);
    free(m.tensors);
    safetensors_close(m.file);
    json_decref(m.config);
    return rc;
}
