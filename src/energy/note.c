#include "energy/note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void note_set(char *out, size_t size, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out, size, fmt, ap);
    va_end(ap);
}

void note_add(char *out, size_t size, const char *between, const char *fmt, ...) {
    size_t len = strlen(out);
    va_list ap;
    if (len > 0) {
        note_set(out + len, size - len, "%s", between);
        len = strlen(out);
    }
    va_start(ap, fmt);
    vsnprintf(out + len, size - len, fmt, ap);
    va_end(ap);
}
