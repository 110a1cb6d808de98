/*
 * How long an audit of a whole matrix takes: 72 variants, each trained, quantized, served in five
 * repeats and scored, with faults in it, so that rules have something to write. One JSON line on
 * stdout: with what bench/metrics_speed prints, the time from measurements to findings.
 *
 * usage: audit_speed [VARIANTS]
 */
#include "metrics/audit.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 5, ROWS_A_VARIANT = REPEATS + 4, RUNS = 5 };

static const char *const sizes[] = {"1B", "3B", "7B", "14B", "32B", "70B"};
static const char *const tasks[] = {"rag", "summ", "chat"};
static const char *const precisions[] = {"fp16", "int8", "int4"};

static struct audit_row *add(struct audit_table *t, enum audit_stage stage, size_t variant,
                             const char *family) {
    struct audit_row *r = &t->rows[t->n++];
    audit_row_init(r, stage, "bench");
    r->text[AUDIT_FAMILY] = family;
    r->text[AUDIT_SIZE] = sizes[variant / 9 % 6];
    r->text[AUDIT_METHOD] = "lora";
    r->text[AUDIT_TASK] = tasks[variant / 3 % 3];
    r->text[AUDIT_PRECISION] = precisions[variant % 3];
    return r;
}

/* Energy as power times time, so that the rules on energy find all of it. */
static void set_window(struct audit_row *r, struct rng *rng, double seconds) {
    r->x[AUDIT_POWER_MEAN_W] = 60 + 5 * rng_uniform(rng);
    r->x[AUDIT_DURATION_S] = seconds * (0.9 + 0.2 * rng_uniform(rng));
    r->x[AUDIT_ENERGY_J] = r->x[AUDIT_POWER_MEAN_W] * r->x[AUDIT_DURATION_S];
}

static void add_variant(struct audit_table *t, struct rng *rng, size_t variant,
                        const char *family) {
    set_window(add(t, AUDIT_ADAPT, variant, family), rng, 5000);
    set_window(add(t, AUDIT_QUANTIZE, variant, family), rng, 50);
    for (int repeat = -1; repeat < REPEATS; repeat++) {
        struct audit_row *r = add(t, AUDIT_SERVE, variant, family);
        set_window(r, rng, 20);
        r->x[AUDIT_REPEAT] = repeat < 0 ? (double)NAN : repeat;
        r->x[AUDIT_LOAD_S] = 10;
        r->x[AUDIT_CONCURRENCY] = r->x[AUDIT_N_REQUESTS] = 100;
        r->x[AUDIT_OUTPUT_TOKENS] = 15000;
        r->x[AUDIT_OUTPUT_TOKENS_PER_S] = 15000 / r->x[AUDIT_DURATION_S];
        r->x[AUDIT_TTFT_MEAN_MS] = 50;
        r->x[AUDIT_ITL_MEAN_MS] = 20;
    }
    struct audit_row *score = add(t, AUDIT_SCORE, variant, family);
    score->x[AUDIT_SCORE_MEAN] = 0.7 + 0.1 * rng_uniform(rng);
    score->x[AUDIT_ITEMS] = 100;
}

static double seconds_of(const struct audit_table *t, size_t *n_findings) {
    struct arena a = ARENA_INIT;
    struct audit_result result;
    struct err e = ERR_INIT;
    int64_t begin_ns = clock_mono_ns();
    if (audit_run(t, &a, &result, &e)) {
        fprintf(stderr, "audit_speed: %s\n", e.msg);
        exit(1);
    }
    double seconds = clock_ns_to_s(clock_mono_ns() - begin_ns);
    *n_findings = result.n_findings;
    arena_release(&a);
    return seconds;
}

int main(int argc, char **argv) {
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 72;
    struct audit_row *rows = calloc(n * ROWS_A_VARIANT + 1, sizeof(*rows));
    char(*families)[16] = calloc(n / 54 + 1, sizeof(*families));
    if (!rows || !families) {
        fprintf(stderr, "audit_speed: out of memory\n");
        free(rows);
        free(families);
        return 1;
    }
    struct audit_table t = {.rows = rows};
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t v = 0; v < n; v++) {
        char *family = families[v / 54];
        snprintf(family, sizeof(*families), "F%zu", v / 54);
        add_variant(&t, &rng, v, family);
    }
    double best = INFINITY;
    size_t n_findings = 0;
    for (int i = 0; i < RUNS; i++) {
        best = fmin(best, seconds_of(&t, &n_findings));
    }
    printf("{\"variants\": %zu, \"rows\": %zu, \"findings\": %zu, \"best_s\": %.6f}\n", n, t.n,
           n_findings, best);
    free(families);
    free(rows);
    return 0;
}
