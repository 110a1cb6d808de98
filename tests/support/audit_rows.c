#include "audit_rows.h"

#include "base/rng.h"

#include <math.h>

static const char *const families[] = {"A", "B"};
static const char *const sizes[] = {"1B", "3B"};
static const char *const tasks[] = {"rag", "chat"};
static const char *const precisions[] = {"fp16", "int8", "int4"};

/* About 1, off by a per cent. */
static double noise(struct rng *r) {
    return exp(0.02 * (rng_uniform(r) - 0.5));
}

static struct audit_row *add(struct audit_clean *c, enum audit_stage stage, size_t variant) {
    struct audit_row *r = &c->rows[c->table.n++];
    audit_row_init(r, stage, "clean");
    r->text[AUDIT_FAMILY] = families[variant % 2];
    r->text[AUDIT_SIZE] = sizes[variant / 2 % 2];
    r->text[AUDIT_METHOD] = "lora";
    r->text[AUDIT_TASK] = tasks[variant / 4 % 2];
    r->text[AUDIT_PRECISION] = precisions[variant / 8];
    r->text[AUDIT_ENGINE] = "engine";
    r->text[AUDIT_DEVICE] = "GPU";
    return r;
}

/* A window that a counter measured, with mean power from samples of its own. */
static void set_window(struct audit_row *r, double watts, double seconds, struct rng *rng) {
    r->x[AUDIT_DURATION_S] = seconds;
    r->x[AUDIT_ENERGY_J] = watts * seconds * noise(rng);
    r->x[AUDIT_POWER_MEAN_W] = watts;
    r->x[AUDIT_POWER_PEAK_W] = 1.1 * watts;
    r->x[AUDIT_POWER_LIMIT_W] = 70;
    r->x[AUDIT_GPUS] = 1;
    r->x[AUDIT_COVERAGE] = 0.999;
    r->x[AUDIT_IS_SHORT] = 0;
    r->x[AUDIT_THROTTLED_SHARE] = 0;
    r->x[AUDIT_OTHER_PROCESSES] = 0;
    r->text[AUDIT_GPU_MODEL] = "Tesla T4";
    r->text[AUDIT_SCOPE] = "GPU only";
    r->text[AUDIT_ENERGY_SOURCE] = "counter";
}

/* So many requests with natural lengths in a closed loop of 8. */
static void set_requests(struct audit_row *r, double n, double request_s, struct rng *rng) {
    double tokens = floor(n * 201.37 * noise(rng));
    double gap_s = request_s / (tokens / n);
    r->x[AUDIT_N_REQUESTS] = n;
    r->x[AUDIT_N_FAILED] = 0;
    r->x[AUDIT_CONCURRENCY] = 8;
    r->x[AUDIT_MAX_TOKENS] = 400;
    r->x[AUDIT_OUTPUT_TOKENS] = tokens;
    r->x[AUDIT_OUTPUT_TOKENS_MAX] = 390;
    r->x[AUDIT_TTFT_MEAN_MS] = 1000 * gap_s;
    r->x[AUDIT_ITL_MEAN_MS] = 1000 * gap_s;
    r->x[AUDIT_E2E_MAX_MS] = 2000 * request_s;
    r->text[AUDIT_LENGTHS] = "natural";
}

static void add_serving(struct audit_clean *c, size_t variant, struct rng *rng) {
    size_t size = variant / 2 % 2;
    size_t precision = variant / 8;
    double slow = (double)(1 + size) / (double)(1 + precision);
    double request_s = 300 * slow * noise(rng);
    for (int repeat = -1; repeat < AUDIT_CLEAN_REPEATS; repeat++) {
        double n = repeat < 0 ? 100 * AUDIT_CLEAN_REPEATS : 100;
        double seconds = n * request_s / 8 * noise(rng);
        struct audit_row *r = add(c, AUDIT_SERVE, variant);
        set_window(r, 60 * noise(rng), seconds, rng);
        set_requests(r, n, request_s, rng);
        r->x[AUDIT_OUTPUT_TOKENS_PER_S] = r->x[AUDIT_OUTPUT_TOKENS] / seconds;
        r->x[AUDIT_REPEAT] = repeat < 0 ? (double)NAN : repeat;
        r->x[AUDIT_LOAD_S] = 10 * slow * noise(rng);
        r->x[AUDIT_LOAD_J] = 300 * slow * noise(rng);
    }
}

void audit_clean_make(struct audit_clean *c, uint64_t seed) {
    struct rng rng;
    rng_init(&rng, seed);
    c->table = (struct audit_table){.rows = c->rows};
    for (size_t v = 0; v < AUDIT_CLEAN_VARIANTS; v++) {
        struct audit_row *adapt = add(c, AUDIT_ADAPT, v);
        set_window(adapt, 62 * noise(&rng), 5000 * (double)(1 + v / 2 % 2) * noise(&rng), &rng);
        adapt->x[AUDIT_TRAIN_ROWS] = 10000;
        struct audit_row *quantize = add(c, AUDIT_QUANTIZE, v);
        set_window(quantize, 40 * noise(&rng), 50 * (double)(1 + v / 2 % 2) * noise(&rng), &rng);
        add_serving(c, v, &rng);
        struct audit_row *score = add(c, AUDIT_SCORE, v);
        score->x[AUDIT_SCORE_MEAN] = v / 8 == 0 ? 0.80 : v / 8 == 1 ? 0.80001 : 0.70;
        score->x[AUDIT_SCORE_SE] = 0.0005;
        score->x[AUDIT_SCORE_MAX] = 1;
        score->x[AUDIT_ITEMS] = 500000;
        score->x[AUDIT_PASSES] = 1;
    }
}

struct audit_row *audit_clean_row(struct audit_clean *c, enum audit_stage stage, size_t i) {
    for (size_t row = 0; row < c->table.n; row++) {
        struct audit_row *r = &c->rows[row];
        if (r->stage == stage && isnan(r->x[AUDIT_REPEAT]) && i-- == 0) {
            return r;
        }
    }
    return NULL;
}

struct audit_row *audit_clean_repeat(struct audit_clean *c, size_t i, size_t k) {
    return audit_clean_row(c, AUDIT_SERVE, i) + 1 + k;
}
