/*
 * A recording played back: the meter's tests, and demonstrations on machines without sensors.
 * The format is in docs/energy.md. Time 0 of the recording is the start of the meter; a value
 * holds until the next one, as a real sensor's register does.
 */
#include "energy/counter.h"
#include "energy/note.h"
#include "energy/sensor.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_UPDATE_MS 100.0
#define DEFAULT_MAX_W 10000.0
#define DEFAULT_GAIN 0.05
#define COUNTER_UNIT_J 1e-6
#define MAX_UPDATE_MS 3.6e6
#define MAX_J 1e12
#define MAX_W 1e7

struct record {
    int64_t t_ns;
    bool has_w, has_j;
    double w;
    uint64_t raw; /* counter, in COUNTER_UNIT_J */
    char *error;  /* owned; the read fails with it */
};

struct track {
    struct record *records; /* owned, by time */
    size_t n, cap;
    size_t at; /* the newest record that is not in the future */
    struct counter counter;
};

struct replay {
    struct track tracks[METER_MAX_COMPONENTS];
    int64_t start_ns;
    int64_t length_ns; /* of the whole recording */
    bool repeat;
    int64_t rounds;
};

/* ---- parsing ---- */

static struct record *track_append(struct track *t, struct err *e) {
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct record *grown = realloc(t->records, cap * sizeof(*grown));
        if (!grown) {
            err_set(e, EE_NOMEM, "out of memory for a recording of %zu samples", cap);
            return NULL;
        }
        t->records = grown;
        t->cap = cap;
    }
    struct record *r = &t->records[t->n++];
    memset(r, 0, sizeof(*r));
    return r;
}

/* A number of the first line within what makes sense; NAN and an error otherwise. */
static double setting(const json_t *obj, const char *key, double fallback, double low, double high,
                      struct err *e) {
    double x = json_num_or(obj, key, fallback);
    if (x >= low && x <= high) {
        return x;
    }
    err_set(e, EE_FORMAT, "\"%s\" is %g and must be %g to %g", key, x, low, high);
    return NAN;
}

static int parse_component(struct sensor *s, const json_t *obj, struct err *e) {
    struct replay *rp = s->state;
    const char *name = "";
    const char *scope = "";
    int rc = json_want_str(obj, "name", &name, e);
    if (rc == 0) {
        rc = json_want_str(obj, "scope", &scope, e);
    }
    if (rc < 0) {
        return rc;
    }
    struct sensor_component *c = sensor_add(s, name, scope);
    if (!c) {
        return err_set(e, EE_FORMAT, "more than %d components", METER_MAX_COMPONENTS);
    }
    double update_ms = setting(obj, "update_ms", DEFAULT_UPDATE_MS, 1e-3, MAX_UPDATE_MS, e);
    double wrap_j = setting(obj, "wrap_j", 0, 0, MAX_J, e);
    double max_w = setting(obj, "max_w", DEFAULT_MAX_W, 0, MAX_W, e);
    c->info.gain = setting(obj, "gain", DEFAULT_GAIN, 0, 1, e);
    c->power_duty = setting(obj, "duty", 1, 0, 1, e);
    if (isnan(update_ms) || isnan(wrap_j) || isnan(max_w) || isnan(c->info.gain) ||
        isnan(c->power_duty)) {
        return EE_FORMAT;
    }
    c->info.modelled = json_is_true(json_object_get(obj, "modelled"));
    c->info.shared = json_is_true(json_object_get(obj, "shared"));
    c->counter_update_ns = c->power_update_ns = (int64_t)(update_ms * (double)NS_PER_MS);
    note_set(c->info.detail, sizeof(c->info.detail), "%s", json_str_or(obj, "detail", "recorded"));
    rp->tracks[s->n - 1].counter = (struct counter){
        .unit_j = COUNTER_UNIT_J,
        .range = (uint64_t)llround(wrap_j / COUNTER_UNIT_J),
        .max_w = max_w,
    };
    if (rp->repeat && rp->tracks[s->n - 1].counter.range) {
        return err_set(e, EE_FORMAT, "a recording that repeats cannot have wrap_j");
    }
    return 0;
}

static int parse_header(struct sensor *s, const json_t *obj, struct err *e) {
    struct replay *rp = s->state;
    int64_t version;
    int rc = json_want_int(obj, "edge_eval_power", &version, e);
    if (rc < 0) {
        return rc;
    }
    if (version != 1) {
        return err_set(e, EE_UNSUPPORTED, "version %lld of the format, only 1 is known",
                       (long long)version);
    }
    rp->repeat = json_is_true(json_object_get(obj, "repeat"));
    const json_t *components = json_object_get(obj, "components");
    if (json_array_size(components) == 0) {
        return err_set(e, EE_FORMAT, "\"components\" must list at least one");
    }
    for (size_t i = 0; i < json_array_size(components); i++) {
        rc = parse_component(s, json_array_get(components, i), e);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int parse_record(struct sensor *s, size_t i, int64_t t_ns, const json_t *obj,
                        struct err *e) {
    struct track *t = &((struct replay *)s->state)->tracks[i];
    struct sensor_component *c = &s->c[i];
    if (t->n > 0 && t_ns < t->records[t->n - 1].t_ns) {
        return err_set(e, EE_FORMAT, "samples of %s are not in order of time", c->info.name);
    }
    struct record *r = track_append(t, e);
    if (!r) {
        return EE_NOMEM;
    }
    const json_t *w = json_object_get(obj, "w");
    const json_t *j = json_object_get(obj, "j");
    const char *error = json_str_or(obj, "error", NULL);
    r->t_ns = t_ns;
    r->has_w = json_is_number(w);
    r->has_j = json_is_number(j);
    if ((r->has_w && !(json_number_value(w) >= 0 && json_number_value(w) <= MAX_W)) ||
        (r->has_j && !(json_number_value(j) >= 0 && json_number_value(j) <= MAX_J))) {
        return err_set(e, EE_FORMAT, "%s has a power or energy that cannot be", c->info.name);
    }
    if (!r->has_w && !r->has_j && !error) {
        return err_set(e, EE_FORMAT, "%s needs \"w\", \"j\" or \"error\"", c->info.name);
    }
    if (r->has_w) {
        r->w = json_number_value(w);
        note_set(c->power_source, sizeof(c->power_source), "replayed power");
    }
    if (r->has_j) {
        r->raw = (uint64_t)llround(json_number_value(j) / COUNTER_UNIT_J);
        note_set(c->counter_source, sizeof(c->counter_source), "replayed counter");
    }
    r->error = error ? strdup(error) : NULL;
    return error && !r->error ? err_set(e, EE_NOMEM, "out of memory for a recording") : 0;
}

static int parse_sample(struct sensor *s, const json_t *obj, struct err *e) {
    struct replay *rp = s->state;
    double t_s;
    int rc = json_want_num(obj, "t_s", &t_s, e);
    if (rc == 0 && !(t_s >= 0 && t_s < 1e9)) {
        rc = err_set(e, EE_FORMAT, "t_s of %g", t_s);
    }
    if (rc < 0) {
        return rc;
    }
    int64_t t_ns = llround(t_s * 1e9);
    size_t known = 0;
    for (size_t i = 0; i < s->n && rc == 0; i++) {
        const json_t *value = json_object_get(obj, s->c[i].info.name);
        if (value) {
            known++;
            rc = parse_record(s, i, t_ns, value, e);
        }
    }
    if (rc == 0 && known + 1 != json_object_size(obj)) {
        rc = err_set(e, EE_FORMAT, "a component that the first line does not list");
    }
    rp->length_ns = t_ns > rp->length_ns ? t_ns : rp->length_ns;
    return rc;
}

static int parse_line(struct sensor *s, const char *line, size_t len, const char *path, int number,
                      struct err *e) {
    json_t *obj;
    int rc = json_parse(line, len, path, &obj, e);
    if (rc == 0) {
        rc = s->n == 0 ? parse_header(s, obj, e) : parse_sample(s, obj, e);
        json_decref(obj);
    }
    return rc < 0 ? err_prefix(e, "%s, line %d", path, number) : 0;
}

static int parse(struct sensor *s, const char *text, const char *path, struct err *e) {
    const struct replay *rp = s->state;
    int number = 0;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n");
        number++;
        if (len > strspn(at, " \t\r")) {
            int rc = parse_line(s, at, len, path, number, e);
            if (rc < 0) {
                return rc;
            }
        }
        at += at[len] ? len + 1 : len;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (rp->tracks[i].n == 0) {
            return err_set(e, EE_FORMAT, "%s: no samples of %s", path, s->c[i].info.name);
        }
        note_set(s->c[i].info.source, sizeof(s->c[i].info.source), "%s",
                 s->c[i].counter_source[0] ? s->c[i].counter_source : s->c[i].power_source);
    }
    if (s->n == 0 || (rp->repeat && rp->length_ns == 0)) {
        return err_set(e, EE_FORMAT, "%s: the recording is empty", path);
    }
    return 0;
}

static int replay_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct buf text;
    s->state = calloc(1, sizeof(struct replay));
    if (!s->state) {
        return err_set(e, EE_NOMEM, "out of memory for a recording");
    }
    if (!env->arg || !*env->arg) {
        return err_set(e, EE_USAGE, "which recording? Write replay:PATH");
    }
    buf_init(&text);
    int rc = fs_read(env->arg, &text, e);
    if (rc == 0) {
        rc = parse(s, text.data, env->arg, e);
    }
    buf_release(&text);
    ((struct replay *)s->state)->start_ns = sensor_now_ns(s);
    return rc;
}

/* ---- playing ---- */

/* What the counter gains in one round. */
static uint64_t round_steps(const struct track *t) {
    uint64_t first = 0, last = 0;
    bool any = false;
    for (size_t i = 0; i < t->n; i++) {
        if (t->records[i].has_j) {
            first = any ? first : t->records[i].raw;
            last = t->records[i].raw;
            any = true;
        }
    }
    return last - first;
}

/* Time within the recording; rewinds the tracks when a round is over. */
static int64_t position_ns(struct replay *rp, int64_t now_ns) {
    int64_t t_ns = now_ns - rp->start_ns;
    if (!rp->repeat) {
        return t_ns;
    }
    int64_t rounds = t_ns / rp->length_ns;
    if (rounds != rp->rounds) {
        rp->rounds = rounds;
        for (size_t i = 0; i < METER_MAX_COMPONENTS; i++) {
            rp->tracks[i].at = 0;
        }
    }
    return t_ns % rp->length_ns;
}

static void fail(struct sensor_value *out, const struct sensor_component *c, const char *why) {
    if (c->counter_source[0]) {
        out->counter = SENSOR_FAILED;
        note_set(out->counter_why, sizeof(out->counter_why), "%s", why);
    }
    if (c->power_source[0]) {
        out->power = SENSOR_FAILED;
        note_set(out->power_why, sizeof(out->power_why), "%s", why);
    }
}

static void play(struct sensor *s, size_t i, const struct record *r, int64_t now_ns,
                 struct sensor_value *out) {
    struct replay *rp = s->state;
    struct track *t = &rp->tracks[i];
    if (r->has_w) {
        sensor_value_ok_power(out, now_ns, r->w);
    }
    if (r->has_j) {
        char why[200];
        uint64_t raw = r->raw + (uint64_t)rp->rounds * round_steps(t);
        if (counter_advance(&t->counter, raw, now_ns, why, sizeof(why)) < 0) {
            out->counter = SENSOR_FAILED;
            note_set(out->counter_why, sizeof(out->counter_why), "the recorded counter %s", why);
        } else {
            sensor_value_ok_counter(out, now_ns, counter_joules(&t->counter));
        }
    }
}

static void replay_read(struct sensor *s, size_t i, enum sensor_depth depth,
                        struct sensor_value *out) {
    (void)depth;
    struct replay *rp = s->state;
    struct track *t = &rp->tracks[i];
    const struct sensor_component *c = &s->c[i];
    int64_t now_ns = sensor_now_ns(s);
    int64_t t_ns = position_ns(rp, now_ns);
    while (t->at + 1 < t->n && t->records[t->at + 1].t_ns <= t_ns) {
        t->at++;
    }
    const struct record *r = &t->records[t->at];
    char why[96];
    if (t_ns < r->t_ns && !rp->repeat) {
        note_set(why, sizeof(why), "the recording of it begins at %.3f s", clock_ns_to_s(r->t_ns));
    } else if (!rp->repeat && t_ns > rp->length_ns + c->counter_update_ns) {
        note_set(why, sizeof(why), "the recording ended at %.3f s", clock_ns_to_s(rp->length_ns));
    } else if (r->error) {
        note_set(why, sizeof(why), "%s", r->error);
    } else {
        play(s, i, r, now_ns, out);
        return;
    }
    counter_forget(&t->counter);
    fail(out, c, why);
}

static void replay_close(struct sensor *s) {
    struct replay *rp = s->state;
    for (size_t i = 0; rp && i < METER_MAX_COMPONENTS; i++) {
        for (size_t k = 0; k < rp->tracks[i].n; k++) {
            free(rp->tracks[i].records[k].error);
        }
        free(rp->tracks[i].records);
    }
    free(rp);
}

const struct sensor_ops sensor_replay = {
    .name = "replay",
    .what = "a recording of power samples",
    .covers = SENSOR_GPU | SENSOR_CPU | SENSOR_DRAM,
    .automatic = false,
    .probe = replay_probe,
    .read = replay_read,
    .close = replay_close,
};
