/* edge-eval bench --sweep: the load at which a server is as good as wanted, and no more. */
#include "bench_cmd.h"
#include "cmd.h"

#include "base/json.h"
#include "serve/sweep.h"
#include "stop.h"

#include <math.h>
#include <stdlib.h>

static void print_header(const struct sweep *s) {
    printf("%10s %10s %10s %10s %10s %10s %10s  %s\n", s->open_loop ? "rate" : "in flight", "req/s",
           "output/s", "TTFT p50", "TTFT p99", "TPOT p50", "attained", "");
    printf("%10s %10s %10s %10s %10s %10s %10s\n", "", "", "tok", "ms", "ms", "ms", "%");
}

static void print_number(double v) {
    if (isfinite(v)) {
        printf(" %10.4g", v);
    } else {
        printf(" %10s", "-");
    }
}

static void print_point(const struct sweep_point *p) {
    printf("%10.4g", p->level);
    print_number(p->request_rate);
    print_number(p->output_rate);
    print_number(1e3 * p->ttft_p50_s);
    print_number(1e3 * p->ttft_p99_s);
    print_number(1e3 * p->tpot_p50_s);
    print_number(100 * p->attained);
    printf("  %s%s\n", p->good ? "good" : "bad", p->client_valid ? "" : ", client NOT VALID");
}

static struct sweep_point point_of(const struct bench *b, double level) {
    const struct measures *m = &b->measures;
    const struct window *w = &m->window;
    size_t judged = m->outcomes[OUTCOME_OK] + m->n_failed;
    return (struct sweep_point){
        .level = level,
        .request_rate = w->is_steady ? w->request_rate : m->request_rate,
        .output_rate = w->is_steady ? w->output_rate : m->output_rate,
        .attained = m->attained,
        .failed = judged ? (double)m->n_failed / (double)judged : 1,
        .ttft_p50_s = m->figures[FIG_TTFT_SCHEDULE].p[0],
        .ttft_p99_s = m->figures[FIG_TTFT_SCHEDULE].p[3],
        .tpot_p50_s = m->figures[FIG_TPOT].p[0],
        .client_valid = b->verdict.validity != INVALID,
    };
}

static json_t *num(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *point_json(const struct sweep_point *p) {
    return p ? json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b}", "level", num(p->level),
                         "requests_per_s", num(p->request_rate), "output_tokens_per_s",
                         num(p->output_rate), "attained", num(p->attained), "failed",
                         num(p->failed), "ttft_p50_s", num(p->ttft_p50_s), "ttft_p99_s",
                         num(p->ttft_p99_s), "good", p->good, "client_valid", p->client_valid)
             : json_null();
}

static int print_json(const struct sweep *s, json_t *runs, struct err *e) {
    json_t *points = json_array();
    for (size_t i = 0; i < s->n; i++) {
        json_array_append_new(points, point_json(&s->at[i]));
    }
    json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o, s:s?, s:O}", "format", "edge-eval sweep 1",
                          "loop", s->open_loop ? "open" : "closed", "points", points, "best",
                          point_json(sweep_best(s)), "peak", point_json(sweep_peak(s)), "end",
                          s->end, "runs", runs);
    return cmd_print_json(o, e);
}

static void print_end(const struct sweep *s) {
    const struct sweep_point *best = sweep_best(s);
    const struct sweep_point *peak = sweep_peak(s);
    const char *what = s->open_loop ? "requests/s" : "in flight";
    printf("\n");
    if (best && (s->open_loop || s->has_limits)) {
        printf("Highest good load: %.4g %s", best->level, what);
        printf(s->has_limits ? " (%.4g %% of requests within the limits)" : "",
               100 * best->attained);
        printf(".\n");
    } else if (!best) {
        printf("No load measured was good.\n");
    }
    if (peak) {
        printf("Highest throughput: %.4g output tokens/s, %.4g requests/s, at %.4g %s.\n",
               peak->output_rate, peak->request_rate, peak->level, what);
    }
    printf("Ended: %s.\n", s->end ? s->end : "by the user");
}

/* Measures one level. */
static int one_level(const struct bench_args *a, struct setup *s, double level, const char *dir,
                     size_t index, json_t *runs, struct sweep_point *out, struct err *e) {
    static const struct calibration none = {.reason = "not asked to"};
    struct ticker ticker = {.is_terminal = !a->quiet && bench_is_terminal()};
    struct calibration c = none;
    struct bench b = {0};
    s->o.levels = (struct levels){.n = 1, .steps = {{level, level, (double)INFINITY}}};
    s->o.seed = (uint64_t)a->seed + index;
    s->o.progress = bench_show_progress;
    s->o.progress_ctx = &ticker;
    int rc = a->no_calibration ? 0 : bench_calibrate(s, &c, e);
    rc = rc ? rc : bench_run(&b, &s->o, &s->workload, &c, e);
    bench_end_progress(&ticker);
    if (rc) {
        return rc;
    }
    json_t *result = bench_json(&b);
    *out = point_of(&b, level);
    if (dir) {
        char name[64];
        snprintf(name, sizeof(name), "%02zu-%g", index + 1, level);
        rc = bench_keep(dir, name, result, &b.result, e);
    }
    json_array_append_new(runs, result);
    bench_release(&b);
    return rc;
}

int bench_sweep(const struct bench_args *a, struct setup *s, const char *dir, struct err *e) {
    struct sweep sweep;
    json_t *runs = json_array();
    double first = s->o.levels.steps[0].from;
    double level;
    sweep_init(&sweep, s->o.open_loop, s->o.slos.n > 0, a->attain,
               s->o.open_loop ? 1e5 : (double)s->o.transport.max_connections);
    int rc = s->o.duration_s > 0 && s->o.levels.n == 1
                 ? 0
                 : err_set(e, EE_USAGE,
                           "a sweep needs --duration, of each level, and one level to begin with");
    if (!rc && !a->as_json) {
        print_header(&sweep);
    }
    while (!rc && !stop_requested && sweep_next(&sweep, first, &level)) {
        struct sweep_point p;
        level = s->o.open_loop ? level : floor(level);
        rc = one_level(a, s, level, dir, sweep.n, runs, &p, e);
        if (!rc) {
            sweep_add(&sweep, &p);
            if (!a->as_json) {
                print_point(&sweep.at[sweep.n - 1]);
                fflush(stdout);
            }
        }
    }
    if (!rc && a->as_json) {
        rc = print_json(&sweep, runs, e);
    } else if (!rc) {
        print_end(&sweep);
    }
    json_decref(runs);
    return rc;
}
