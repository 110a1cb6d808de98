/*
 * What the sections of a plan read alike. Texts are copied into the arena, since the plan outlives its
 * document; a node that is absent leaves *out as it is.
 */
#ifndef LIFECYCLE_PLAN_READ_H
#define LIFECYCLE_PLAN_READ_H

#include "base/arena.h"
#include "base/err.h"
#include "base/ydoc.h"

/* Fails with EE_NOMEM. */
int plan_no_memory(struct err *e);
int plan_read_text(struct ynode n, const char *what, struct arena *a, const char **out,
                   struct err *e) EE_MUST_CHECK;
/* A command as a list of at least one word, NULL-terminated in *out. check, if any, may refuse a word. */
int plan_read_command(struct ynode n, int (*check)(struct ynode n, const char *word, struct err *e),
                      struct arena *a, const char *const **out, struct err *e) EE_MUST_CHECK;
/* The path of a file that must be there, absolute or relative to plan_dir. */
int plan_read_file(struct ynode n, const char *what, const char *plan_dir, struct arena *a,
                   const char **out, struct err *e) EE_MUST_CHECK;
/* name, from dir unless it is absolute; NULL: out of memory. */
const char *plan_path(const char *dir, const char *name, struct arena *a);

#endif
