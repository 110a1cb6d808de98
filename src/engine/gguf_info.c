#include "engine/gguf_info.h"

#include "base/fs.h"
#include "engine/llama_internal.h"

#include <gguf.h>
#include <ggml.h>
#include <stdio.h>
#include <string.h>

enum { K_QUANT_ROW = 256 };

/* The key's string, copied; empty when absent or no string. */
static void copy_str(const struct gguf_context *g, const char *key, char *out, size_t size) {
    int64_t id = gguf_find_key(g, key);
    out[0] = '\0';
    if (id >= 0 && gguf_get_kv_type(g, id) == GGUF_TYPE_STRING) {
        snprintf(out, size, "%s", gguf_get_val_str(g, id));
    }
}

static int64_t int_of(const void *data, enum gguf_type type, size_t i) {
    switch (type) {
    case GGUF_TYPE_UINT32:
        return ((const uint32_t *)data)[i];
    case GGUF_TYPE_INT32:
        return ((const int32_t *)data)[i];
    case GGUF_TYPE_UINT64:
        return (int64_t)((const uint64_t *)data)[i];
    case GGUF_TYPE_INT64:
        return ((const int64_t *)data)[i];
    default:
        return 0;
    }
}

/* An integer key of the architecture; of an array (one value a layer) the largest. 0 if absent. */
static int64_t arch_int(const struct gguf_context *g, const char *arch, const char *name) {
    char key[160];
    snprintf(key, sizeof(key), "%s.%s", arch, name);
    int64_t id = gguf_find_key(g, key);
    if (id < 0) {
        return 0;
    }
    enum gguf_type type = gguf_get_kv_type(g, id);
    if (type != GGUF_TYPE_ARRAY) {
        bool scalar_int = type == GGUF_TYPE_UINT32 || type == GGUF_TYPE_INT32 ||
                          type == GGUF_TYPE_UINT64 || type == GGUF_TYPE_INT64;
        return scalar_int ? int_of(gguf_get_val_data(g, id), type, 0) : 0;
    }
    enum gguf_type item = gguf_get_arr_type(g, id);
    int64_t largest = 0;
    for (size_t i = 0; item != GGUF_TYPE_STRING && i < gguf_get_arr_n(g, id); i++) {
        int64_t v = int_of(gguf_get_arr_data(g, id), item, i);
        largest = v > largest ? v : largest;
    }
    return largest;
}

/* A flag of the architecture; true if absent. */
static bool arch_flag(const struct gguf_context *g, const char *arch, const char *name) {
    char key[160];
    snprintf(key, sizeof(key), "%s.%s", arch, name);
    int64_t id = gguf_find_key(g, key);
    return id < 0 || gguf_get_kv_type(g, id) != GGUF_TYPE_BOOL || gguf_get_val_bool(g, id);
}

static void read_shape(const struct gguf_context *g, struct gguf_info *info) {
    info->is_causal = arch_flag(g, info->arch, "attention.causal");
    info->n_layers = arch_int(g, info->arch, "block_count");
    info->n_embd = arch_int(g, info->arch, "embedding_length");
    info->n_head = arch_int(g, info->arch, "attention.head_count");
    info->n_head_kv = arch_int(g, info->arch, "attention.head_count_kv");
    info->n_ctx_train = arch_int(g, info->arch, "context_length");
    info->head_dim_k = arch_int(g, info->arch, "attention.key_length");
    info->head_dim_v = arch_int(g, info->arch, "attention.value_length");
    int64_t head_dim = info->n_head ? info->n_embd / info->n_head : 0;
    info->n_head_kv = info->n_head_kv ? info->n_head_kv : info->n_head;
    info->head_dim_k = info->head_dim_k ? info->head_dim_k : head_dim;
    info->head_dim_v = info->head_dim_v ? info->head_dim_v : head_dim;
}

/* Tensors that tokens are looked up in, by the engine's names for them. */
static bool is_lookup(const char *name) {
    static const char *const starts[] = {"token_embd", "token_types.", "position_embd.",
                                         "per_layer_token_embd."};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strncmp(name, starts[i], strlen(starts[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* Fails when a tensor's bytes lie past the end of the file: the file was cut off. */
static int read_tensors(const struct gguf_context *g, const char *path, struct gguf_info *info,
                        json_t *types, struct err *e) {
    int64_t n_by_type[GGML_TYPE_COUNT] = {0};
    info->rows_fit_k_quants = true;
    for (int64_t i = 0; i < gguf_get_n_tensors(g); i++) {
        const int64_t *ne = gguf_get_tensor_ne(g, i);
        enum ggml_type type = gguf_get_tensor_type(g, i);
        size_t bytes = gguf_get_tensor_size(g, i);
        uint64_t end = gguf_get_data_offset(g) + gguf_get_tensor_offset(g, i) + bytes;
        if (end > (uint64_t)info->file_bytes) {
            return err_set(e, EE_FORMAT,
                           "%s is cut off: tensor %s should end at byte %llu and the file has "
                           "%lld; fetch or copy it again",
                           path, gguf_get_tensor_name(g, i), (unsigned long long)end,
                           (long long)info->file_bytes);
        }
        info->n_params += ne[0] * ne[1] * ne[2] * ne[3];
        info->tensor_bytes += (int64_t)bytes;
        /* Without a matrix of its own the output is the embedding, and a copy goes to the device. */
        const char *name = gguf_get_tensor_name(g, i);
        bool tied = strcmp(name, "token_embd.weight") == 0 &&
                    gguf_find_tensor(g, "output.weight") < 0;
        info->host_bytes += is_lookup(name) && !tied ? (int64_t)bytes : 0;
        json_t *count = json_object_get(types, ggml_type_name(type));
        json_object_set_new(types, ggml_type_name(type),
                            json_integer(json_integer_value(count) + 1));
        if (ne[1] > 1) {
            n_by_type[type]++;
            info->rows_fit_k_quants = info->rows_fit_k_quants && ne[0] % K_QUANT_ROW == 0;
        }
    }
    int most = 0;
    for (int t = 0; t < GGML_TYPE_COUNT; t++) {
        most = n_by_type[t] > n_by_type[most] ? t : most;
    }
    snprintf(info->file_type, sizeof(info->file_type), "%s", ggml_type_name((enum ggml_type)most));
    for (char *c = info->file_type; *c; c++) {
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    }
    return 0;
}

int gguf_info_read(const char *path, struct gguf_info *info, json_t **types, struct err *e) {
    *info = (struct gguf_info){0};
    uint64_t file_bytes = 0;
    int rc = fs_size(path, &file_bytes, e);
    if (rc) {
        return rc;
    }
    info->file_bytes = (int64_t)file_bytes;
    llama_catch_log();
    struct gguf_context *g = gguf_init_from_file(
        path, (struct gguf_init_params){.no_alloc = true, .ctx = NULL});
    if (!g) {
        llama_forget_errors();
        return err_set(e, EE_FORMAT,
                       "%s is not a GGUF file this build can read (wrong magic or version, or the "
                       "header is cut off)",
                       path);
    }
    json_t *histogram = json_object();
    if (!histogram) {
        rc = err_set(e, EE_NOMEM, "%s: out of memory", path);
        goto out;
    }
    copy_str(g, "general.architecture", info->arch, sizeof(info->arch));
    copy_str(g, "general.name", info->name, sizeof(info->name));
    char type[16];
    copy_str(g, "general.type", type, sizeof(type));
    info->is_adapter = strcmp(type, "adapter") == 0;
    char tokenizer[32];
    copy_str(g, "tokenizer.ggml.model", tokenizer, sizeof(tokenizer));
    info->has_tokenizer = tokenizer[0] != '\0' && strcmp(tokenizer, "no_vocab") != 0;
    info->has_chat_template = gguf_find_key(g, "tokenizer.chat_template") >= 0;
    int64_t synthetic = gguf_find_key(g, GGUF_KEY_SYNTHETIC);
    info->is_synthetic = synthetic >= 0 && gguf_get_kv_type(g, synthetic) == GGUF_TYPE_BOOL &&
                         gguf_get_val_bool(g, synthetic);
    read_shape(g, info);
    rc = read_tensors(g, path, info, histogram, e);
    if (!rc && !info->arch[0]) {
        rc = err_set(e, EE_FORMAT, "%s names no model architecture: it is not a model", path);
    }
    if (!rc && types) {
        *types = json_incref(histogram);
    }
out:
    json_decref(histogram);
    gguf_free(g);
    return rc;
}

int gguf_info_read_model(const char *path, struct gguf_info *info, struct err *e) {
    int rc = gguf_info_read(path, info, NULL, e);
    if (!rc && info->is_adapter) {
        rc = err_set(
            e, EE_UNSUPPORTED,
            "%s is an adapter and no model: give the model that it was trained on, or what "
            "edge-eval merge makes of the two",
            path);
    }
    return rc;
}

int gguf_info_check_answers(const struct gguf_info *info, const char *path, struct err *e) {
    if (!info->has_tokenizer) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s has no tokenizer: convert the model with its vocabulary", path);
    }
    if (info->n_params == 0) {
        return err_set(e, EE_UNSUPPORTED, "%s holds a vocabulary and no weights", path);
    }
    if (!info->is_causal) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s does not generate text (an encoder, %s); use a model that does", path,
                       info->arch);
    }
    return 0;
}

size_t gguf_info_context(const struct gguf_info *info, size_t most) {
    bool is_short = info->n_ctx_train > 0 && (uint64_t)info->n_ctx_train < most;
    return is_short ? (size_t)info->n_ctx_train : most;
}

int64_t gguf_info_kv_token_bytes(const struct gguf_info *info) {
    const int64_t bytes_per_value = 2; /* F16 cache */
    return info->n_layers * info->n_head_kv * (info->head_dim_k + info->head_dim_v) *
           bytes_per_value;
}
