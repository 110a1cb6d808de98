#include "adapt/hf_config.h"

#include "base/fs.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a family's configuration means where a key is left out. */
static const struct family {
    const char *hf;
    const char *arch;
    int64_t n_ctx;
    bool heads_share_keys; /* num_key_value_heads may be absent: as many as heads */
} families[] = {{"LlamaForCausalLM", "llama", 2048, true},
                {"Qwen2ForCausalLM", "qwen2", 32768, false}};

static int find_family(struct hf_config *c, const struct family **f, struct err *e) {
    const json_t *list = json_object_get(c->doc, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    if (!name) {
        return err_set(e, EE_FORMAT, "\"architectures\" names no architecture");
    }
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        if (!strcmp(name, families[i].hf)) {
            *f = &families[i];
            c->arch = families[i].arch;
            c->is_llama = i == 0;
            return 0;
        }
    }
    return err_set(e, EE_UNSUPPORTED,
                   "the architecture %.80s cannot be imported; LlamaForCausalLM and "
                   "Qwen2ForCausalLM can. llama.cpp's convert_hf_to_gguf.py knows many more",
                   name);
}

static int want_count(const json_t *o, const char *key, int64_t max, int64_t *out, struct err *e) {
    int rc = json_want_int(o, key, out, e);
    if (!rc && (*out < 1 || *out > max)) {
        rc = err_set(e, EE_FORMAT, "\"%s\" is %" PRId64 " and should be 1 to %" PRId64, key, *out,
                     max);
    }
    return rc;
}

static bool is_given(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

/* As json_want_num where the key is given; else what the family means by leaving it out. */
static int num_or(const json_t *o, const char *key, double fallback, double *out, struct err *e) {
    *out = fallback;
    return is_given(o, key) ? json_want_num(o, key, out, e) : 0;
}

static int read_sizes(struct hf_config *c, const struct family *f, struct err *e) {
    const int64_t max_width = 1 << 20;
    const int64_t max_heads = 1 << 12;
    int rc = want_count(c->doc, "num_hidden_layers", 1000, &c->n_layers, e);
    rc = rc ? rc : want_count(c->doc, "hidden_size", max_width, &c->n_embd, e);
    rc = rc ? rc : want_count(c->doc, "intermediate_size", max_width, &c->n_ff, e);
    rc = rc ? rc : want_count(c->doc, "num_attention_heads", max_heads, &c->n_head, e);
    rc = rc ? rc : want_count(c->doc, "vocab_size", 1 << 22, &c->n_vocab, e);
    c->n_head_kv = c->n_head;
    if (!rc && (!f->heads_share_keys || is_given(c->doc, "num_key_value_heads"))) {
        rc = want_count(c->doc, "num_key_value_heads", max_heads, &c->n_head_kv, e);
    }
    if (rc) {
        return rc;
    }
    if (c->n_head % c->n_head_kv != 0) {
        return err_set(e, EE_FORMAT,
                       "num_attention_heads (%" PRId64 ") is no multiple of num_key_value_heads "
                       "(%" PRId64 ")",
                       c->n_head, c->n_head_kv);
    }
    c->states_head_dim = is_given(c->doc, "head_dim");
    if (c->states_head_dim) {
        rc = want_count(c->doc, "head_dim", 1 << 14, &c->head_dim, e);
    } else if (c->n_embd % c->n_head != 0) {
        rc = err_set(e, EE_FORMAT,
                     "hidden_size is no multiple of num_attention_heads, and "
                     "\"head_dim\" is not given");
    } else {
        c->head_dim = c->n_embd / c->n_head;
    }
    if (!rc && c->head_dim % 2 != 0) {
        rc = err_set(e, EE_FORMAT, "a head has %" PRId64 " dimensions, an odd number", c->head_dim);
    }
    c->n_ctx = f->n_ctx;
    if (!rc && is_given(c->doc, "max_position_embeddings")) {
        rc = want_count(c->doc, "max_position_embeddings", INT32_MAX, &c->n_ctx, e);
    }
    return rc;
}

static int read_llama3(struct hf_config *c, struct err *e) {
    double low = 0;
    double high = 0;
    double old_context = 0;
    int rc = num_or(c->scaling, "low_freq_factor", 1, &low, e);
    rc = rc ? rc : num_or(c->scaling, "high_freq_factor", 4, &high, e);
    rc = rc ? rc : num_or(c->scaling, "original_max_position_embeddings", 8192, &old_context, e);
    if (!rc && !(low > 0 && high > low && old_context > 0)) {
        rc = err_set(e, EE_FORMAT,
                     "its llama3 rope scaling needs 0 < low_freq_factor < high_freq_factor");
    }
    c->rope = HF_ROPE_LLAMA3;
    c->llama3 = (struct rope_llama3){.base = (float)c->rope_base,
                                     .factor = (float)c->rope_factor,
                                     .low = (float)low,
                                     .high = (float)high,
                                     .old_context = (float)old_context};
    return rc;
}

/* Names of scalings; the key was "type" before it was "rope_type". */
static int read_scaling(struct hf_config *c, struct err *e) {
    const char *type = json_str_or(c->scaling, "rope_type", json_str_or(c->scaling, "type", ""));
    if (!strcmp(type, "default") || (!type[0] && !is_given(c->scaling, "factor"))) {
        c->scaling = NULL;
        return 0;
    }
    double factor = 0;
    int rc = json_want_num(c->scaling, "factor", &factor, e);
    if (!rc && !(factor >= 1 && factor <= 1024)) {
        rc = err_set(e, EE_FORMAT, "the factor of its rope scaling is %g, not 1 to 1024", factor);
    }
    c->rope_factor = factor;
    if (rc) {
        return rc;
    }
    if (!strcmp(type, "linear")) {
        c->rope = HF_ROPE_LINEAR;
    } else if (!strcmp(type, "yarn")) {
        c->rope = HF_ROPE_YARN;
        rc = want_count(c->scaling, "original_max_position_embeddings", 1 << 24,
                        &c->rope_old_context, e);
    } else if (!strcmp(type, "llama3") && c->is_llama) {
        rc = read_llama3(c, e);
    } else {
        rc = err_set(e, EE_UNSUPPORTED,
                     "rope scaling of type \"%.40s\" cannot be imported for %s; "
                     "linear, yarn and (for llama) llama3 can",
                     type, c->arch);
    }
    return rc;
}

/* rope_parameters holds base and scaling; older files have rope_theta and rope_scaling. */
static int read_rope(struct hf_config *c, struct err *e) {
    const json_t *parameters = json_object_get(c->doc, "rope_parameters");
    const json_t *scaling = json_object_get(c->doc, "rope_scaling");
    int rc = num_or(c->doc, "rope_theta", 10000, &c->rope_base, e);
    rc = rc ? rc : num_or(parameters, "rope_theta", c->rope_base, &c->rope_base, e);
    if (!rc && !(c->rope_base > 1 && c->rope_base < 1e12)) {
        rc = err_set(e, EE_FORMAT, "rope_theta is %g, not over 1", c->rope_base);
    }
    c->scaling = is_given(c->doc, "rope_parameters") ? parameters
                 : is_given(c->doc, "rope_scaling")  ? scaling
                                                     : NULL;
    if (!rc && c->scaling && !json_is_object(c->scaling)) {
        rc = err_set(e, EE_FORMAT, "its rope scaling is no object");
    }
    return rc || !c->scaling ? rc : read_scaling(c, e);
}

static int check_meaning(const struct hf_config *c, struct err *e) {
    const char *act = json_str_or(c->doc, "hidden_act", "");
    if (is_given(c->doc, "hidden_act") && strcmp(act, "silu") != 0) {
        return err_set(e, EE_UNSUPPORTED, "hidden_act is \"%.40s\"; llama.cpp computes silu", act);
    }
    if (is_given(c->doc, "quantization_config")) {
        return err_set(e, EE_UNSUPPORTED,
                       "the checkpoint is quantized (quantization_config); "
                       "import the original and quantize that");
    }
    if (json_is_true(json_object_get(c->doc, "use_sliding_window"))) {
        return err_set(e, EE_UNSUPPORTED,
                       "use_sliding_window is true; llama.cpp would attend to "
                       "all tokens");
    }
    double partial = 0;
    int rc = num_or(c->doc, "partial_rotary_factor", 1, &partial, e);
    if (!rc && partial != 1) {
        rc = err_set(e, EE_UNSUPPORTED, "partial_rotary_factor is %g; only 1 can be imported",
                     partial);
    }
    const json_t *tied = json_object_get(c->doc, "tie_word_embeddings");
    if (!rc && is_given(c->doc, "tie_word_embeddings") && !json_is_boolean(tied)) {
        rc = err_set(e, EE_FORMAT, "\"tie_word_embeddings\" is neither true nor false");
    }
    return rc;
}

static int read_rest(struct hf_config *c, struct err *e) {
    c->tied = json_is_true(json_object_get(c->doc, "tie_word_embeddings"));
    int rc = num_or(c->doc, "rms_norm_eps", 1e-6, &c->rms_eps, e);
    if (!rc && !(c->rms_eps >= 0 && c->rms_eps < 1)) {
        rc = err_set(e, EE_FORMAT, "rms_norm_eps is %g, not from 0 to 1", c->rms_eps);
    }
    return rc;
}

int hf_config_read(const char *dir, struct hf_config *c, struct err *e) {
    const struct family *f = NULL;
    *c = (struct hf_config){0};
    char *path = fs_join(dir, "config.json");
    if (!path) {
        return err_set(e, EE_NOMEM, "%s: out of memory", dir);
    }
    int rc = 0;
    if (!fs_exists(path)) {
        rc = err_set(e, EE_MISSING, "%s is not there: is %s a checkpoint directory?", path, dir);
        goto out;
    }
    rc = json_parse_file(path, &c->doc, e);
    if (rc) {
        goto out;
    }
    rc = find_family(c, &f, e);
    rc = rc ? rc : check_meaning(c, e);
    rc = rc ? rc : read_sizes(c, f, e);
    rc = rc ? rc : read_rope(c, e);
    rc = rc ? rc : read_rest(c, e);
    rc = rc ? err_prefix(e, "%s", path) : 0;
out:
    free(path);
    return rc;
}

void hf_config_release(struct hf_config *c) {
    json_decref(c->doc);
    *c = (struct hf_config){0};
}
