/*
 * What a sensor is to the meter. A sensor is one file with one struct sensor_ops and one row in
 * the table in sensors.c; it offers up to METER_MAX_COMPONENTS components.
 *
 * A component is read as a cumulative energy counter, as instantaneous power, or as both. The
 * sensor unwraps its counters (counter.h) and hands out joules since it was opened; what became
 * of a window between two readings is the meter's business (series.h).
 *
 * Threads: the meter calls a sensor under its lock, never twice at once. probe and close may
 * allocate; read and watch must not.
 */
#ifndef ENERGY_SENSOR_H
#define ENERGY_SENSOR_H

#include "energy/meter.h"

/* What a sensor measures: two sensors that cover the same thing are never used together. */
#define SENSOR_GPU 1u
#define SENSOR_CPU 2u
#define SENSOR_DRAM 4u

enum sensor_depth {
    SENSOR_FAST, /* a periodic sample: skip what is costly to read */
    SENSOR_FULL, /* about once a second and at window edges: read everything */
};

enum sensor_status {
    SENSOR_ABSENT, /* not offered, or skipped in a fast read */
    SENSOR_OK,
    SENSOR_FAILED, /* the reason says why; never a stand-in value */
};

struct sensor_value {
    enum sensor_status counter, power;
    int64_t counter_ns, power_ns; /* when it was read */
    double counter_j;             /* since the sensor was opened */
    double power_w;
    char counter_why[256], power_why[256];
};

/* One component as its sensor describes it. */
struct sensor_component {
    struct meter_component info;
    char counter_source[40], power_source[40]; /* empty where there is none */
    int64_t counter_update_ns;
    int64_t power_update_ns; /* update period or averaging window, the longer */
    double own_idle_w;       /* idle power that the source knows by itself; 0: measure it */
    double power_duty;       /* share of each period that a power reading stands for, 0..1 */
    char missing[256];       /* why it cannot be read now; empty when it can */
    char fix[320];           /* the command or setting that changes that; may be empty */
};

/* What a probe is given. */
struct sensor_env {
    const char *root; /* "" or a directory, without a trailing slash */
    const char *nvml_path;
    const struct meter_perf_calls *perf; /* NULL: the kernel's */
    const char *gpus;
    const char *arg; /* what followed "name:" in the source */
    bool asked;      /* for this sensor by its name, not by "auto" */
    int64_t (*now_ns)(void *ctx);
    void *now_ctx;
};

struct sensor;

struct sensor_ops {
    const char *name;
    const char *what; /* for people: what it measures, by what means */
    unsigned covers;  /* at most; sensor.covers is what probe found */
    bool automatic;   /* tried by "auto", in the order of the table */
    /* EE_MISSING: not on this machine. What is here and cannot be read is no failure but a
       component with a `missing` text. The strings in env are borrowed until probe returns. */
    int (*probe)(struct sensor *s, const struct sensor_env *env, struct err *e);
    void (*read)(struct sensor *s, size_t i, enum sensor_depth depth, struct sensor_value *out);
    /* Optional. */
    int (*watch)(struct sensor *s, pid_t pid, struct err *e);
    void (*unwatch)(struct sensor *s, pid_t pid);
    int (*memory)(struct sensor *s, size_t i, uint64_t *used, uint64_t *total, struct err *e);
    int (*gpu_state)(struct sensor *s, size_t i, struct meter_gpu_state *out, struct err *e);
    /* What to do where probe found nothing: a command, or why there is none. Left empty where the
     * machine is of another kind. */
    void (*advise)(const struct sensor_env *env, char *out, size_t size);
    void (*close)(struct sensor *s); /* frees state; also after a failed probe */
};

struct sensor {
    const struct sensor_ops *ops;
    unsigned covers;
    size_t n;
    struct sensor_component c[METER_MAX_COMPONENTS];
    void *state; /* owned by the sensor */
    int64_t (*now_ns)(void *ctx);
    void *now_ctx;
};

/* Allocates and probes. */
int sensor_open(struct sensor **out, const struct sensor_ops *ops, const struct sensor_env *env,
                struct err *e) EE_MUST_CHECK;
void sensor_close(struct sensor *s);
int64_t sensor_now_ns(const struct sensor *s);
/* Appends a zeroed component with duty 1; NULL when there is no room. */
struct sensor_component *sensor_add(struct sensor *s, const char *name, const char *scope);
void sensor_value_ok_counter(struct sensor_value *v, int64_t t_ns, double joules);
void sensor_value_ok_power(struct sensor_value *v, int64_t t_ns, double watts);

/* The table, ended by a NULL name; looked up by name: NULL when there is no such sensor. */
extern const struct sensor_ops *const sensor_table[];
const struct sensor_ops *sensor_find(const char *name, size_t len);

extern const struct sensor_ops sensor_nvml;
extern const struct sensor_ops sensor_powercap;
extern const struct sensor_ops sensor_perf;
extern const struct sensor_ops sensor_ina3221;
extern const struct sensor_ops sensor_acpi;
extern const struct sensor_ops sensor_model;
extern const struct sensor_ops sensor_battery;
extern const struct sensor_ops sensor_ipmi;
extern const struct sensor_ops sensor_redfish;
extern const struct sensor_ops sensor_replay;

/* Whether the user lacks the right to read it. */
bool sensor_is_denied(int errnum);
/* Why the file at path cannot be read, from the error of the attempt. */
void sensor_explain(int errnum, const char *path, char *out, size_t size);
/* "missing; to fix it: fix", cut where out is full. */
void sensor_missing_text(const struct sensor_component *c, char *out, size_t size);

/* True when the CPU is AMD's (or Hygon's), by /proc/cpuinfo: the dies of a package then mirror one
 * counter. */
bool sensor_cpu_is_amd(const char *root);
/* Counters of the whole machine in a container: marks the component so. */
void sensor_mark_container(struct sensor_component *c, const char *root);
/* Calls fn with the name of each entry of root/dir that is not hidden, in their order; false when
 * there is no such directory. */
bool sensor_each_entry(const char *root, const char *dir, void (*fn)(const char *entry, void *ctx),
                       void *ctx);
#define SENSOR_VM_ADVICE                                                                           \
    "nothing in a virtual machine: its host keeps the counters (bare-metal instances have them)"
/* True when the CPU says that it is a virtual machine's. */
bool sensor_in_virtual_machine(const char *root);
/* True when root looks like the inside of a container: counters there are the whole machine's. */
bool sensor_in_container(const char *root);

#endif
