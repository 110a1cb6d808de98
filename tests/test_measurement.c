/* Repeats summed up, and what is written about them. */
#include "support/energy_fake.h"

#include "base/clock.h"
#include "base/json.h"
#include "energy/measurement.h"
#include "energy/note.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_RUNS 4

/* Two GPUs and a CPU of 10 s each; the test changes what it is about. */
struct fixture {
    struct measurement m;
    struct measurement_run runs[MAX_RUNS];
    struct measurement_summary s;
    struct buf text;
};

static void set_component(struct component_reading *c, const char *name, const char *scope,
                          double joules) {
    *c = (struct component_reading){
        .quality = METER_COUNTER,
        .joules = joules,
        .low_j = 0.9 * joules,
        .high_j = 1.1 * joules,
        .gain = 0.05,
        .mean_w = joules / 10,
        .peak_w = joules / 5,
        .coverage = 1,
    };
    note_set(c->name, sizeof(c->name), "%s", name);
    note_set(c->scope, sizeof(c->scope), "%s", scope);
    note_set(c->source, sizeof(c->source), "%s counter", scope);
}

static int setup(void **state) {
    static const char *const parts[][2] = {{"gpu0", "gpu"}, {"gpu1", "gpu"}, {"cpu", "cpu"}};
    struct fixture *f = calloc(1, sizeof(*f));
    buf_init(&f->text);
    f->m = (struct measurement){
        .label = "a command", .runs = f->runs, .n_runs = 1, .n_components = 3, .usd_per_kwh = NAN};
    for (size_t i = 0; i < 3; i++) {
        note_set(f->m.components[i].name, sizeof(f->m.components[i].name), "%s", parts[i][0]);
        note_set(f->m.components[i].scope, sizeof(f->m.components[i].scope), "%s", parts[i][1]);
        for (size_t k = 0; k < MAX_RUNS; k++) {
            struct meter_reading *r = &f->runs[k].reading;
            r->n = 3;
            r->end_ns = 10 * NS_PER_S;
            set_component(&r->c[i], parts[i][0], parts[i][1], 1000 * (double)(i + 1));
        }
    }
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    buf_release(&f->text);
    free(f);
    return 0;
}

static void summarise(struct fixture *f) {
    struct err e = ERR_INIT;
    assert_int_equal(measurement_summarise(&f->m, &f->s, &e), 0);
}

static void lose(struct component_reading *c, const char *why) {
    c->quality = METER_MISSING;
    c->joules = c->low_j = c->high_j = c->mean_w = c->peak_w = NAN;
    c->coverage = 0;
    note_set(c->reason, sizeof(c->reason), "%s", why);
}

static const char *text_of(struct fixture *f) {
    summarise(f);
    buf_clear(&f->text);
    measurement_text(&f->m, &f->s, &f->text);
    return f->text.data;
}

static void assert_says(struct fixture *f, const char *part) {
    if (!strstr(text_of(f), part)) {
        fail_msg("not in the text: %s\n%s", part, f->text.data);
    }
}

static void assert_silent(struct fixture *f, const char *part) {
    if (strstr(text_of(f), part)) {
        fail_msg("in the text: %s\n%s", part, f->text.data);
    }
}

static void one_run_is_itself(void **state) {
    struct fixture *f = *state;
    summarise(f);
    assert_close(f->s.rows[0].joules, 1000);
    assert_close(f->s.rows[1].low_j, 1800);
    assert_close(f->s.rows[2].peak_w, 600);
    assert_close(f->s.total.joules, 6000);
    assert_string_equal(f->s.total.scope, "GPU + CPU");
    assert_close(f->s.seconds, 10);
    assert_false(f->s.rows[0].has_spread);
    assert_true(isnan(f->s.rows[0].sd_j) && isnan(f->s.usd));
}

/* 10, 12 and 14: Student's t of 2 degrees of freedom at 97.5 % is 4.302653. */
static void the_spread_is_of_the_mean(void **state) {
    struct fixture *f = *state;
    f->m.n_runs = 3;
    for (int k = 0; k < 3; k++) {
        set_component(&f->runs[k].reading.c[0], "gpu0", "gpu", 10 + 2 * k);
    }
    summarise(f);
    const struct measurement_row *row = &f->s.rows[0];
    assert_close(row->joules, 12);
    assert_close(row->low_j, 10.8); /* the sensor's interval does not shrink */
    assert_close(row->sd_j, 2);
    assert_true(row->has_spread);
    assert_true(fabs(row->spread_low_j - (12 - 4.302653 * 2 / sqrt(3))) < 1e-5);
    assert_true(fabs(row->spread_high_j - (12 + 4.302653 * 2 / sqrt(3))) < 1e-5);
    assert_close(row->min_j, 10);
    assert_close(row->max_j, 14);
    assert_close(row->peak_w, 2.8);
    assert_false(f->s.rows[1].has_spread); /* equal to the last digit: no spread is known */
    assert_close(f->s.total.joules, 5012);
}

static void a_repeat_without_a_figure_leaves_none(void **state) {
    struct fixture *f = *state;
    f->m.n_runs = 3;
    lose(&f->runs[1].reading.c[1], "GPU is lost");
    summarise(f);
    assert_int_equal(f->s.rows[1].quality, METER_MISSING);
    assert_true(isnan(f->s.rows[1].joules) && isnan(f->s.rows[1].min_j));
    assert_string_equal(f->s.rows[1].reason, "in 1 of 3 runs: GPU is lost");
    assert_int_equal(f->s.total.quality, METER_MISSING);
    assert_true(isnan(f->s.total.joules));
    assert_close(f->s.rows[0].joules, 1000);
    assert_says(f, "\n gpu1: missing: in 1 of 3 runs: GPU is lost\n");
}

/* A job on one of two GPUs pays for that one; where nothing was seen, for all. */
static void a_job_pays_for_the_gpus_it_was_seen_on(void **state) {
    struct fixture *f = *state;
    f->m.gpus[1] = (struct measurement_gpu){.n_looks = 1, .knows_use = true, .is_used = true};
    summarise(f);
    assert_true(f->s.total_is_chosen);
    assert_close(f->s.total.joules, 2000 + 3000);
    assert_says(f, "of the GPUs, only those that the job's processes were seen on: gpu1\n");
    f->m.gpus[0] = f->m.gpus[1];
    summarise(f);
    assert_false(f->s.total_is_chosen);
    assert_close(f->s.total.joules, 6000);
    f->m.gpus[0].is_used = f->m.gpus[1].is_used = false;
    summarise(f);
    assert_close(f->s.total.joules, 6000);
}

static void the_whole_machine_is_not_added_to_its_parts(void **state) {
    struct fixture *f = *state;
    f->m.components[2].whole = true;
    note_set(f->runs[0].reading.c[2].scope, 16, "wall");
    f->runs[0].reading.c[2].whole = true;
    summarise(f);
    assert_close(f->s.total.joules, 3000);
    assert_string_equal(f->s.total.scope, "GPU only");
    assert_says(f, " cpu: the whole machine; the total is of its parts\n");
    f->m.gpus[1] = (struct measurement_gpu){.n_looks = 1, .knows_use = true, .is_used = true};
    summarise(f);
    assert_close(f->s.total.joules, 2000);
}

static void energy_has_a_price(void **state) {
    struct fixture *f = *state;
    f->m.usd_per_kwh = 0.15;
    summarise(f);
    assert_close(f->s.usd, 6000 / 3.6e6 * 0.15);
    assert_close(f->s.usd_low, 5400 / 3.6e6 * 0.15);
    assert_says(
        f, " cost: $0.000250 (0.000225..0.000275) of electricity at $0.15/kWh, for GPU + CPU\n");
    lose(&f->runs[0].reading.c[0], "denied");
    assert_says(f, " cost: none, because the total is missing\n");
}

static void the_table_reads_as_written(void **state) {
    struct fixture *f = *state;
    f->runs[0].has_process = true;
    f->runs[0].cpu_s = 0.25;
    f->runs[0].max_rss_bytes = 2500000;
    set_component(&f->runs[0].reading.c[0], "gpu0", "gpu", 12345.6);
    lose(&f->runs[0].reading.c[1], "GPU is lost");
    assert_string_equal(
        text_of(f),
        "\n Energy of a command\n\n"
        " component  joules  interval      mean W  peak W  covered  quality  source\n"
        " gpu0        12346  11111..13580    1235    2469    100 %  counter  gpu counter\n"
        " gpu1            -                     -       -        -  missing  gpu counter\n"
        " cpu          3000  2700..3300     300.0   600.0    100 %  counter  cpu counter\n"
        " total           -                     -       -        -  missing  GPU + CPU\n"
        "\n 10.000 s, 0.250 s of CPU time, at most 2.5 MB of memory\n"
        " gpu1: missing: GPU is lost\n");
}

static void what_is_above_idle_has_columns_of_its_own(void **state) {
    struct fixture *f = *state;
    struct component_reading *c = &f->runs[0].reading.c[0];
    assert_silent(f, "above idle");
    c->has_idle = true;
    c->idle_w = 60;
    c->above_idle_j = 400;
    c->above_idle_low_j = 365;
    c->above_idle_high_j = 435;
    assert_says(f, " component  joules  interval     above idle  interval      mean W ");
    assert_says(f, " gpu0         1000  900.0..1100       400.0  365.0..435.0 ");
    assert_says(f, " cpu          3000  2700..3300            - ");
    c->above_idle_high_j = -1;
    assert_says(f, " gpu0: used less than its idle baseline");
}

static void what_a_reader_must_know_is_told(void **state) {
    struct fixture *f = *state;
    struct component_reading *c = f->runs[0].reading.c;
    assert_silent(f, " gpu0: ");
    assert_silent(f, " total: ");
    c[0].is_short = true;
    c[0].has_disagreement = true;
    c[0].disagreement = -0.08;
    note_set(c[0].reason, sizeof(c[0].reason), "energy counter: it went back");
    c[2].shared = true;
    f->m.gpus[1] = (struct measurement_gpu){
        .n_looks = 4, .n_throttled = 3, .throttle = 0x4, .min_sm_mhz = 1200, .max_sm_mhz = 1980};
    f->m.stats = (struct meter_stats){
        .samples = 90, .missed_deadlines = 10, .worst_late_ns = 7 * NS_PER_MS};
    f->runs[0].has_process = true;
    f->runs[0].n_left = 2;
    assert_says(f, " gpu0: not from the better source: energy counter: it went back\n");
    assert_says(f, " gpu0: too short for this sensor");
    assert_says(f, " gpu0: the integral of its power differs from its counter by -8.0 %\n");
    assert_says(f,
                " gpu1: its clocks were held back in 3 of 4 looks (power cap); 1200 to 1980 MHz\n");
    assert_says(f, " total: holds a part that others share");
    assert_says(f, " the meter missed 10 of 100 sampling times, the latest by 7 ms\n");
    assert_says(f, " the command ended and left 2 processes running");
}

static void a_job_is_told_its_share_of_a_measured_cpu(void **state) {
    struct fixture *f = *state;
    struct component_reading *c = &f->runs[0].reading.c[2];
    f->runs[0].job_cpu_s = 2;
    f->runs[0].machine_cpu_s = 8;
    assert_silent(f, "of the machine's CPU time");
    assert_non_null(strstr(f->s.share.reason, "without an idle baseline"));
    c->has_idle = true;
    c->above_idle_j = 800;
    c->above_idle_low_j = 700;
    c->above_idle_high_j = 900;
    assert_says(f, " cpu: 25 % of the machine's CPU time was this job's: 200.0 J (100.0..360.0) of "
                   "what is above idle\n");
    f->runs[0].job_cpu_s = NAN;
    assert_silent(f, "of the machine's CPU time");
}

static void looks_at_a_gpu_add_up(void **state) {
    (void)state;
    struct measurement_gpu g = {.n_looks = 0};
    struct meter_gpu_state look = {
        .driver = "1.2", .temperature_c = 50, .busy = 0.5, .sm_mhz = 1500, .has_pids = true};
    measurement_gpu_look(&g, &look);
    look.temperature_c = NAN; /* not told this time */
    look.busy = 1;
    look.sm_mhz = 900;
    look.throttle = 0x40 | 0x1;
    measurement_gpu_look(&g, &look);
    assert_int_equal(g.n_looks, 2);
    assert_int_equal(g.n_throttled, 1);
    assert_close(g.max_temperature_c, 50);
    assert_close(g.mean_busy, 0.75);
    assert_close(g.min_sm_mhz, 900);
    assert_close(g.max_sm_mhz, 1500);
    assert_string_equal(g.driver, "1.2");
}

static void json_leaves_out_what_is_missing(void **state) {
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    json_t *o;
    lose(&f->runs[0].reading.c[1], "GPU is lost");
    f->m.gpus[0] = (struct measurement_gpu){
        .n_looks = 2, .n_throttled = 1, .throttle = 0x4, .mean_busy = NAN};
    summarise(f);
    assert_int_equal(measurement_json(&f->m, &f->s, &f->text, &e), 0);
    assert_int_equal(json_parse(f->text.data, f->text.len, "result", &o, &e), 0);
    json_t *lost = json_array_get(json_object_get(o, "components"), 1);
    assert_string_equal(json_str_or(lost, "quality", ""), "missing");
    assert_string_equal(json_str_or(lost, "reason", ""), "GPU is lost");
    assert_null(json_object_get(lost, "joules"));
    assert_null(json_object_get(json_object_get(o, "total"), "joules"));
    json_t *gpu = json_array_get(json_object_get(o, "gpus"), 0);
    assert_close(json_num_or(gpu, "throttled", 0), 0.5);
    assert_null(json_object_get(gpu, "mean_busy"));
    assert_string_equal(json_str_or(gpu, "throttle_reasons", ""), "power cap");
    assert_null(json_object_get(o, "usd"));
    json_decref(o);
}

static void openmetrics_escapes_and_leaves_out(void **state) {
    struct fixture *f = *state;
    lose(&f->runs[0].reading.c[1], "a \"b\\c\"\nd");
    summarise(f);
    measurement_openmetrics(&f->m, &f->s, 1234.5, &f->text);
    const char *text = f->text.data;
    assert_non_null(strstr(text, "edge_eval_meter_energy_joules{component=\"gpu0\",scope=\"gpu\","
                                 "source=\"gpu counter\",quality=\"counter\"} 1000\n"));
    assert_non_null(strstr(text, "edge_eval_meter_missing{component=\"gpu1\","
                                 "reason=\"a \\\"b\\\\c\\\"\\nd\"} 1\n"));
    assert_null(strstr(text, "energy_joules{component=\"gpu1\""));
    assert_null(strstr(text, "energy_joules{component=\"total\""));
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "\nedge_eval_meter_end_timestamp_seconds 1234.5\n"));
    assert_non_null(strstr(text, "# UNIT edge_eval_meter_power_mean_watts watts\n"));
    assert_string_equal(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(one_run_is_itself),
        CASE(the_spread_is_of_the_mean),
        CASE(a_repeat_without_a_figure_leaves_none),
        CASE(a_job_pays_for_the_gpus_it_was_seen_on),
        CASE(the_whole_machine_is_not_added_to_its_parts),
        CASE(energy_has_a_price),
        CASE(the_table_reads_as_written),
        CASE(what_is_above_idle_has_columns_of_its_own),
        CASE(what_a_reader_must_know_is_told),
        CASE(a_job_is_told_its_share_of_a_measured_cpu),
        CASE(looks_at_a_gpu_add_up),
        CASE(json_leaves_out_what_is_missing),
        CASE(openmetrics_escapes_and_leaves_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
