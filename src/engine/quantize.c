#include "engine/quantize.h"

#include "base/buf.h"
#include "base/fs.h"
#include "engine/gguf_info.h"
#include "engine/llama_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const enum llama_ftype ftypes[] = {
    LLAMA_FTYPE_MOSTLY_F16,  LLAMA_FTYPE_MOSTLY_BF16,   LLAMA_FTYPE_MOSTLY_Q8_0,
    LLAMA_FTYPE_MOSTLY_Q4_0, LLAMA_FTYPE_MOSTLY_Q4_K_M, LLAMA_FTYPE_MOSTLY_IQ4_NL,
};
const char *const quantize_type_names[] = {"F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "IQ4_NL", NULL};

_Static_assert(sizeof(ftypes) / sizeof(ftypes[0]) + 1 ==
                   sizeof(quantize_type_names) / sizeof(quantize_type_names[0]),
               "one name a type");

static int find_type(const char *name, enum llama_ftype *out, struct err *e) {
    struct buf all;
    buf_init(&all);
    for (size_t i = 0; quantize_type_names[i]; i++) {
        if (strcmp(quantize_type_names[i], name) == 0) {
            *out = ftypes[i];
            buf_release(&all);
            return 0;
        }
        buf_addf(&all, "%s%s", i ? ", " : "", quantize_type_names[i]);
    }
    int rc = err_set(e, EE_USAGE, "unknown type \"%.40s\"; allowed: %s", name, all.data);
    buf_release(&all);
    return rc;
}

/* Bytes must be on disk before the rename that makes the file count as done. */
static int sync_file(const char *path, struct err *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(e, errno, "cannot open %s", path);
    }
    int rc = fsync(fd) == 0 ? 0 : err_errno(e, errno, "cannot write %s", path);
    close(fd);
    return rc;
}

/* libllama says only that writing failed; a full disk is the usual cause and can be told. */
static int write_failure(const char *in_path, const char *out_path, struct err *e) {
    uint64_t free_bytes = 0;
    if (fs_free_bytes(out_path, &free_bytes, NULL) == 0 && free_bytes < 1024 * 1024) {
        return err_set(e, EE_NOSPACE, "cannot write %s: the disk is full", out_path);
    }
    char what[512];
    snprintf(what, sizeof(what), "cannot convert %.400s", in_path);
    return llama_fail(e, EE_FAIL, what);
}

int quantize_file(const char *in_path, const char *out_path, const char *type, int n_threads,
                  struct err *e) {
    enum llama_ftype ftype = LLAMA_FTYPE_MOSTLY_F16;
    struct gguf_info info;
    int rc = find_type(type, &ftype, e);
    rc = rc ? rc : llama_start_backends(e);
    rc = rc ? rc : gguf_info_read_model(in_path, &info, e);
    if (rc) {
        return rc;
    }
    llama_model_quantize_params qp = llama_model_quantize_default_params();
    qp.ftype = ftype;
    qp.nthread = n_threads;
    qp.allow_requantize = true;
    if (llama_model_quantize(in_path, out_path, &qp) != 0) {
        rc = write_failure(in_path, out_path, e);
        unlink(out_path);
        return rc;
    }
    rc = sync_file(out_path, e);
    rc = rc ? rc : gguf_info_read(out_path, &info, NULL, e);
    if (rc) {
        unlink(out_path);
    }
    return rc;
}
