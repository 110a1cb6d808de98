/*
 * Errors. A fallible function returns 0 or a negative enum ee_code and fills the caller's
 * struct err with what failed, on what, and what the user can do about it.
 *
 * struct err is plain storage owned by the caller: no allocation, nothing to free, safe to
 * reuse. Passing NULL is allowed where the caller needs only the code.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#if defined(__GNUC__)
#define EE_MUST_CHECK __attribute__((warn_unused_result))
#define EE_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define EE_MUST_CHECK
#define EE_PRINTF(f, a)
#endif

enum ee_code {
    EE_OK = 0,
    EE_FAIL = -1,        /* anything without a more precise code */
    EE_USAGE = -2,       /* the user asked for something that cannot be meant */
    EE_IO = -3,          /* the operating system refused a read, write or call */
    EE_NOMEM = -4,       /* out of memory, or a forecast says it would be */
    EE_NOSPACE = -5,     /* the disk is full */
    EE_PERM = -6,        /* permission denied, read-only file system */
    EE_MISSING = -7,     /* a file, key or sensor is not there */
    EE_FORMAT = -8,      /* input that does not parse or validate */
    EE_UNSUPPORTED = -9, /* valid, but not something this build can do */
    EE_TIMEOUT = -10,    /* a deadline passed */
    EE_CRASH = -11,      /* a child process died */
    EE_STOPPED = -12,    /* the user asked to stop */
};

struct err {
    int code; /* enum ee_code; EE_OK when unset */
    char msg[1024];
};

#define ERR_INIT                                                                                   \
    { 0 }

/* Fills e (when not NULL) and returns code, so that `return err_set(...)` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) EE_PRINTF(3, 4);
int err_setv(struct err *e, int code, const char *fmt, va_list ap);

/* As err_set with ": strerror(errnum)" appended; the code is derived from errnum. */
int err_errno(struct err *e, int errnum, const char *fmt, ...) EE_PRINTF(3, 4);

/* Puts "text: " before the message already in e; returns e's code. */
int err_prefix(struct err *e, const char *fmt, ...) EE_PRINTF(2, 3);

/* Short stable name of a code ("io", "timeout", ...), for JSON and the store. */
const char *err_code_name(int code);
/* The code named name, EE_FAIL when unknown. */
int err_code_from_name(const char *name);

#endif
