/*
 * Scores pairs of texts with ROUGE-L, F1 and EM: one JSON line a run, with the seconds it took and
 * the sums of the scores, which bench/quality.py compares with those of the Python packages.
 *
 * usage: quality PAIRS.jsonl RUNS      a line: {"target", "prediction"}
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "quality/rouge.h"
#include "quality/squad.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pairs {
    struct arena arena;
    const char **targets;
    const char **predictions;
    size_t n;
};

static int load(const char *path, struct pairs *p, struct err *e) {
    struct buf file;
    buf_init(&file);
    int rc = fs_read(path, &file, e);
    p->targets = arena_array(&p->arena, file.len + 1, sizeof(*p->targets));
    p->predictions = arena_array(&p->arena, file.len + 1, sizeof(*p->predictions));
    if (!rc && (!p->targets || !p->predictions)) {
        rc = err_set(e, EE_NOMEM, "out of memory");
    }
    char *rest = NULL;
    for (char *line = rc ? NULL : strtok_r(file.data, "\n", &rest); line && !rc;
         line = strtok_r(NULL, "\n", &rest)) {
        json_t *pair = NULL;
        const char *target = NULL;
        const char *prediction = NULL;
        rc = json_parse(line, strlen(line), path, &pair, e);
        rc = rc ? rc : json_want_str(pair, "target", &target, e);
        rc = rc ? rc : json_want_str(pair, "prediction", &prediction, e);
        if (!rc) {
            p->targets[p->n] = arena_strdup(&p->arena, target);
            p->predictions[p->n++] = arena_strdup(&p->arena, prediction);
        }
        json_decref(pair);
    }
    buf_release(&file);
    return !rc && p->arena.failed ? err_set(e, EE_NOMEM, "out of memory") : rc;
}

static int score(const struct pairs *p, struct err *e) {
    double rouge = 0;
    double f1 = 0;
    double em = 0;
    int rc = 0;
    int64_t begin_ns = clock_mono_ns();
    for (size_t i = 0; i < p->n && !rc; i++) {
        struct rouge_value r;
        struct squad_value s;
        rc = rouge_score(ROUGE_L, false, p->targets[i], p->predictions[i], &r, e);
        rc = rc ? rc : squad_score(&p->targets[i], 1, p->predictions[i], &s, e);
        if (!rc) {
            rouge += r.fmeasure;
            f1 += s.f1;
            em += s.em;
        }
    }
    double seconds = clock_ns_to_s(clock_mono_ns() - begin_ns);
    if (!rc) {
        printf("{\"pairs\": %zu, \"seconds\": %.6f, \"rougeL\": %.17g, \"f1\": %.17g, "
               "\"em\": %.17g}\n",
               p->n, seconds, rouge, f1, em);
        fflush(stdout);
    }
    return rc;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: quality PAIRS.jsonl RUNS\n");
        return 2;
    }
    struct err e = ERR_INIT;
    struct pairs p = {.arena = ARENA_INIT};
    int rc = load(argv[1], &p, &e);
    for (long i = strtol(argv[2], NULL, 10); i > 0 && !rc; i--) {
        rc = score(&p, &e);
    }
    arena_release(&p.arena);
    if (rc) {
        fprintf(stderr, "quality: %s\n", e.msg);
    }
    return rc ? 1 : 0;
}
