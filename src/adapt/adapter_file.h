/*
 * Adapters as llama.cpp reads them: a GGUF file of general.type "adapter", adapter.type "lora",
 * with tensors NAME.lora_a [n_in, rank] and NAME.lora_b [rank, n_out] in F32 for each adapted
 * matrix NAME. What they add is alpha / rank * B A.
 */
#ifndef ADAPT_ADAPTER_FILE_H
#define ADAPT_ADAPTER_FILE_H

#include "adapt/lora.h"

/* Writes l atomically. training: settings it came from, as JSON text kept in the file; or NULL. */
int adapter_file_write(const char *path, const struct model_shape *s, const struct lora *l,
                       const char *training, struct err *e) EE_MUST_CHECK;

/* An adapter's header; its tensors are read when asked for. */
struct adapter_file {
    const char *path; /* borrowed */
    struct gguf_context *g;
    struct ggml_context *tensors; /* shapes alone */
    char arch[64];
    float alpha;
    int fd;
};

/* Opens and checks: whole, an adapter, pairs complete, F32 or F16, equal rank in both. */
int adapter_file_open(const char *path, struct adapter_file *f, struct err *e) EE_MUST_CHECK;
void adapter_file_close(struct adapter_file *f);

/* Pairs in the file. */
int64_t adapter_file_pairs(const struct adapter_file *f);
/* The pair of a matrix "blk.0.attn_q.weight"; NULLs where it has none. */
void adapter_file_find(const struct adapter_file *f, const char *matrix,
                       const struct ggml_tensor **a, const struct ggml_tensor **b);
/* A tensor's values as F32, to be freed. */
int adapter_file_values(const struct adapter_file *f, const struct ggml_tensor *t, float **values,
                        struct err *e) EE_MUST_CHECK;

#endif
