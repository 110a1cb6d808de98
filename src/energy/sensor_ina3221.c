/*
 * Jetson boards by their INA3221 power monitors (Linux hwmon).
 *
 * A monitor has three channels: in{N}_label names the rail, in{N}_input is its voltage in mV and
 * curr{N}_input its current in mA. Rails feed one another, so their sum is no total: what the module
 * draws is one rail, or a set of rails that NVIDIA's developer guides list, for each kind of board.
 * A board with other rails is refused, and they are named. Documentation/hwmon/ina3221.rst.
 */
#include "energy/note.h"
#include "energy/sensor.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define HWMON_DIR "/sys/class/hwmon"
#define MAX_RAILS 16
#define N_CHANNELS 3
#define MAX_PARTS 6
#define GAIN_INA 0.02
#define LEAST_UPDATE_NS (10 * NS_PER_MS)

struct rail {
    char label[48];
    char volt_path[SYSFILE_PATH_MAX], current_path[SYSFILE_PATH_MAX];
    int64_t update_ns;
};

struct ina3221 {
    const char *root; /* while probing */
    struct rail rails[MAX_RAILS];
    size_t n;
    const struct rail *parts[MAX_PARTS]; /* whose sum is the total */
    size_t n_parts;
};

/* The first set that the board has all of. */
static const struct {
    const char *labels[MAX_PARTS];
    const char *board;
} totals[] = {
    {{"VDD_IN"}, "the module's input"},
    {{"POM_5V_IN"}, "the module's input"},
    {{"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}, "the rails of a Jetson AGX Orin"},
    {{"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}, "the rails of a Jetson AGX Xavier"},
};

/* ---- probing ---- */

/* Conversions are averaged over so many samples of update_interval each. */
static int64_t averaging_ns(const char *root, const char *dir) {
    char path[SYSFILE_PATH_MAX];
    uint64_t ms = 0;
    uint64_t samples = 1;
    if (!sysfile_path(path, root, dir, "update_interval") || sysfile_read_u64(path, &ms) < 0 ||
        !sysfile_path(path, root, dir, "samples") || sysfile_read_u64(path, &samples) < 0 ||
        ms > 10000 || samples > 1024) {
        return LEAST_UPDATE_NS;
    }
    int64_t ns = (int64_t)(ms * samples) * NS_PER_MS;
    return ns > LEAST_UPDATE_NS ? ns : LEAST_UPDATE_NS;
}

static void take_rail(struct ina3221 *ina, const char *dir, int channel) {
    struct rail r = {.update_ns = averaging_ns(ina->root, dir)};
    char path[SYSFILE_PATH_MAX];
    char file[32];
    note_set(file, sizeof(file), "in%d_label", channel);
    if (!sysfile_path(path, ina->root, dir, file) ||
        sysfile_read_line(path, r.label, sizeof(r.label)) <= 0 || ina->n == MAX_RAILS) {
        return;
    }
    note_set(file, sizeof(file), "in%d_input", channel);
    bool fits = sysfile_path(r.volt_path, ina->root, dir, file);
    note_set(file, sizeof(file), "curr%d_input", channel);
    if (fits && sysfile_path(r.current_path, ina->root, dir, file)) {
        ina->rails[ina->n++] = r;
    }
}

static void take_monitor(const char *entry, void *ctx) {
    struct ina3221 *ina = ctx;
    char dir[SYSFILE_PATH_MAX];
    char path[SYSFILE_PATH_MAX];
    char name[32];
    if (!sysfile_path(dir, "", HWMON_DIR, entry) || !sysfile_path(path, ina->root, dir, "name") ||
        sysfile_read_line(path, name, sizeof(name)) <= 0 || strcmp(name, "ina3221") != 0) {
        return;
    }
    for (int channel = 1; channel <= N_CHANNELS; channel++) {
        take_rail(ina, dir, channel);
    }
}

static const struct rail *find_rail(const struct ina3221 *ina, const char *label) {
    for (size_t i = 0; i < ina->n; i++) {
        if (strcmp(ina->rails[i].label, label) == 0) {
            return &ina->rails[i];
        }
    }
    return NULL;
}

/* What the total is of, or NULL. */
static const char *choose_parts(struct ina3221 *ina) {
    for (size_t t = 0; t < sizeof(totals) / sizeof(totals[0]); t++) {
        ina->n_parts = 0;
        for (size_t k = 0; k < MAX_PARTS && totals[t].labels[k]; k++) {
            const struct rail *r = find_rail(ina, totals[t].labels[k]);
            if (!r) {
                ina->n_parts = 0;
                break;
            }
            ina->parts[ina->n_parts++] = r;
        }
        if (ina->n_parts > 0) {
            return totals[t].board;
        }
    }
    return NULL;
}

static int rail_watts(const struct rail *r, double *watts, const char **path) {
    int64_t mv;
    int64_t ma;
    *path = r->volt_path;
    int rc = sysfile_read_i64(r->volt_path, &mv);
    if (rc == 0) {
        *path = r->current_path;
        rc = sysfile_read_i64(r->current_path, &ma);
    }
    *watts = rc == 0 ? (double)mv * (double)ma / 1e6 : 0;
    return rc;
}

static void describe(const struct ina3221 *ina, const char *board, struct sensor_component *c) {
    note_set(c->info.detail, sizeof(c->info.detail), "%s:", board);
    for (size_t i = 0; i < ina->n_parts; i++) {
        double watts;
        const char *path;
        int rc = rail_watts(ina->parts[i], &watts, &path);
        note_add(c->info.detail, sizeof(c->info.detail), " ", "%s", ina->parts[i]->label);
        c->power_update_ns = ina->parts[i]->update_ns > c->power_update_ns
                                 ? ina->parts[i]->update_ns
                                 : c->power_update_ns;
        if (rc < 0 && !c->missing[0]) {
            sensor_explain(-rc, path, c->missing, sizeof(c->missing));
            note_set(c->fix, sizeof(c->fix), "%s",
                     sensor_is_denied(-rc) ? "sudo chmod a+r " HWMON_DIR
                                             "/hwmon*/in*_input " HWMON_DIR
                                             "/hwmon*/curr*_input (until reboot)"
                                           : "");
        }
    }
}

static int ina3221_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    struct ina3221 *ina = calloc(1, sizeof(*ina));
    s->state = ina;
    if (!ina) {
        return err_set(e, EE_NOMEM, "out of memory for the INA3221 sensor");
    }
    ina->root = env->root;
    if (!sensor_each_entry(env->root, HWMON_DIR, take_monitor, ina) || ina->n == 0) {
        return err_set(e, EE_MISSING,
                       "%s" HWMON_DIR " shows no INA3221 with named rails: Jetson "
                       "boards have one",
                       env->root);
    }
    const char *board = choose_parts(ina);
    struct sensor_component *c = sensor_add(s, "module", "module");
    c->info.gain = GAIN_INA;
    note_set(c->power_source, sizeof(c->power_source), "ina3221");
    note_set(c->info.source, sizeof(c->info.source), "ina3221");
    if (board) {
        describe(ina, board, c);
    } else {
        note_set(c->missing, sizeof(c->missing), "which rails make the total is not known for:");
        for (size_t i = 0; i < ina->n; i++) {
            note_add(c->missing, sizeof(c->missing), " ", "%s", ina->rails[i].label);
        }
    }
    return 0;
}

/* ---- reading ---- */

static void ina3221_read(struct sensor *s, size_t i, enum sensor_depth depth,
                         struct sensor_value *out) {
    (void)i;
    (void)depth;
    struct ina3221 *ina = s->state;
    double sum_w = 0;
    if (ina->n_parts == 0) {
        out->power = SENSOR_FAILED;
        note_set(out->power_why, sizeof(out->power_why), "%s", s->c[0].missing);
        return;
    }
    for (size_t k = 0; k < ina->n_parts; k++) {
        double watts;
        const char *path;
        int rc = rail_watts(ina->parts[k], &watts, &path);
        if (rc < 0) {
            out->power = SENSOR_FAILED;
            sensor_explain(-rc, path, out->power_why, sizeof(out->power_why));
            return;
        }
        sum_w += watts;
    }
    if (sum_w < 0 || sum_w > 1e4) {
        out->power = SENSOR_FAILED;
        note_set(out->power_why, sizeof(out->power_why), "the rails add up to %.6g W", sum_w);
        return;
    }
    sensor_value_ok_power(out, sensor_now_ns(s), sum_w);
}

static void ina3221_close(struct sensor *s) {
    free(s->state);
}

const struct sensor_ops sensor_ina3221 = {
    .name = "ina3221",
    .what = "Jetson modules by their INA3221 power monitor",
    .covers = SENSOR_GPU | SENSOR_CPU | SENSOR_DRAM,
    .automatic = true,
    .probe = ina3221_probe,
    .read = ina3221_read,
    .close = ina3221_close,
};
