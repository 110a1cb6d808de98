#include "adapt/adapter_file.h"

#include "adapt/gguf_out.h"
#include "engine/gguf_info.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- Writing --------------------------------------------------------------------------------- */

static void declare(struct gguf_context *g, struct ggml_context *ctx, const struct lora *l) {
    for (int i = 0; i < l->n_layers * MODULE_COUNT; i++) {
        const struct ggml_tensor *const pair[] = {l->pairs[i].a, l->pairs[i].b};
        for (int k = 0; k < 2 && pair[0]; k++) {
            struct ggml_tensor *t = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, pair[k]->ne[0],
                                                       pair[k]->ne[1]);
            ggml_format_name(t, "blk.%d.%s.weight.lora_%c", i / MODULE_COUNT,
                             module_tensors[i % MODULE_COUNT], k == 0 ? 'a' : 'b');
            gguf_add_tensor(g, t);
        }
    }
}

static int write_tensor(struct gguf_out *out, const struct ggml_tensor *t, struct err *e) {
    size_t bytes = ggml_nbytes(t);
    void *values = malloc(bytes);
    if (!values) {
        return err_set(e, EE_NOMEM, "%s: out of memory", out->path);
    }
    ggml_backend_tensor_get(t, values, 0, bytes);
    int rc = gguf_out_write(out, values, bytes, e);
    free(values);
    return rc ? rc : gguf_out_pad(out, e);
}

static int write_tensors(const char *path, const struct gguf_context *g, const struct lora *l,
                         struct err *e) {
    struct gguf_out out;
    int rc = gguf_out_begin(&out, path, g, e);
    if (rc) {
        return rc;
    }
    for (int i = 0; i < l->n_layers * MODULE_COUNT && !rc; i++) {
        if (l->pairs[i].a) {
            rc = write_tensor(&out, l->pairs[i].a, e);
            rc = rc ? rc : write_tensor(&out, l->pairs[i].b, e);
        }
    }
    if (rc) {
        gguf_out_abandon(&out);
        return rc;
    }
    return gguf_out_commit(&out, e);
}

int adapter_file_write(const char *path, const struct model_shape *s, const struct lora *l,
                       const char *training, struct err *e) {
    size_t n_tensors = (size_t)l->n_layers * MODULE_COUNT * 2;
    struct gguf_context *g = gguf_init_empty();
    struct ggml_context *ctx = ggml_init((struct ggml_init_params){
        .mem_size = (n_tensors + 1) * ggml_tensor_overhead(), .no_alloc = true});
    int rc = g && ctx ? 0 : err_set(e, EE_NOMEM, "%s: out of memory", path);
    if (!rc) {
        gguf_set_val_str(g, "general.type", "adapter");
        gguf_set_val_str(g, "general.architecture", s->arch);
        gguf_set_val_str(g, "adapter.type", "lora");
        gguf_set_val_f32(g, "adapter.lora.alpha", l->alpha);
        if (training) {
            gguf_set_val_str(g, "edge_eval.training", training);
        }
        declare(g, ctx, l);
        rc = write_tensors(path, g, l, e);
    }
    if (g) {
        gguf_free(g);
    }
    ggml_free(ctx);
    return rc;
}

/* --- Reading --------------------------------------------------------------------------------- */

static const char *str_of(const struct gguf_context *g, const char *key) {
    int64_t id = gguf_find_key(g, key);
    return id >= 0 && gguf_get_kv_type(g, id) == GGUF_TYPE_STRING ? gguf_get_val_str(g, id) : "";
}

static int check_header(struct adapter_file *f, struct err *e) {
    const char *type = str_of(f->g, "general.type");
    if (strcmp(type, "adapter") != 0) {
        return err_set(e, EE_FORMAT, "%s is no adapter: its general.type is \"%.40s\"", f->path,
                       type);
    }
    const char *kind = str_of(f->g, "adapter.type");
    if (strcmp(kind, "lora") != 0) {
        return err_set(e, EE_UNSUPPORTED, "%s is an adapter of type \"%.40s\", not lora", f->path,
                       kind);
    }
    int64_t alpha = gguf_find_key(f->g, "adapter.lora.alpha");
    if (alpha < 0 || gguf_get_kv_type(f->g, alpha) != GGUF_TYPE_FLOAT32) {
        return err_set(e, EE_FORMAT, "%s has no adapter.lora.alpha", f->path);
    }
    f->alpha = gguf_get_val_f32(f->g, alpha);
    snprintf(f->arch, sizeof(f->arch), "%s", str_of(f->g, "general.architecture"));
    return 0;
}

/* The matrix's name without ".lora_a"; false for a tensor that is no half of a pair. */
static bool matrix_name(const char *tensor, char *out, size_t size) {
    size_t len = strlen(tensor);
    const size_t suffix = strlen(".lora_a");
    if (len <= suffix || len - suffix >= size || strncmp(tensor + len - suffix, ".lora_", 6) != 0) {
        return false;
    }
    memcpy(out, tensor, len - suffix);
    out[len - suffix] = '\0';
    return tensor[len - 1] == 'a' || tensor[len - 1] == 'b';
}

static int check_tensors(const struct adapter_file *f, struct err *e) {
    for (struct ggml_tensor *t = ggml_get_first_tensor(f->tensors); t;
         t = ggml_get_next_tensor(f->tensors, t)) {
        char matrix[GGML_MAX_NAME];
        const struct ggml_tensor *a;
        const struct ggml_tensor *b;
        if (!matrix_name(t->name, matrix, sizeof(matrix))) {
            return err_set(e, EE_UNSUPPORTED, "%s: tensor %s is no part of a LoRA pair", f->path,
                           t->name);
        }
        if (t->type != GGML_TYPE_F32 && t->type != GGML_TYPE_F16) {
            return err_set(e, EE_UNSUPPORTED, "%s: tensor %s is %s; F32 and F16 are read", f->path,
                           t->name, ggml_type_name(t->type));
        }
        adapter_file_find(f, matrix, &a, &b);
        if (!a || !b) {
            return err_set(e, EE_FORMAT, "%s: %s has no %s beside it", f->path, t->name,
                           a ? "lora_b" : "lora_a");
        }
        if (a->ne[1] != b->ne[0]) {
            return err_set(e, EE_FORMAT, "%s: the pair of %s has ranks %" PRId64 " and %" PRId64,
                           f->path, matrix, a->ne[1], b->ne[0]);
        }
    }
    return 0;
}

int adapter_file_open(const char *path, struct adapter_file *f, struct err *e) {
    struct gguf_info info;
    *f = (struct adapter_file){.path = path, .fd = -1};
    int rc = gguf_info_read(path, &info, NULL, e);
    if (rc) {
        return rc;
    }
    f->g = gguf_init_from_file(path,
                               (struct gguf_init_params){.no_alloc = true, .ctx = &f->tensors});
    rc = f->g ? check_header(f, e) : err_set(e, EE_FORMAT, "%s cannot be read", path);
    rc = rc ? rc : check_tensors(f, e);
    if (!rc) {
        f->fd = open(path, O_RDONLY | O_CLOEXEC);
        rc = f->fd >= 0 ? 0 : err_errno(e, errno, "cannot open %s", path);
    }
    if (rc) {
        adapter_file_close(f);
    }
    return rc;
}

void adapter_file_close(struct adapter_file *f) {
    if (f->fd >= 0) {
        close(f->fd);
    }
    if (f->g) {
        gguf_free(f->g);
    }
    ggml_free(f->tensors);
    *f = (struct adapter_file){.fd = -1};
}

int64_t adapter_file_pairs(const struct adapter_file *f) {
    return gguf_get_n_tensors(f->g) / 2;
}

void adapter_file_find(const struct adapter_file *f, const char *matrix,
                       const struct ggml_tensor **a, const struct ggml_tensor **b) {
    char name[GGML_MAX_NAME + 16];
    snprintf(name, sizeof(name), "%s.lora_a", matrix);
    *a = ggml_get_tensor(f->tensors, name);
    snprintf(name, sizeof(name), "%s.lora_b", matrix);
    *b = ggml_get_tensor(f->tensors, name);
}

int adapter_file_values(const struct adapter_file *f, const struct ggml_tensor *t, float **values,
                        struct err *e) {
    size_t n = (size_t)ggml_nelements(t);
    size_t bytes = ggml_nbytes(t);
    int64_t id = gguf_find_tensor(f->g, t->name);
    off_t at = (off_t)(gguf_get_data_offset(f->g) + gguf_get_tensor_offset(f->g, id));
    char *raw = malloc(bytes);
    *values = malloc(n * sizeof(float));
    int rc = raw && *values ? 0 : err_set(e, EE_NOMEM, "%s: out of memory", f->path);
    for (size_t done = 0; done < bytes && !rc;) {
        ssize_t got = pread(f->fd, raw + done, bytes - done, at + (off_t)done);
        rc = got > 0   ? 0
             : got < 0 ? err_errno(e, errno, "cannot read %s", f->path)
                       : err_set(e, EE_FORMAT, "%s is cut off", f->path);
        done += rc ? 0 : (size_t)got;
    }
    if (!rc && t->type == GGML_TYPE_F32) {
        memcpy(*values, raw, bytes);
    } else if (!rc) {
        ggml_fp16_to_fp32_row((const ggml_fp16_t *)(const void *)raw, *values, (int64_t)n);
    }
    free(raw);
    if (rc) {
        free(*values);
        *values = NULL;
    }
    return rc;
}
