#include "serve/raw.h"

#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char magic[] = "EEBENCH1";
static const char ending[] = "EEBEND.1";
enum { MAGIC_BYTES = 8, RECORD_BYTES = 7 * 8 + 6 * 4 + 2 * 2 };

static unsigned char *put(unsigned char *p, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) {
        *p++ = (unsigned char)(v >> (8 * i));
    }
    return p;
}

static uint64_t get(const unsigned char **p, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) {
        v |= (uint64_t) * (*p)++ << (8 * i);
    }
    return v;
}

static void encode(const struct record *r, unsigned char *p) {
    p = put(p, (uint64_t)r->scheduled_ns, 8);
    p = put(p, (uint64_t)r->begun_ns, 8);
    p = put(p, (uint64_t)r->connected_ns, 8);
    p = put(p, (uint64_t)r->sent_ns, 8);
    p = put(p, (uint64_t)r->first_byte_ns, 8);
    p = put(p, (uint64_t)r->ended_ns, 8);
    p = put(p, r->bytes_in, 8);
    p = put(p, r->log_len, 4);
    p = put(p, r->n_events, 4);
    p = put(p, r->prompt, 4);
    p = put(p, r->connection, 4);
    p = put(p, r->session, 4);
    p = put(p, r->turn, 2);
    p = put(p, r->loop, 2);
    p = put(p, r->status, 2);
    p = put(p, r->outcome, 1);
    put(p, r->flags, 1);
}

static void decode(const unsigned char *p, struct record *r) {
    r->scheduled_ns = (int64_t)get(&p, 8);
    r->begun_ns = (int64_t)get(&p, 8);
    r->connected_ns = (int64_t)get(&p, 8);
    r->sent_ns = (int64_t)get(&p, 8);
    r->first_byte_ns = (int64_t)get(&p, 8);
    r->ended_ns = (int64_t)get(&p, 8);
    r->bytes_in = get(&p, 8);
    r->log_len = (uint32_t)get(&p, 4);
    r->n_events = (uint32_t)get(&p, 4);
    r->prompt = (uint32_t)get(&p, 4);
    r->connection = (uint32_t)get(&p, 4);
    r->session = (uint32_t)get(&p, 4);
    r->turn = (uint16_t)get(&p, 2);
    r->loop = (uint16_t)get(&p, 2);
    r->status = (uint16_t)get(&p, 2);
    r->outcome = (uint8_t)get(&p, 1);
    r->flags = (uint8_t)get(&p, 1);
}

/* ---- writing ---- */

static bool write_all(FILE *f, const char *text, size_t len, const struct load_result *load) {
    unsigned char bytes[RECORD_BYTES];
    put(bytes, len, 8);
    bool ok = fwrite(magic, 1, MAGIC_BYTES, f) == MAGIC_BYTES && fwrite(bytes, 1, 8, f) == 8 &&
              fwrite(text, 1, len, f) == len;
    put(bytes, load->n, 8);
    ok = ok && fwrite(bytes, 1, 8, f) == 8;
    for (size_t i = 0; i < load->n && ok; i++) {
        const struct record *r = load->records[i];
        encode(r, bytes);
        ok = fwrite(bytes, 1, RECORD_BYTES, f) == RECORD_BYTES &&
             (r->log_len == 0 || fwrite(r->log, 1, r->log_len, f) == r->log_len);
    }
    return ok && fwrite(ending, 1, MAGIC_BYTES, f) == MAGIC_BYTES && fflush(f) == 0 &&
           fsync(fileno(f)) == 0;
}

int raw_write(const char *path, const json_t *document, const struct load_result *load,
              struct err *e) {
    struct buf text;
    struct buf part;
    buf_init(&text);
    buf_init(&part);
    buf_addf(&part, "%s.part", path);
    int rc = json_write(document, &text, e);
    rc = rc ? rc : buf_check(&part, "path", e);
    FILE *f = rc ? NULL : fopen(part.data, "wb");
    if (!rc && !f) {
        rc = err_errno(e, errno, "cannot write %s", part.data);
    }
    if (f) {
        errno = 0;
        bool ok = write_all(f, text.data, text.len, load);
        int errnum = errno;
        ok = fclose(f) == 0 && ok;
        if (!ok || rename(part.data, path) != 0) {
            rc = err_errno(e, ok ? errno : errnum, "cannot write %s", path);
            unlink(part.data);
        }
    }
    buf_release(&text);
    buf_release(&part);
    return rc;
}

/* ---- reading ---- */

static int damaged(const char *path, const char *why, struct err *e) {
    return err_set(e, EE_FORMAT, "%s is no whole file of a benchmark's records: %s", path, why);
}

static int read_records(const char *path, const unsigned char *p, const unsigned char *end,
                        struct load_result *load, struct err *e) {
    size_t n = (size_t)get(&p, 8);
    if (n > (size_t)(end - p) / RECORD_BYTES) {
        return damaged(path, "fewer requests than it says", e);
    }
    int rc = load_result_reserve(load, n, e);
    struct record *records = rc ? NULL : load->records[0];
    for (size_t i = 0; i < n && !rc; i++) {
        if (end - p < RECORD_BYTES) {
            return damaged(path, "it ends in the middle of a request", e);
        }
        decode(p, &records[i]);
        p += RECORD_BYTES;
        if (records[i].log_len > (size_t)(end - p)) {
            return damaged(path, "it ends in the middle of a request", e);
        }
        if (records[i].outcome >= OUTCOMES || records[i].outcome == OUTCOME_PENDING) {
            return damaged(path, "an outcome that is not known", e);
        }
        records[i].log = p;
        p += records[i].log_len;
    }
    if (!rc && (end - p != MAGIC_BYTES || memcmp(p, ending, MAGIC_BYTES) != 0)) {
        rc = damaged(path, "its end is missing", e);
    }
    return rc;
}

int raw_read(const char *path, json_t **document, struct load_result *load, struct err *e) {
    struct buf file;
    buf_init(&file);
    *document = NULL;
    *load = (struct load_result){0};
    int rc = fs_read(path, &file, e);
    const unsigned char *p = (const unsigned char *)file.data;
    const unsigned char *end = p + file.len;
    if (!rc && (file.len < 2 * MAGIC_BYTES + 16 || memcmp(p, magic, MAGIC_BYTES) != 0)) {
        rc = damaged(path, "it does not begin like one", e);
    }
    size_t len = 0;
    if (!rc) {
        p += MAGIC_BYTES;
        len = (size_t)get(&p, 8);
        if (len > (size_t)(end - p) - 8 - MAGIC_BYTES) {
            rc = damaged(path, "its settings are cut", e);
        }
    }
    rc = rc ? rc : json_parse((const char *)p, len, path, document, e);
    rc = rc ? rc : read_records(path, p + len, end, load, e);
    if (rc) {
        load_result_release(load);
        json_decref(*document);
        *document = NULL;
        buf_release(&file);
        return rc;
    }
    load_result_keep_bytes(load, buf_detach(&file)); /* the logs lie in it */
    return 0;
}
