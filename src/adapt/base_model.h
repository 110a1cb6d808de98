/*
 * The frozen model that adapters are trained on: shape and weights of a GGUF file of the
 * architectures llama or qwen2, on one device. Weights keep the file's types, or have their
 * matrices converted while they are read, so that nothing larger than one row is ever held twice.
 *
 * Refused, by name: other architectures, mixtures of experts, RoPE scaling other than linear and
 * llama 3's, heads that differ from layer to layer, and tensors this code would silently ignore.
 */
#ifndef ADAPT_BASE_MODEL_H
#define ADAPT_BASE_MODEL_H

#include "adapt/device.h"
#include "base/arena.h"

#include <ggml.h>
#include <gguf.h>

/* The matrices of a layer that an adapter may have. */
enum module {
    MODULE_Q,
    MODULE_K,
    MODULE_V,
    MODULE_O,
    MODULE_GATE,
    MODULE_UP,
    MODULE_DOWN,
    MODULE_COUNT
};
enum { ALL_MODULES = (1 << MODULE_COUNT) - 1 };

/* Names as in GGUF files: "attn_q" is tensor blk.N.attn_q.weight. NULL-terminated. */
extern const char *const module_tensors[];
/* Short names for people, as PEFT has them: "q", "k", "v", "o", "gate", "up", "down". */
extern const char *const module_names[];

struct model_shape {
    char arch[16];
    bool rope_neox;
    int n_layers;
    int n_embd;
    int n_ff;
    int n_head;
    int n_head_kv;
    int head_dim;
    int n_rot;
    int n_vocab;
    int n_ctx; /* trained context */
    float rms_eps;
    float rope_base;
    float rope_scale; /* multiplies positions */
    float rope_attn_factor;
    float attn_scale; /* of Q K^T */
};

struct model_layer {
    struct ggml_tensor *attn_norm;       /* [n_embd] */
    struct ggml_tensor *ffn_norm;        /* [n_embd] */
    struct ggml_tensor *w[MODULE_COUNT]; /* [n_in, n_out] */
    struct ggml_tensor *b[MODULE_COUNT]; /* [n_out] or NULL */
};

struct base_model {
    struct model_shape shape;
    struct model_layer *layers;
    struct ggml_tensor *tok_embd;    /* [n_embd, n_vocab] */
    struct ggml_tensor *output_norm; /* [n_embd] */
    struct ggml_tensor *output;      /* [n_embd, n_vocab]; tok_embd where the head is tied */
    struct ggml_tensor *rope_freqs;  /* [n_rot / 2] or NULL */
    uint64_t weights_bytes;
    char matrix_type[16]; /* of most matrices, as they are held: "q4_1" */

    struct arena arena;
    struct ggml_context *ctx;
    ggml_backend_buffer_t buffer;
};

/* Shape of the file's model. g is its header. */
int model_shape_read(const struct gguf_context *g, const char *path, struct model_shape *s,
                     struct err *e) EE_MUST_CHECK;
/* n_in and n_out of a module's matrix. */
void model_module_dims(const struct model_shape *s, enum module m, int64_t *n_in, int64_t *n_out);

/*
 * Loads the model onto d. matrices: the type its matrices are to have, GGML_TYPE_COUNT for the
 * file's. Rows that do not fit a block type stay F16. Where d computes in BF16 or F16, matrices that
 * are not in blocks are held in that, which they would be rounded to at each use anyway. Refuses what
 * is not a whole model file.
 */
int base_model_load(const char *path, const struct device *d, enum ggml_type matrices,
                    struct base_model *m, struct err *e) EE_MUST_CHECK;
void base_model_release(struct base_model *m);
/* The model by its header alone, for forecasts: tensors look allocated and must not be touched.
 * compute: as the device has it. */
int base_model_declare(const char *path, enum ggml_type matrices, enum ggml_type compute,
                       struct base_model *m, struct err *e) EE_MUST_CHECK;

#endif
