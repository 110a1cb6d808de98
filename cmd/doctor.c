/* edge-eval doctor: what this machine can measure and run on, and how to make it more. */
#include "cmd.h"

#include "base/clock.h"
#include "base/json.h"
#include "energy/probe.h"
#include "engine/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const usage[] = {"doctor [--json] [--seconds N]", NULL};

struct findings {
    struct probe_sensor sensors[PROBE_MAX_SENSORS];
    size_t n_sensors;
    bool has_reading;
    char meter_error[1024]; /* why there is none */
    struct meter_reading reading;
    struct meter_stats stats;
    double seconds;
    double cpu_share, sample_s; /* of one core; mean time to read all sensors once */
    struct probe_verdict verdict;
    char engine_device[128], engine_warning[512];
    char engine_error[1024];
};

/* ---- finding out ---- */

static void sleep_s(double seconds) {
    int64_t end_ns = clock_mono_ns() + (int64_t)(seconds * 1e9);
    while (clock_mono_ns() < end_ns) {
        clock_sleep_until_ns(end_ns);
    }
}

/* The meter as a run would use it, with nothing to measure but the machine. */
static int run_meter(double seconds, struct findings *f, struct err *e) {
    struct meter *m = NULL;
    struct meter_stats before;
    int rc = meter_start(&m, NULL, e);
    int window = rc ? rc : meter_window_open(m, "doctor", METER_NO_PARENT, e);
    if (window < 0) {
        meter_stop(m);
        return window;
    }
    meter_stats(m, &before);
    int64_t begin_ns = clock_mono_ns();
    int64_t cpu_ns = clock_process_cpu_ns();
    sleep_s(seconds);
    f->cpu_share = clock_ns_to_s(clock_process_cpu_ns() - cpu_ns) /
                   clock_ns_to_s(clock_mono_ns() - begin_ns);
    rc = meter_window_close(m, window, &f->reading, e);
    meter_stats(m, &f->stats);
    f->sample_s = clock_ns_to_s(f->stats.read_ns - before.read_ns) /
                  (double)(f->stats.samples - before.samples);
    f->has_reading = rc == 0;
    f->seconds = seconds;
    meter_stop(m);
    return rc;
}

static void ask_engine(struct findings *f) {
    struct err e = ERR_INIT;
    int rc = engine_device_name(ENGINE_ALL_GPU_LAYERS, f->engine_device, sizeof(f->engine_device),
                                &e);
    rc = rc ? rc : engine_unusable_backend(f->engine_warning, sizeof(f->engine_warning), &e);
    if (rc) {
        memcpy(f->engine_error, e.msg, sizeof(f->engine_error));
    }
}

static void find_out(double seconds, struct findings *f) {
    struct err e = ERR_INIT;
    const struct probe_opts opts = {.with_timing = true};
    f->n_sensors = probe_sensors(&opts, f->sensors);
    if (run_meter(seconds, f, &e)) {
        memcpy(f->meter_error, e.msg, sizeof(f->meter_error));
    } else {
        probe_verdict(&f->reading, &f->verdict);
    }
    ask_engine(f);
}

/* ---- text ---- */

static void print_time(double s) {
    if (s < 1e-3) {
        printf("%.0f us", 1e6 * s);
    } else if (s < 1) {
        printf("%.3g ms", 1e3 * s);
    } else {
        printf("%.3g s", s);
    }
}

static void print_period(const struct probe_timing *t) {
    if (isnan(t->update_s)) {
        printf(" not seen to change (stated: every ");
        print_time(t->stated_s);
        printf(")");
    } else {
        printf(" every ");
        print_time(t->update_s);
    }
}

/* A model moves whenever it is asked. */
static void print_timing(const char *what, const struct probe_timing *t, bool is_modelled) {
    if (!t->is_there || isnan(t->call_s)) {
        return;
    }
    printf(", %s", is_modelled ? "computed" : what);
    if (!is_modelled) {
        print_period(t);
    }
    printf(" at ");
    print_time(t->call_s);
    printf(" a read");
    if (t->slowest_s > 2 * t->call_s && t->slowest_s > 1e-3) {
        printf(" (up to ");
        print_time(t->slowest_s);
        printf(")");
    }
}

static void print_component(const struct probe_component *c) {
    printf("    %-8s", c->info.name);
    if (!c->is_readable) {
        printf(" refused: %s\n", c->why);
        if (c->fix[0]) {
            printf("             fix: %s\n", c->fix);
        }
        return;
    }
    printf(" %s", c->info.device_name[0] ? c->info.device_name : c->info.source);
    print_timing("counter", &c->counter, c->info.modelled);
    print_timing("power", &c->power, c->info.modelled);
    printf(", ±%.0f %%\n", 100 * c->info.gain);
    if (c->info.detail[0]) {
        printf("             %s\n", c->info.detail);
    }
}

static void print_sensor(const struct probe_sensor *s) {
    printf("  %-9s %-8s %s%s\n", s->name, probe_state_name(s->state), s->what,
           s->is_automatic || s->state == PROBE_ABSENT ? "" : "; used when asked for by --source");
    if (s->state == PROBE_ABSENT) {
        printf("             %s\n", s->why);
        if (s->fix[0]) {
            printf("             fix: %s\n", s->fix);
        }
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        print_component(&s->c[i]);
    }
}

static void print_meter(const struct findings *f) {
    printf("\nThe meter, for %g s with nothing to do\n\n", f->seconds);
    for (size_t i = 0; i < f->reading.n; i++) {
        const struct component_reading *c = &f->reading.c[i];
        if (c->quality == METER_MISSING) {
            printf("  %-9s missing: %s\n", c->name, c->reason);
            continue;
        }
        printf("  %-9s %.1f W, %s (%s), %.0f %% covered", c->name, c->mean_w,
               meter_quality_name(c->quality), c->source, 100 * c->coverage);
        if (c->has_disagreement) {
            printf("; integrated power differs from the counter by %+.1f %%",
                   100 * c->disagreement);
        }
        printf("\n");
    }
    printf("  overhead  %.2f %% of one core, ", 100 * f->cpu_share);
    print_time(f->sample_s);
    printf(" to read all sensors; %llu of %llu deadlines missed\n",
           (unsigned long long)f->stats.missed_deadlines,
           (unsigned long long)(f->stats.samples + f->stats.missed_deadlines));
}

static void print_engine(const struct findings *f) {
    printf("\nEngine\n\n");
    if (f->engine_error[0]) {
        printf("  llama.cpp cannot start: %s\n", f->engine_error);
        return;
    }
    printf("  llama.cpp %s computes on: %s\n", engine_version(), f->engine_device);
    if (f->engine_warning[0]) {
        printf("  %s\n", f->engine_warning);
    }
}

static void print_text(const struct findings *f) {
    printf("Energy sensors\n\n");
    for (size_t i = 0; i < f->n_sensors; i++) {
        print_sensor(&f->sensors[i]);
    }
    if (f->has_reading) {
        print_meter(f);
        printf("\nVerdict\n\n  %s\n", f->verdict.text);
    } else {
        printf("\nThe meter cannot start: %s\n", f->meter_error);
    }
    print_engine(f);
}

/* ---- JSON ---- */

static void put(json_t *o, const char *key, double x) {
    if (isfinite(x)) {
        json_object_set_new(o, key, json_real(x));
    }
}

static void put_text(json_t *o, const char *key, const char *text) {
    if (text[0]) {
        json_object_set_new(o, key, json_string(text));
    }
}

static void put_timing(json_t *o, const char *key, const struct probe_timing *t) {
    if (t->is_there) {
        json_t *timing = json_object();
        put(timing, "stated_s", t->stated_s);
        put(timing, "update_s", t->update_s);
        put(timing, "call_s", t->call_s);
        put(timing, "slowest_call_s", t->slowest_s);
        json_object_set_new(o, key, timing);
    }
}

static json_t *component_json(const struct probe_component *c) {
    json_t *o = json_object();
    put_text(o, "name", c->info.name);
    put_text(o, "scope", c->info.scope);
    put_text(o, "source", c->info.source);
    put_text(o, "device", c->info.device_name);
    put_text(o, "id", c->info.device_id);
    put_text(o, "detail", c->info.detail);
    json_object_set_new(o, "readable", json_boolean(c->is_readable));
    put_text(o, "why", c->why);
    put_text(o, "fix", c->fix);
    put(o, "gain_tolerance", c->is_readable ? c->info.gain : (double)NAN);
    put_timing(o, "counter", &c->counter);
    put_timing(o, "power", &c->power);
    return o;
}

static json_t *sensors_json(const struct findings *f) {
    json_t *list = json_array();
    for (size_t i = 0; i < f->n_sensors; i++) {
        const struct probe_sensor *s = &f->sensors[i];
        json_t *components = json_array();
        json_t *o = json_pack("{s:s, s:s, s:s, s:b}", "name", s->name, "what", s->what, "state",
                              probe_state_name(s->state), "automatic", (int)s->is_automatic);
        put_text(o, "why", s->why);
        put_text(o, "fix", s->fix);
        for (size_t k = 0; k < s->n; k++) {
            json_array_append_new(components, component_json(&s->c[k]));
        }
        json_object_set_new(o, "components", components);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *meter_json(const struct findings *f) {
    json_t *list = json_array();
    json_t *o = json_object();
    for (size_t i = 0; i < f->reading.n; i++) {
        const struct component_reading *c = &f->reading.c[i];
        json_t *part = json_object();
        put_text(part, "name", c->name);
        put_text(part, "source", c->source);
        put_text(part, "quality", meter_quality_name(c->quality));
        put(part, "mean_w", c->mean_w);
        put(part, "coverage", c->coverage);
        put(part, "disagreement", c->has_disagreement ? c->disagreement : (double)NAN);
        put_text(part, "reason", c->reason);
        json_array_append_new(list, part);
    }
    put(o, "seconds", f->seconds);
    json_object_set_new(o, "components", list);
    put(o, "cpu_share", f->cpu_share);
    put(o, "sample_s", f->sample_s);
    json_object_set_new(o, "samples", json_integer((json_int_t)f->stats.samples));
    json_object_set_new(o, "missed_deadlines", json_integer((json_int_t)f->stats.missed_deadlines));
    return o;
}

static json_t *verdict_json(const struct probe_verdict *v) {
    json_t *o = json_object();
    put_text(o, "text", v->text);
    put_text(o, "scope", v->scope);
    json_object_set_new(o, "modelled", json_boolean(v->is_modelled));
    put(o, "half_width_10s", v->half_10s);
    put(o, "half_width_60s", v->half_60s);
    put(o, "apart_60s", v->apart_60s);
    return o;
}

static int print_json(const struct findings *f, struct err *e) {
    json_t *engine = json_object();
    json_t *o = json_object();
    json_object_set_new(o, "sensors", sensors_json(f));
    if (f->has_reading) {
        json_object_set_new(o, "meter", meter_json(f));
        json_object_set_new(o, "verdict", verdict_json(&f->verdict));
    }
    put_text(o, "meter_error", f->meter_error);
    put_text(engine, "version", engine_version());
    put_text(engine, "device", f->engine_device);
    put_text(engine, "warning", f->engine_warning);
    put_text(engine, "error", f->engine_error);
    json_object_set_new(o, "engine", engine);
    return cmd_print_json(o, e);
}

int cmd_doctor(int argc, char **argv) {
    bool as_json = false;
    double seconds = 10;
    const struct opt options[] = {
        {OPT_FLAG, 0, "json", &as_json, NULL, "print JSON", NULL},
        {OPT_NUM, 0, "seconds", &seconds, "N", "let the meter run that long (default 10)", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "doctor",
        .usage = usage,
        .summary = "Tell what this machine can measure and run on, and how to make it more.",
        .details =
            "Every energy sensor: found, refused or absent, why, and the command that changes it;\n"
            "how often the readable ones move and what a read costs; energy counters against\n"
            "integrated power; the meter's own overhead; what joules are worth here; the engine\n"
            "and its device. Changes nothing. Takes some 20 s; leave the machine alone meanwhile.",
        .options = options};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    if (!(seconds > 0 && seconds <= 3600)) {
        err_set(&e, EE_USAGE, "--seconds must be above 0 and at most 3600");
        return cmd_fail(&e);
    }
    struct findings *f = calloc(1, sizeof(*f));
    int rc = f ? 0 : err_set(&e, EE_NOMEM, "out of memory");
    if (!rc) {
        find_out(seconds, f);
        rc = as_json ? print_json(f, &e) : 0;
        if (!as_json) {
            print_text(f);
        }
    }
    free(f);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
