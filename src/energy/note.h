/* Reasons and labels in fixed strings: cut where they are full, never allocated. */
#ifndef ENERGY_NOTE_H
#define ENERGY_NOTE_H

#include "base/err.h"

#include <stddef.h>

void note_set(char *out, size_t size, const char *fmt, ...) EE_PRINTF(3, 4);
/* Appends, after `between` where out is not empty. */
void note_add(char *out, size_t size, const char *between, const char *fmt, ...) EE_PRINTF(4, 5);

#endif
