/*
 * A laptop on its battery: what all of it draws (Linux power_supply class).
 *
 * power_now is in microwatts; where a driver has none, current_now (microamperes) times voltage_now
 * (microvolts) is the same. Some drivers give a discharge a minus sign. On mains power the battery
 * shows its charge and not the machine's, so only batteries that discharge count, and without one
 * there is no figure. Documentation/ABI/testing/sysfs-class-power.
 */
#include "energy/note.h"
#include "energy/sensor.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CLASS_DIR "/sys/class/power_supply"
#define MAX_BATTERIES 8
#define GAIN_BATTERY 0.05
/* The gauge averages for about a second and firmware asks it every second or two. */
#define UPDATE_NS (3 * NS_PER_S)
#define MAX_LAPTOP_W 1000

struct battery {
    char status[SYSFILE_PATH_MAX], power[SYSFILE_PATH_MAX], current[SYSFILE_PATH_MAX],
        voltage[SYSFILE_PATH_MAX];
};

struct batteries {
    const char *root; /* while probing */
    struct battery all[MAX_BATTERIES];
    size_t n;
};

static bool says(const struct batteries *b, const char *dir, const char *file, const char *what) {
    char path[SYSFILE_PATH_MAX];
    char text[32];
    return sysfile_path(path, b->root, dir, file) &&
           sysfile_read_line(path, text, sizeof(text)) > 0 && strcmp(text, what) == 0;
}

static void take_supply(const char *entry, void *ctx) {
    struct batteries *b = ctx;
    char dir[SYSFILE_PATH_MAX];
    /* Scope "Device": the battery of a mouse. */
    if (b->n == MAX_BATTERIES || !sysfile_path(dir, "", CLASS_DIR, entry) ||
        !says(b, dir, "type", "Battery") || says(b, dir, "scope", "Device")) {
        return;
    }
    struct battery *one = &b->all[b->n];
    b->n += sysfile_path(one->status, b->root, dir, "status") &&
            sysfile_path(one->power, b->root, dir, "power_now") &&
            sysfile_path(one->current, b->root, dir, "current_now") &&
            sysfile_path(one->voltage, b->root, dir, "voltage_now");
}

static int battery_watts(const struct battery *b, double *watts) {
    int64_t uw;
    int64_t ua;
    int64_t uv;
    *watts = 0;
    int rc = sysfile_read_i64(b->power, &uw);
    if (rc == 0) {
        *watts = fabs((double)uw) / 1e6;
        return 0;
    }
    rc = sysfile_read_i64(b->current, &ua);
    rc = rc < 0 ? rc : sysfile_read_i64(b->voltage, &uv);
    if (rc == 0) {
        *watts = fabs((double)ua) / 1e6 * fabs((double)uv) / 1e6;
    }
    return rc;
}

/* The sum of those that discharge; a reason when there is no figure. */
static bool read_all(const struct batteries *b, double *watts, char *why, size_t size) {
    bool discharges = false;
    *watts = 0;
    for (size_t i = 0; i < b->n; i++) {
        char status[32] = "";
        double one_w;
        sysfile_read_line(b->all[i].status, status, sizeof(status));
        if (strcmp(status, "Discharging") != 0) {
            continue;
        }
        int rc = battery_watts(&b->all[i], &one_w);
        if (rc < 0) {
            sensor_explain(-rc, b->all[i].power, why, size);
            return false;
        }
        discharges = true;
        *watts += one_w;
    }
    if (!discharges) {
        note_set(why, size,
                 "on mains power, where a battery shows its charge and not the machine's "
                 "draw");
    } else if (*watts <= 0 || *watts > MAX_LAPTOP_W) {
        note_set(why, size, "the battery says %.6g W", *watts);
    }
    return discharges && *watts > 0 && *watts <= MAX_LAPTOP_W;
}

static int battery_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct batteries *b = calloc(1, sizeof(*b));
    double watts;
    s->state = b;
    if (!b) {
        return err_set(e, EE_NOMEM, "out of memory for the battery sensor");
    }
    b->root = env->root;
    sensor_each_entry(env->root, CLASS_DIR, take_supply, b);
    if (b->n == 0) {
        return err_set(e, EE_MISSING, "%s" CLASS_DIR " shows no battery", env->root);
    }
    s->covers = 0;
    struct sensor_component *c = sensor_add(s, "battery", "battery");
    c->info.gain = GAIN_BATTERY;
    c->info.whole = true;
    c->power_update_ns = UPDATE_NS;
    note_set(c->power_source, sizeof(c->power_source), "battery");
    note_set(c->info.source, sizeof(c->info.source), "battery");
    sensor_mark_container(c, env->root);
    if (!read_all(b, &watts, c->missing, sizeof(c->missing))) {
        note_set(c->fix, sizeof(c->fix), "unplug the power cord, and measure for a minute or more");
    }
    return 0;
}

/* Firmware answers slowly, so it is not asked at every sample. */
static void battery_read(struct sensor *s, size_t i, enum sensor_depth depth,
                         struct sensor_value *out) {
    (void)i;
    double watts;
    if (depth != SENSOR_FULL) {
        return;
    }
    if (read_all(s->state, &watts, out->power_why, sizeof(out->power_why))) {
        sensor_value_ok_power(out, sensor_now_ns(s), watts);
    } else {
        out->power = SENSOR_FAILED;
    }
}

static void battery_close(struct sensor *s) {
    free(s->state);
}

const struct sensor_ops sensor_battery = {
    .name = "battery",
    .what = "a whole laptop by its battery's discharge",
    .covers = 0,
    .automatic = false,
    .probe = battery_probe,
    .read = battery_read,
    .close = battery_close,
};
