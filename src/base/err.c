#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    const char *name;
} code_names[] = {
    {EE_OK, "ok"},
    {EE_FAIL, "failed"},
    {EE_USAGE, "usage"},
    {EE_IO, "io"},
    {EE_NOMEM, "out_of_memory"},
    {EE_NOSPACE, "disk_full"},
    {EE_PERM, "permission"},
    {EE_MISSING, "missing"},
    {EE_FORMAT, "bad_input"},
    {EE_UNSUPPORTED, "unsupported"},
    {EE_TIMEOUT, "timeout"},
    {EE_CRASH, "crash"},
    {EE_STOPPED, "stopped"},
};

int err_setv(struct err *e, int code, const char *fmt, va_list ap) {
    if (e) {
        e->code = code;
        vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    }
    return code;
}

int err_set(struct err *e, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    err_setv(e, code, fmt, ap);
    va_end(ap);
    return code;
}

static int code_of_errno(int errnum) {
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        return EE_MISSING;
    case EACCES:
    case EPERM:
    case EROFS:
        return EE_PERM;
    case ENOSPC:
    case EDQUOT:
        return EE_NOSPACE;
    case ENOMEM:
        return EE_NOMEM;
    default:
        return EE_IO;
    }
}

int err_errno(struct err *e, int errnum, const char *fmt, ...) {
    int code = code_of_errno(errnum);
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        err_setv(e, code, fmt, ap);
        va_end(ap);
        size_t used = strlen(e->msg);
        snprintf(e->msg + used, sizeof(e->msg) - used, ": %s", strerror(errnum));
    }
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...) {
    if (!e) {
        return EE_FAIL;
    }
    char old[sizeof(e->msg)];
    memcpy(old, e->msg, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    size_t used = strlen(e->msg);
    snprintf(e->msg + used, sizeof(e->msg) - used, ": %s", old);
    return e->code;
}

const char *err_code_name(int code) {
    for (size_t i = 0; i < sizeof(code_names) / sizeof(code_names[0]); i++) {
        if (code_names[i].code == code) {
            return code_names[i].name;
        }
    }
    return "failed";
}

int err_code_from_name(const char *name) {
    for (size_t i = 0; i < sizeof(code_names) / sizeof(code_names[0]); i++) {
        if (strcmp(code_names[i].name, name) == 0) {
            return code_names[i].code;
        }
    }
    return EE_FAIL;
}
