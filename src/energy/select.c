/* Which sensors a meter uses. */
#include "energy/meter_impl.h"
#include "energy/note.h"

#include <string.h>

/* A sensor that is here but cannot be read, kept until it is known what else covers its part. */
struct unreadable {
    struct sensor *sensors[METER_MAX_SENSORS];
    size_t n;
};

static bool readable(const struct sensor *s) {
    for (size_t i = 0; i < s->n; i++) {
        if (!s->c[i].missing[0]) {
            return true;
        }
    }
    return false;
}

/* m takes ownership of s, also on failure. */
static int adopt(struct meter *m, struct sensor *s, struct err *e) {
    if (m->n_sensors == METER_MAX_SENSORS || m->n + s->n > METER_MAX_COMPONENTS) {
        int rc = err_set(e, EE_UNSUPPORTED, "%s: more than %d components to measure", s->ops->name,
                         METER_MAX_COMPONENTS);
        sensor_close(s);
        return rc;
    }
    m->sensors[m->n_sensors++] = s;
    for (size_t i = 0; i < s->n; i++) {
        m->ch[m->n++] = (struct channel){.sensor = s, .index = i};
    }
    return 0;
}

/* Says on the component used instead why the better sensor is not. */
static void tell_substitutes(struct meter *m, const struct sensor *lost) {
    char why[512];
    sensor_missing_text(&lost->c[0], why, sizeof(why));
    for (size_t i = 0; i < m->n; i++) {
        struct sensor *s = m->ch[i].sensor;
        if (s->covers & lost->covers) {
            struct meter_component *info = &s->c[m->ch[i].index].info;
            note_add(info->detail, sizeof(info->detail), "; ", "instead of %s: %s", lost->ops->name,
                     why);
        }
    }
}

static int settle_unreadable(struct meter *m, struct unreadable *u, unsigned covered,
                             struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < u->n; i++) {
        struct sensor *s = u->sensors[i];
        if (rc < 0) {
            sensor_close(s);
        } else if (s->covers & covered) {
            tell_substitutes(m, s);
            sensor_close(s);
        } else {
            rc = adopt(m, s, e);
        }
    }
    return rc;
}

/* Whatever works here, for the parts that are not covered yet. */
static int open_auto(struct meter *m, struct sensor_env *env, unsigned *covered, struct err *e) {
    struct unreadable held = {.n = 0};
    int rc = 0;
    env->asked = false;
    for (size_t i = 0; sensor_table[i] && rc == 0; i++) {
        const struct sensor_ops *ops = sensor_table[i];
        struct sensor *s;
        if (!ops->automatic || (ops->covers & *covered)) {
            continue;
        }
        rc = sensor_open(&s, ops, env, e);
        if (rc == EE_MISSING) {
            rc = 0;
        } else if (rc == 0 && !readable(s) && held.n < METER_MAX_SENSORS) {
            held.sensors[held.n++] = s;
        } else if (rc == 0) {
            *covered |= s->covers;
            rc = adopt(m, s, e);
        }
    }
    int settled = settle_unreadable(m, &held, *covered, e);
    return rc < 0 ? rc : settled;
}

static int unknown_source(const char *name, size_t len, struct err *e) {
    struct buf known;
    buf_init(&known);
    for (size_t i = 0; sensor_table[i]; i++) {
        buf_addf(&known, ", %s", sensor_table[i]->name);
    }
    int rc = err_set(e, EE_USAGE, "no energy source \"%.*s\"; known: auto, null%s", (int)len, name,
                     known.data);
    buf_release(&known);
    return rc;
}

static bool in_use(const struct meter *m, const struct sensor_ops *ops) {
    for (size_t i = 0; i < m->n_sensors; i++) {
        if (m->sensors[i]->ops == ops) {
            return true;
        }
    }
    return false;
}

static int open_named(struct meter *m, const char *name, size_t len, struct sensor_env *env,
                      unsigned *covered, struct err *e) {
    const struct sensor_ops *ops = sensor_find(name, len);
    if (!ops) {
        return unknown_source(name, len, e);
    }
    struct sensor *s;
    env->asked = true;
    int rc = sensor_open(&s, ops, env, e);
    if (rc < 0) {
        return err_prefix(e, "energy source %s", ops->name);
    }
    if ((s->covers & *covered) || in_use(m, ops)) {
        sensor_close(s);
        return err_set(e, EE_USAGE,
                       "energy source %s measures what another source of the list measures "
                       "already: the sum would count it twice",
                       ops->name);
    }
    *covered |= s->covers;
    return adopt(m, s, e);
}

int meter_select(struct meter *m, const struct meter_opts *opts, struct err *e) {
    const char *root = opts->sysfs_root && strcmp(opts->sysfs_root, "/") != 0 ? opts->sysfs_root
                                                                              : "";
    struct sensor_env env = {
        .root = root,
        .nvml_path = opts->nvml_path,
        .perf = opts->perf,
        .gpus = opts->gpus,
        .now_ns = m->clock.now_ns,
        .now_ctx = m->clock.ctx,
    };
    const char *source = opts->source ? opts->source : "auto";
    unsigned covered = 0;
    if (m->clock.sensor) {
        struct sensor *s;
        int rc = sensor_open(&s, m->clock.sensor, &env, e);
        return rc ? rc : adopt(m, s, e);
    }
    if (strcmp(source, "null") == 0) {
        return 0;
    }
    for (const char *at = source; at;) {
        size_t len = strcspn(at, ",:");
        const char *name = at;
        bool has_arg = at[len] == ':';
        bool is_auto = len == strlen("auto") && strncmp(name, "auto", len) == 0;
        env.arg = has_arg ? at + len + 1 : NULL; /* a path: takes the rest, commas included */
        at = at[len] == ',' ? at + len + 1 : NULL;
        int rc = is_auto ? open_auto(m, &env, &covered, e)
                         : open_named(m, name, len, &env, &covered, e);
        if (rc < 0) {
            return rc;
        }
    }
    if (opts->gpus && !in_use(m, sensor_find("nvml", strlen("nvml")))) {
        return err_set(
            e, EE_MISSING,
            "GPUs were asked for (%.80s), and no NVIDIA GPU is among the energy sources: "
            "edge-eval doctor says why",
            opts->gpus);
    }
    return 0;
}
