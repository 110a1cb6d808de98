/* What comes of a benchmark: text, JSON, CSV, and the records that are kept. */
#include "bench_cmd.h"
#include "bench_text.h"
#include "cmd.h"

#include "base/fs.h"
#include "base/json.h"
#include "serve/compat.h"
#include "serve/raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_csv(const char *path, const struct measures *m, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = bench_csv(m, &text, e);
    rc = rc ? rc : fs_write_atomic(path, text.data, text.len, e);
    buf_release(&text);
    return rc;
}

/* Prints the result, and writes the table of requests where one is wanted. */
int bench_show(const struct bench_args *a, json_t *result, const struct load_result *load,
               const struct measures *m, struct err *e) {
    int rc = 0;
    for (int t = 0; a->compat && t < COMPAT_TOOLS && !rc; t++) {
        struct compat c;
        if (!strcmp(a->compat, compat_names[t])) {
            rc = compat_make((enum compat_tool)t, load, m, &c, e);
            json_object_set_new(result, "compat", rc ? json_null() : compat_json(&c));
        }
    }
    if (!rc && a->as_json) {
        rc = cmd_print_json(json_incref(result), e);
    } else if (!rc) {
        bench_print(result);
    }
    return rc || !a->csv ? rc : write_csv(a->csv, m, e);
}

int bench_write_prompts(const struct bench_args *a, const struct workload *w, struct err *e) {
    if (!a->prompts_out) {
        return 0;
    }
    struct buf text;
    buf_init(&text);
    int rc = workload_jsonl(w, &text, e);
    rc = rc ? rc : fs_write_atomic(a->prompts_out, text.data, text.len, e);
    buf_release(&text);
    return rc;
}

/* The first of NAME, NAME-2, NAME-3, ... that is not there yet. */
static int first_free(const char *name, char **out, struct err *e) {
    *out = NULL;
    for (int i = 1; i < 1000; i++) {
        struct buf b;
        buf_init(&b);
        buf_addstr(&b, name);
        if (i > 1) {
            buf_addf(&b, "-%d", i);
        }
        char *candidate = buf_detach(&b);
        if (!candidate) {
            return err_set(e, EE_NOMEM, "out of memory");
        }
        if (!fs_exists(candidate)) {
            *out = candidate;
            return fs_mkdirs(candidate, e);
        }
        free(candidate);
    }
    return err_set(e, EE_IO, "%s and a thousand more exist; say where with --out", name);
}

int bench_out_dir(const struct bench_args *a, const char *started_utc, char **dir, struct err *e) {
    char name[64];
    *dir = NULL;
    if (a->no_out) {
        return 0;
    }
    if (a->out) {
        *dir = strdup(a->out);
        return *dir ? fs_mkdirs(*dir, e) : err_set(e, EE_NOMEM, "out of memory");
    }
    snprintf(name, sizeof(name), "runs/bench-%s", started_utc);
    return first_free(name, dir, e);
}

int bench_keep(const char *dir, const char *name, const json_t *result,
               const struct load_result *load, struct err *e) {
    char file[128];
    struct buf text;
    buf_init(&text);
    snprintf(file, sizeof(file), "%.100s.eebench", name);
    char *raw = fs_join(dir, file);
    snprintf(file, sizeof(file), "%.100s.json", name);
    char *json = fs_join(dir, file);
    int rc = raw && json ? 0 : err_set(e, EE_NOMEM, "out of memory");
    rc = rc ? rc : raw_write(raw, result, load, e);
    rc = rc ? rc : json_write(result, &text, e);
    rc = rc ? rc : fs_write_atomic(json, text.data, text.len, e);
    free(raw);
    free(json);
    buf_release(&text);
    return rc;
}
