/* Classification heads and embeddings of libllama. */
#include "base/machine.h"
#include "engine/encoder.h"
#include "engine/gguf_info.h"
#include "engine/llama_internal.h"

#include <gguf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MAX_TOKENS = 512 };

struct encoder {
    struct llama_model *model;
    struct llama_context *ctx;
    const struct llama_vocab *vocab;
    enum encoder_use use;
    int max_tokens;
    size_t n_special; /* tokens around and between the texts of a pair */
    llama_token begin;
    llama_token end;
    bool double_end; /* between the texts of a pair: "</s></s>" of RoBERTa */
};

/* ---- what the engine computes rightly ---- */

/* Facts that only the classification head's files have. */
struct head {
    bool has_dense;  /* "cls": the layer before the labels */
    bool has_output; /* "cls.output" */
    bool has_labels;
    bool is_word_piece; /* BERT's own tokenizer, and so BERT or DistilBERT */
    uint32_t n_token_types;
};

static bool read_head(const char *path, const char *arch, struct head *h) {
    struct gguf_context *g = gguf_init_from_file(
        path, (struct gguf_init_params){.no_alloc = true, .ctx = NULL});
    if (!g) {
        return false;
    }
    char key[96];
    *h = (struct head){.has_dense = gguf_find_tensor(g, "cls.weight") >= 0,
                       .has_output = gguf_find_tensor(g, "cls.output.weight") >= 0,
                       .n_token_types = 1};
    snprintf(key, sizeof(key), "%.63s.classifier.output_labels", arch);
    int64_t k = gguf_find_key(g, key);
    h->has_labels = k >= 0 && gguf_get_kv_type(g, k) == GGUF_TYPE_ARRAY && gguf_get_arr_n(g, k) > 0;
    k = gguf_find_key(g, "tokenizer.ggml.token_type_count");
    if (k >= 0 && gguf_get_kv_type(g, k) == GGUF_TYPE_UINT32) {
        h->n_token_types = gguf_get_val_u32(g, k);
    }
    k = gguf_find_key(g, "tokenizer.ggml.model");
    h->is_word_piece = k >= 0 && gguf_get_kv_type(g, k) == GGUF_TYPE_STRING &&
                       strcmp(gguf_get_val_str(g, k), "bert") == 0;
    gguf_free(g);
    return true;
}

static int check_classifier(const struct encoder_opts *o, const struct gguf_info *f,
                            struct err *e) {
    struct head h;
    const bool is_modern = strcmp(f->arch, "modern-bert") == 0;
    if (!is_modern && strcmp(f->arch, "bert") != 0) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s (%s) is no classifier that the engine computes rightly; use a RoBERTa, "
                       "XLM-R or ModernBERT one",
                       o->model_path, f->arch);
    }
    if (!read_head(o->model_path, f->arch, &h)) {
        return err_set(e, EE_FORMAT, "%s cannot be read", o->model_path);
    }
    if (!is_modern && (h.is_word_piece || h.n_token_types > 1)) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s is a plain BERT, of which the engine drops the pooler and the token "
                       "types: its answers would be wrong; use a RoBERTa, XLM-R or ModernBERT "
                       "classifier",
                       o->model_path);
    }
    if (!h.has_dense || !h.has_output) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s has no whole classification head (cls.weight, cls.output.weight): "
                       "convert it from the model for sequence classification",
                       o->model_path);
    }
    if (!h.has_labels) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s names no labels (%s.classifier.output_labels), so nobody knows what its "
                       "outputs mean; convert it with id2label in its config.json",
                       o->model_path, f->arch);
    }
    if (is_modern && !o->mean_pooled) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s is a ModernBERT classifier, which the engine applies to the mean of all "
                       "tokens; the file does not say whether it was trained so: if its "
                       "config.json has \"classifier_pooling\": \"mean\", say pooling: mean",
                       o->model_path);
    }
    return 0;
}

static int check_file(const struct encoder_opts *o, struct gguf_info *f, struct err *e) {
    int rc = gguf_info_read_model(o->model_path, f, e);
    if (!rc && (!f->has_tokenizer || f->n_params == 0)) {
        rc = err_set(e, EE_UNSUPPORTED, "%s has no %s", o->model_path,
                     f->has_tokenizer ? "weights" : "tokenizer");
    }
    if (!rc && o->use == ENCODER_CLASSIFY) {
        rc = check_classifier(o, f, e);
    }
    return rc;
}

/* ---- opening ---- */

static struct llama_context *make_context(const struct encoder *c, const struct encoder_opts *o) {
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = (uint32_t)c->max_tokens;
    cp.n_batch = cp.n_ctx;
    cp.n_ubatch = cp.n_ctx; /* an encoder sees a text at once or not at all */
    cp.n_seq_max = 1;
    cp.n_threads = o->n_threads > 0 ? o->n_threads : machine_hw_threads();
    cp.n_threads_batch = cp.n_threads;
    cp.embeddings = true;
    cp.pooling_type = c->use == ENCODER_CLASSIFY ? LLAMA_POOLING_TYPE_RANK
                                                 : LLAMA_POOLING_TYPE_UNSPECIFIED;
    cp.no_perf = true;
    cp.op_offload = o->n_gpu_layers != 0;
    cp.offload_kqv = o->n_gpu_layers != 0;
    return llama_init_from_model(c->model, cp);
}

static int check_embedder(const struct encoder *c, const char *path, struct err *e) {
    enum llama_pooling_type p = llama_pooling_type(c->ctx);
    if (p == LLAMA_POOLING_TYPE_MEAN || p == LLAMA_POOLING_TYPE_CLS ||
        p == LLAMA_POOLING_TYPE_LAST) {
        return 0;
    }
    return err_set(e, EE_UNSUPPORTED, "%s is no embedding model: its file %s", path,
                   p == LLAMA_POOLING_TYPE_RANK
                       ? "is that of a classifier"
                       : "names no way to pool tokens (mean, cls or last)");
}

/* The tokens around texts. */
static int choose_special(struct encoder *c, const char *path, struct err *e) {
    c->begin = llama_vocab_bos(c->vocab);
    c->end = llama_vocab_eos(c->vocab);
    c->end = c->end == LLAMA_TOKEN_NULL ? llama_vocab_sep(c->vocab) : c->end;
    if (c->use == ENCODER_EMBED) {
        return 0; /* encoder_tokenize puts them there */
    }
    char arch[64] = "";
    llama_model_meta_val_str(c->model, "general.architecture", arch, sizeof(arch));
    c->double_end = strcmp(arch, "bert") == 0;
    c->n_special = c->double_end ? 4 : 3;
    if (c->begin == LLAMA_TOKEN_NULL || c->end == LLAMA_TOKEN_NULL) {
        return err_set(e, EE_UNSUPPORTED,
                       "the tokenizer of %s has no tokens that begin and end a text", path);
    }
    return 0;
}

int encoder_open(const struct encoder_opts *opts, struct encoder **out, struct err *e) {
    *out = NULL;
    struct gguf_info file;
    char what[512];
    int rc = llama_start_backends(e);
    rc = rc ? rc : check_file(opts, &file, e);
    if (rc) {
        return rc;
    }
    struct encoder *c = calloc(1, sizeof(*c));
    if (!c) {
        return err_set(e, EE_NOMEM, "opening %s: out of memory", opts->model_path);
    }
    c->use = opts->use;
    const struct engine_opts weights = {
        .model_path = opts->model_path, .n_gpu_layers = opts->n_gpu_layers, .use_mmap = true};
    c->model = llama_load_weights(&weights);
    if (!c->model) {
        snprintf(what, sizeof(what), "cannot load %.400s", opts->model_path);
        rc = llama_fail(e, EE_FORMAT, what);
        goto fail;
    }
    int trained = llama_model_n_ctx_train(c->model);
    c->max_tokens = opts->max_tokens > 0 ? opts->max_tokens : DEFAULT_MAX_TOKENS;
    c->max_tokens = trained > 0 && trained < c->max_tokens ? trained : c->max_tokens;
    c->ctx = make_context(c, opts);
    if (!c->ctx) {
        snprintf(what, sizeof(what), "no context of %d tokens for %.380s", c->max_tokens,
                 opts->model_path);
        rc = llama_fail(e, EE_NOMEM, what);
        goto fail;
    }
    c->vocab = llama_model_get_vocab(c->model);
    rc = c->use == ENCODER_EMBED ? check_embedder(c, opts->model_path, e) : 0;
    rc = rc ? rc : choose_special(c, opts->model_path, e);
    if (rc) {
        goto fail;
    }
    *out = c;
    return 0;
fail:
    encoder_close(c);
    return rc;
}

void encoder_close(struct encoder *c) {
    if (c) {
        if (c->ctx) {
            llama_free(c->ctx);
        }
        if (c->model) {
            llama_model_free(c->model);
        }
        free(c);
    }
}

/* ---- using ---- */

size_t encoder_room(const struct encoder *c) {
    return (size_t)c->max_tokens - c->n_special;
}

int encoder_tokenize(struct encoder *c, const char *text, size_t len, struct arena *a,
                     int32_t **tokens, size_t *n_tokens, struct err *e) {
    int32_t n = 0;
    /* What an embedding model's tokenizer puts around a text belongs there; around the texts of a
     * pair it is put when they meet. */
    int rc = llama_tokens_of(c->vocab, text, len, c->use == ENCODER_EMBED, false, a, tokens, &n, e);
    *n_tokens = (size_t)n;
    return rc;
}

size_t encoder_n_labels(const struct encoder *c) {
    return llama_model_n_cls_out(c->model);
}

const char *encoder_label(const struct encoder *c, size_t i) {
    const char *label = llama_model_cls_label(c->model, (uint32_t)i);
    return label ? label : "";
}

size_t encoder_n_embd(const struct encoder *c) {
    return (size_t)llama_model_n_embd_out(c->model);
}

static void add_token(struct llama_batch *b, llama_token token) {
    int i = b->n_tokens++;
    b->token[i] = token;
    b->pos[i] = i;
    b->n_seq_id[i] = 1;
    b->seq_id[i][0] = 0;
    b->logits[i] = true;
}

static void add_tokens(struct llama_batch *b, const int32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++) {
        add_token(b, tokens[i]);
    }
}

/* Computes the batch as one text and frees it. */
static int compute(struct encoder *c, struct llama_batch *b, const float **out, struct err *e) {
    llama_memory_t memory = llama_get_memory(c->ctx);
    if (memory) {
        llama_memory_clear(memory, true);
    }
    int rc = llama_decode(c->ctx, *b) == 0
                 ? 0
                 : llama_fail(e, EE_FAIL, "the engine could not compute a text");
    llama_batch_free(*b);
    if (!rc) {
        *out = llama_get_embeddings_seq(c->ctx, 0);
        rc = *out ? 0 : err_set(e, EE_FAIL, "the engine gave no output for a text");
    }
    return rc;
}

int encoder_classify(struct encoder *c, const int32_t *premise, size_t n_premise,
                     const int32_t *hypothesis, size_t n_hypothesis, const float **logits,
                     struct err *e) {
    if (n_premise + n_hypothesis > encoder_room(c)) {
        return err_set(e, EE_USAGE,
                       "a pair of %zu and %zu tokens does not fit the classifier's %zu", n_premise,
                       n_hypothesis, encoder_room(c));
    }
    struct llama_batch b = llama_batch_init(c->max_tokens, 0, 1);
    add_token(&b, c->begin);
    add_tokens(&b, premise, n_premise);
    add_token(&b, c->end);
    if (c->double_end) {
        add_token(&b, c->end);
    }
    add_tokens(&b, hypothesis, n_hypothesis);
    add_token(&b, c->end);
    return compute(c, &b, logits, e);
}

int encoder_embed(struct encoder *c, const int32_t *tokens, size_t n, const float **vector,
                  struct err *e) {
    if (n == 0 || n > (size_t)c->max_tokens) {
        return err_set(e, EE_USAGE, "a text of %zu tokens does not fit the model's %d", n,
                       c->max_tokens);
    }
    struct llama_batch b = llama_batch_init(c->max_tokens, 0, 1);
    add_tokens(&b, tokens, n);
    return compute(c, &b, vector, e);
}
