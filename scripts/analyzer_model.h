/*
 * For clang-tidy, which sees one source at a time and never looks into a variadic function: that
 * an error function returns the error's code and not 0, so that the path after a failure is not
 * taken for success.
 */
#include "base/err.h"
#include "base/ydoc.h"

#define err_set(e, code, ...) ((void)err_set(e, code, __VA_ARGS__), (code))
#define err_setv(e, code, fmt, ap) ((void)err_setv(e, code, fmt, ap), (code))
#define err_errno(e, errnum, ...) ((void)err_errno(e, errnum, __VA_ARGS__), EE_IO)
#define err_prefix(e, ...) ((void)err_prefix(e, __VA_ARGS__), EE_FAIL)

int ynode_fail(struct ynode n, struct err *e, const char *fmt, ...)
    __attribute__((analyzer_noreturn));
