#include "base/log.h"

#include <stdio.h>

/* Set once before threads start, read-only afterwards. */
static struct {
    log_sink_fn *sink;
    void *ctx;
    enum log_level max_level;
} target;

void log_set_sink(log_sink_fn *sink, void *ctx, enum log_level max_level) {
    target.sink = sink;
    target.ctx = ctx;
    target.max_level = max_level;
}

static void emit(enum log_level level, const char *fmt, va_list ap) {
    if (!target.sink || level > target.max_level) {
        return;
    }
    char line[2048];
    vsnprintf(line, sizeof(line), fmt, ap);
    target.sink(level, line, target.ctx);
}

void log_error(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    emit(LOG_ERROR, fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    emit(LOG_WARN, fmt, ap);
    va_end(ap);
}

void log_info(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    emit(LOG_INFO, fmt, ap);
    va_end(ap);
}

void log_debug(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    emit(LOG_DEBUG, fmt, ap);
    va_end(ap);
}
