/*
 * YAML documents (libyaml) read with errors a person can act on: every message starts with
 * file:line:column and names the values that would be accepted.
 *
 * A struct ydoc owns everything; nodes and strings borrowed from it live until ydoc_free.
 * Anchors, aliases, repeated keys and multiple documents are refused by name: a plan should read
 * top to bottom. So are nesting past 64 levels and text with a NUL in it.
 */
#ifndef BASE_YDOC_H
#define BASE_YDOC_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ydoc;
/* A node of a document; a zero id means absent. */
struct ynode {
    const struct ydoc *doc;
    int id;
};

int ydoc_load_file(const char *path, struct ydoc **out, struct err *e) EE_MUST_CHECK;
/* name stands for the file in messages. */
int ydoc_load_bytes(const char *text, size_t len, const char *name, struct ydoc **out,
                    struct err *e) EE_MUST_CHECK;
void ydoc_free(struct ydoc *doc);
struct ynode ydoc_root(const struct ydoc *doc);

bool ynode_present(struct ynode n);
bool ynode_is_scalar(struct ynode n);
bool ynode_is_map(struct ynode n);
bool ynode_is_seq(struct ynode n);
/* "file:line:column" of the node, into buf. */
const char *ynode_where(struct ynode n, char *buf, size_t size);
/* Sets e to "file:line:column: ..." and returns EE_FORMAT. */
int ynode_fail(struct ynode n, struct err *e, const char *fmt, ...) EE_PRINTF(3, 4);

/* Fails unless n is a mapping whose keys are all in allowed (NULL-terminated). */
int ymap_check(struct ynode n, const char *what, const char *const *allowed,
               struct err *e) EE_MUST_CHECK;
/* The value of key, absent when there is none or n is no mapping. */
struct ynode ymap_get(struct ynode map, const char *key);
/* The i-th pair of a mapping, in file order; false past the end. */
bool ymap_at(struct ynode map, size_t i, const char **key, struct ynode *value);

size_t yseq_len(struct ynode seq);
struct ynode yseq_at(struct ynode seq, size_t i);

/* Scalars. what names the field in messages. An absent node leaves *out as it is. */
int ynode_str(struct ynode n, const char *what, const char **out, struct err *e) EE_MUST_CHECK;
int ynode_int(struct ynode n, const char *what, int64_t min, int64_t max, int64_t *out,
              struct err *e) EE_MUST_CHECK;
int ynode_num(struct ynode n, const char *what, double min, double max, double *out,
              struct err *e) EE_MUST_CHECK;
int ynode_bool(struct ynode n, const char *what, bool *out, struct err *e) EE_MUST_CHECK;
/* *out becomes the index of the scalar in names (NULL-terminated). */
int ynode_enum(struct ynode n, const char *what, const char *const *names, int *out,
               struct err *e) EE_MUST_CHECK;

#endif
