#include "adapt/train_checkpoint.h"

#include "adapt/gguf_out.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char settings_key[] = "edge_eval.checkpoint.settings";
static const char state_key[] = "edge_eval.checkpoint.state";

enum { N_PARTS = 4 };
static const char *const part_names[N_PARTS] = {"params", "moment1", "moment2", "best"};

/* The first three parts; the fourth is on the host. */
static struct ggml_tensor *part_of(const struct lora *l, int i) {
    struct ggml_tensor *const parts[] = {l->params, l->moment1, l->moment2};
    return i < 3 ? parts[i] : NULL;
}

static int add_json(struct gguf_context *g, const char *key, const json_t *value, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = json_write(value, &text, e);
    if (!rc) {
        gguf_set_val_str(g, key, text.data);
    }
    buf_release(&text);
    return rc;
}

static int write_parts(struct gguf_out *out, const struct lora *l, const float *best,
                       struct err *e) {
    size_t bytes = ggml_nbytes(l->params);
    float *values = malloc(bytes);
    int rc = values ? 0 : err_set(e, EE_NOMEM, "%s: out of memory", out->path);
    for (int i = 0; i < N_PARTS && !rc; i++) {
        const struct ggml_tensor *t = part_of(l, i);
        if (t) {
            ggml_backend_tensor_get(t, values, 0, bytes);
        }
        if (t || best) {
            rc = gguf_out_write(out, t ? values : best, bytes, e);
            rc = rc ? rc : gguf_out_pad(out, e);
        }
    }
    free(values);
    return rc;
}

int train_checkpoint_write(const char *path, const struct lora *l, const float *best,
                           const json_t *settings, const json_t *state, struct err *e) {
    struct gguf_context *g = gguf_init_empty();
    struct ggml_context *ctx = ggml_init((struct ggml_init_params){
        .mem_size = (N_PARTS + 1) * ggml_tensor_overhead(), .no_alloc = true});
    int rc = g && ctx ? 0 : err_set(e, EE_NOMEM, "%s: out of memory", path);
    rc = rc ? rc : add_json(g, settings_key, settings, e);
    rc = rc ? rc : add_json(g, state_key, state, e);
    for (int i = 0; i < N_PARTS && !rc; i++) {
        if (part_of(l, i) || best) {
            struct ggml_tensor *t = ggml_dup_tensor(ctx, l->params);
            ggml_set_name(t, part_names[i]);
            gguf_add_tensor(g, t);
        }
    }
    struct gguf_out out;
    rc = rc ? rc : gguf_out_begin(&out, path, g, e);
    if (!rc) {
        rc = write_parts(&out, l, best, e);
        if (rc) {
            gguf_out_abandon(&out);
        } else {
            rc = gguf_out_commit(&out, e);
        }
    }
    if (g) {
        gguf_free(g);
    }
    ggml_free(ctx);
    return rc ? err_prefix(e, "checkpoint") : 0;
}

/* --- Reading --------------------------------------------------------------------------------- */

static int read_json(const struct gguf_context *g, const char *path, const char *key, json_t **out,
                     struct err *e) {
    int64_t id = gguf_find_key(g, key);
    if (id < 0 || gguf_get_kv_type(g, id) != GGUF_TYPE_STRING) {
        return err_set(e, EE_FORMAT, "%s is no checkpoint of a training", path);
    }
    const char *text = gguf_get_val_str(g, id);
    return json_parse(text, strlen(text), path, out, e);
}

static int compare_settings(const json_t *then, const json_t *now, const char *path,
                            struct err *e) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value) {
        json_t *old = json_object_get(then, key);
        if (!json_equal(old, value)) {
            char *was = old ? json_dumps(old, JSON_ENCODE_ANY) : NULL;
            char *is = json_dumps(value, JSON_ENCODE_ANY);
            int rc = err_set(e, EE_USAGE,
                             "%s is of a training with other settings: %s was %.80s and is %.80s; "
                             "use the old settings, or start without --resume",
                             path, key, was ? was : "not there", is ? is : "?");
            free(was);
            free(is);
            return rc;
        }
    }
    return 0;
}

static int read_part(int fd, const struct gguf_context *g, const char *path, const char *name,
                     size_t bytes, void *to, struct err *e) {
    int64_t id = gguf_find_tensor(g, name);
    if (id < 0 || gguf_get_tensor_size(g, id) != bytes) {
        return err_set(e, EE_FORMAT, "%s: %s is not there in this adapter's size", path, name);
    }
    off_t at = (off_t)(gguf_get_data_offset(g) + gguf_get_tensor_offset(g, id));
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, (char *)to + done, bytes - done, at + (off_t)done);
        if (n <= 0) {
            return n < 0 ? err_errno(e, errno, "cannot read %s", path)
                         : err_set(e, EE_FORMAT, "%s is cut off", path);
        }
        done += (size_t)n;
    }
    return 0;
}

static int read_parts(const struct gguf_context *g, const char *path, struct lora *l, float *best,
                      struct err *e) {
    size_t bytes = ggml_nbytes(l->params);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(e, errno, "cannot open %s", path);
    }
    float *values = malloc(bytes);
    int rc = values ? 0 : err_set(e, EE_NOMEM, "%s: out of memory", path);
    for (int i = 0; i < N_PARTS && !rc; i++) {
        struct ggml_tensor *t = part_of(l, i);
        if (t || best) {
            rc = read_part(fd, g, path, part_names[i], bytes, t ? values : best, e);
        }
        if (t && !rc) {
            ggml_backend_tensor_set(t, values, 0, bytes);
        }
    }
    free(values);
    close(fd);
    return rc;
}

int train_checkpoint_read(const char *path, struct lora *l, float *best, const json_t *settings,
                          json_t **state, struct err *e) {
    json_t *then = NULL;
    *state = NULL;
    struct gguf_context *g = NULL;
    if (access(path, F_OK) != 0) {
        return err_set(e, EE_MISSING, "there is no checkpoint %s to resume from", path);
    }
    g = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
    int rc = g ? 0 : err_set(e, EE_FORMAT, "%s is no whole checkpoint", path);
    rc = rc ? rc : read_json(g, path, settings_key, &then, e);
    rc = rc ? rc : compare_settings(then, settings, path, e);
    rc = rc ? rc : read_json(g, path, state_key, state, e);
    rc = rc ? rc : read_parts(g, path, l, best, e);
    json_decref(then);
    if (g) {
        gguf_free(g);
    }
    if (rc) {
        json_decref(*state);
        *state = NULL;
    }
    return rc;
}
