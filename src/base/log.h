/*
 * Log lines for people, to one sink that the program sets. Layers under cmd/ never write to a
 * stream themselves. Safe to call from any thread once log_set_sink has run.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

typedef void log_sink_fn(enum log_level level, const char *line, void *ctx);

/* Call once at start-up, before other threads exist. Without a sink, lines are dropped. */
void log_set_sink(log_sink_fn *sink, void *ctx, enum log_level max_level);
void log_error(const char *fmt, ...) EE_PRINTF(1, 2);
void log_warn(const char *fmt, ...) EE_PRINTF(1, 2);
void log_info(const char *fmt, ...) EE_PRINTF(1, 2);
void log_debug(const char *fmt, ...) EE_PRINTF(1, 2);

#endif
