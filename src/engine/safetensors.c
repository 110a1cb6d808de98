#include "engine/safetensors.h"

#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The reference reader's own limit. */
enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 100000000 };

static const struct dtype {
    const char *name;
    uint64_t bytes;
    enum ggml_type type;
} dtypes[] = {
    {"F32", 4, GGML_TYPE_F32},   {"F16", 2, GGML_TYPE_F16},       {"BF16", 2, GGML_TYPE_BF16},
    {"F64", 8, GGML_TYPE_COUNT}, {"F8_E4M3", 1, GGML_TYPE_COUNT}, {"F8_E5M2", 1, GGML_TYPE_COUNT},
    {"I64", 8, GGML_TYPE_COUNT}, {"I32", 4, GGML_TYPE_COUNT},     {"I16", 2, GGML_TYPE_COUNT},
    {"I8", 1, GGML_TYPE_COUNT},  {"U64", 8, GGML_TYPE_COUNT},     {"U32", 4, GGML_TYPE_COUNT},
    {"U16", 2, GGML_TYPE_COUNT}, {"U8", 1, GGML_TYPE_COUNT},      {"BOOL", 1, GGML_TYPE_COUNT}};

struct safetensors {
    char *path;
    int fd;
    json_t *header; /* names live in it */
    struct safetensor *tensors;
    size_t n;
};

static int read_at(const struct safetensors *s, uint64_t offset, void *to, size_t len,
                   struct err *e) {
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(s->fd, (char *)to + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? err_errno(e, errno, "cannot read %s", s->path)
                         : err_set(e, EE_FORMAT, "%s is cut off", s->path);
        }
        done += (size_t)n;
    }
    return 0;
}

static uint64_t little_endian(const uint8_t bytes[LENGTH_BYTES]) {
    uint64_t v = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) {
        v = v << 8 | bytes[i];
    }
    return v;
}

static int read_header(struct safetensors *s, uint64_t file_bytes, uint64_t *data_at,
                       struct err *e) {
    uint8_t length[LENGTH_BYTES];
    if (file_bytes < LENGTH_BYTES) {
        return err_set(e, EE_FORMAT, "%s is not a safetensors file: it has %" PRIu64 " bytes",
                       s->path, file_bytes);
    }
    int rc = read_at(s, 0, length, sizeof(length), e);
    if (rc) {
        return rc;
    }
    uint64_t n = little_endian(length);
    if (n > MAX_HEADER_BYTES) {
        return err_set(e, EE_FORMAT, "%s is not a safetensors file: no header length at its start",
                       s->path);
    }
    if (n > file_bytes - LENGTH_BYTES) {
        return err_set(e, EE_FORMAT,
                       "%s is cut off: its header alone should have %" PRIu64 " bytes", s->path, n);
    }
    char *text = malloc((size_t)n + 1);
    if (!text) {
        return err_set(e, EE_NOMEM, "%s: out of memory", s->path);
    }
    rc = read_at(s, LENGTH_BYTES, text, (size_t)n, e);
    rc = rc ? rc : json_parse(text, (size_t)n, s->path, &s->header, e);
    free(text);
    if (!rc && !json_is_object(s->header)) {
        rc = err_set(e, EE_FORMAT, "%s: the header is no object", s->path);
    }
    *data_at = LENGTH_BYTES + n;
    return rc;
}

static int read_dtype(const struct safetensors *s, const json_t *entry, struct safetensor *t,
                      uint64_t *bytes, struct err *e) {
    t->dtype = json_str_or(entry, "dtype", NULL);
    if (!t->dtype) {
        return err_set(e, EE_FORMAT, "%s: tensor %.200s has no dtype", s->path, t->name);
    }
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (!strcmp(t->dtype, dtypes[i].name)) {
            t->type = dtypes[i].type;
            *bytes = dtypes[i].bytes;
            return 0;
        }
    }
    return err_set(e, EE_UNSUPPORTED, "%s: tensor %.200s has the unknown dtype \"%.40s\"", s->path,
                   t->name, t->dtype);
}

/* Fills the shape and multiplies *bytes by it. */
static int read_shape(const struct safetensors *s, const json_t *entry, struct safetensor *t,
                      uint64_t *bytes, struct err *e) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_DIMS) {
        return err_set(e, EE_FORMAT, "%s: tensor %.200s has no shape of at most %d numbers",
                       s->path, t->name, SAFETENSORS_MAX_DIMS);
    }
    t->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < t->n_dims; i++) {
        const json_t *n = json_array_get(shape, (size_t)i);
        t->shape[i] = json_integer_value(n);
        if (!json_is_integer(n) || t->shape[i] < 0 ||
            (t->shape[i] > 0 && *bytes > (uint64_t)INT64_MAX / (uint64_t)t->shape[i])) {
            return err_set(e, EE_FORMAT, "%s: tensor %.200s has an impossible shape", s->path,
                           t->name);
        }
        *bytes *= (uint64_t)t->shape[i];
    }
    return 0;
}

static int read_entry(const struct safetensors *s, const char *name, const json_t *entry,
                      uint64_t data_at, uint64_t data_bytes, struct safetensor *t, struct err *e) {
    uint64_t bytes = 0;
    t->name = name;
    int rc = read_dtype(s, entry, t, &bytes, e);
    rc = rc ? rc : read_shape(s, entry, t, &bytes, e);
    if (rc) {
        return rc;
    }
    const json_t *place = json_object_get(entry, "data_offsets");
    const json_t *from = json_array_get(place, 0);
    const json_t *to = json_array_get(place, 1);
    if (json_array_size(place) != 2 || !json_is_integer(from) || !json_is_integer(to) ||
        json_integer_value(from) < 0 || json_integer_value(to) < json_integer_value(from)) {
        return err_set(e, EE_FORMAT, "%s: tensor %.200s has no data_offsets [from, to]", s->path,
                       name);
    }
    uint64_t begin = (uint64_t)json_integer_value(from);
    uint64_t end = (uint64_t)json_integer_value(to);
    if (end > data_bytes) {
        return err_set(e, EE_FORMAT,
                       "%s is cut off: tensor %.200s ends at byte %" PRIu64 " of %" PRIu64, s->path,
                       name, end, data_bytes);
    }
    if (end - begin != bytes) {
        return err_set(e, EE_FORMAT,
                       "%s: tensor %.200s has %" PRIu64 " bytes where its shape needs %" PRIu64,
                       s->path, name, end - begin, bytes);
    }
    t->offset = data_at + begin;
    t->bytes = bytes;
    return 0;
}

static int by_offset(const void *a, const void *b) {
    const struct safetensor *x = a;
    const struct safetensor *y = b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* the empty ones first */
}

/* Bytes that belong to two tensors, or to none, mean a damaged header or file. */
static int check_places(const struct safetensors *s, uint64_t data_at, uint64_t data_bytes,
                        struct err *e) {
    uint64_t at = data_at;
    for (size_t i = 0; i < s->n; i++) {
        if (s->tensors[i].offset != at) {
            return err_set(e, EE_FORMAT, "%s: tensor %.200s %s", s->path, s->tensors[i].name,
                           s->tensors[i].offset < at ? "overlaps the one before it"
                                                     : "leaves a gap before it");
        }
        at += s->tensors[i].bytes;
    }
    if (at != data_at + data_bytes) {
        return err_set(e, EE_FORMAT, "%s: %" PRIu64 " bytes at its end belong to no tensor",
                       s->path, data_at + data_bytes - at);
    }
    return 0;
}

static int read_entries(struct safetensors *s, uint64_t data_at, uint64_t data_bytes,
                        struct err *e) {
    const char *name;
    json_t *entry;
    s->tensors = calloc(json_object_size(s->header) + 1, sizeof(*s->tensors));
    if (!s->tensors) {
        return err_set(e, EE_NOMEM, "%s: out of memory", s->path);
    }
    json_object_foreach(s->header, name, entry) {
        if (!strcmp(name, "__metadata__")) {
            continue;
        }
        int rc = read_entry(s, name, entry, data_at, data_bytes, &s->tensors[s->n], e);
        if (rc) {
            return rc;
        }
        s->n++;
    }
    qsort(s->tensors, s->n, sizeof(*s->tensors), by_offset);
    return check_places(s, data_at, data_bytes, e);
}

int safetensors_open(const char *path, struct safetensors **out, struct err *e) {
    uint64_t file_bytes = 0;
    uint64_t data_at = 0;
    struct safetensors *s = calloc(1, sizeof(*s));
    *out = NULL;
    if (!s) {
        return err_set(e, EE_NOMEM, "%s: out of memory", path);
    }
    s->path = strdup(path);
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = !s->path ? err_set(e, EE_NOMEM, "%s: out of memory", path) : 0;
    if (!rc && s->fd < 0) {
        rc = err_errno(e, errno, "cannot open %s", path);
    }
    rc = rc ? rc : fs_size(path, &file_bytes, e);
    rc = rc ? rc : read_header(s, file_bytes, &data_at, e);
    rc = rc ? rc : read_entries(s, data_at, file_bytes - data_at, e);
    if (rc) {
        safetensors_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void safetensors_close(struct safetensors *s) {
    if (!s) {
        return;
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    json_decref(s->header);
    free(s->tensors);
    free(s->path);
    free(s);
}

const char *safetensors_path(const struct safetensors *s) {
    return s->path;
}

size_t safetensors_count(const struct safetensors *s) {
    return s->n;
}

const struct safetensor *safetensors_at(const struct safetensors *s, size_t i) {
    return &s->tensors[i];
}

int safetensors_read(const struct safetensors *s, const struct safetensor *t, uint64_t offset,
                     void *to, size_t len, struct err *e) {
    return read_at(s, t->offset + offset, to, len, e);
}
