/*
 * A GGUF file written piece by piece beside its place and put there whole: header first, then each
 * tensor's bytes in the header's order. A reader sees the old file or the complete new one.
 */
#ifndef ADAPT_GGUF_OUT_H
#define ADAPT_GGUF_OUT_H

#include "base/buf.h"
#include "base/err.h"

#include <gguf.h>

struct gguf_out {
    const char *path;
    struct buf part; /* path of the unfinished file */
    int fd;
    size_t at; /* bytes of the current tensor */
};

/* Creates the file and writes g's header. path is borrowed. */
int gguf_out_begin(struct gguf_out *o, const char *path, const struct gguf_context *g,
                   struct err *e) EE_MUST_CHECK;
/* Bytes of the current tensor; gguf_out_pad after its last. */
int gguf_out_write(struct gguf_out *o, const void *bytes, size_t len, struct err *e) EE_MUST_CHECK;
/* In place of gguf_out_write: leaves room for len bytes, *offset in the file, for gguf_out_write_at. */
int gguf_out_reserve(struct gguf_out *o, size_t len, size_t *offset, struct err *e) EE_MUST_CHECK;
/* From any thread; 0 or errno. */
int gguf_out_write_at(const struct gguf_out *o, const void *bytes, size_t len, size_t offset);
int gguf_out_pad(struct gguf_out *o, struct err *e) EE_MUST_CHECK;
/* Syncs and renames; or, without, removes what was written. Either ends the writer. */
int gguf_out_commit(struct gguf_out *o, struct err *e) EE_MUST_CHECK;
void gguf_out_abandon(struct gguf_out *o);

#endif
