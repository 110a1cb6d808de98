/*
 * Energy meter: joules of named, nesting windows, one figure per component (a GPU, the CPU
 * packages, DRAM), each with its interval, its source and a quality label.
 *
 * One thread samples every sensor against absolute CLOCK_MONOTONIC deadlines (at a random moment of
 * each period where a power sensor is faster than the period, so that no load stays in step) and adds each
 * sensor's energy to a running total since meter_start. A window is the difference of two totals,
 * read by the calling thread at the window's edges, so its length is unlimited and nothing is
 * lost between two samples. All memory is taken in meter_start and meter_trace_begin; while
 * measuring there is no allocation and no I/O but the sensor reads themselves.
 *
 * Threads: every function may be called from any thread, except that meter_stop must be the last
 * call. Calls that read sensors (open, close, watch, idle) take as long as the sensors do: about
 * 4 ms for each NVIDIA GPU, microseconds for the rest.
 *
 * Units: nanoseconds of CLOCK_MONOTONIC (base/clock.h), joules, watts. Strings returned in
 * structs are stored in the struct; nothing needs freeing except a struct meter_trace.
 */
#ifndef ENERGY_METER_H
#define ENERGY_METER_H

#include "base/buf.h"
#include "base/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define METER_MAX_COMPONENTS 24
#define METER_MAX_WINDOWS 64 /* open at the same time */
#define METER_MAX_TRACES 8   /* running at the same time */
#define METER_NO_PARENT (-1)

/* From best to worst: a total has the quality of its worst part. */
enum meter_quality {
    METER_COUNTER,    /* difference of a hardware energy counter */
    METER_INTEGRATED, /* sampled power, integrated over measured time */
    METER_MODELLED,   /* computed from CPU time; no sensor took part */
    METER_MISSING,    /* no figure; the reason says why */
};

/* "counter", "integrated", "modelled", "missing". */
const char *meter_quality_name(enum meter_quality q);

struct perf_event_attr;

/* The system calls of perf energy events, so that a test can stand in for the kernel. */
struct meter_perf_calls {
    int (*open)(void *ctx, const struct perf_event_attr *attr, int cpu); /* as perf_event_open */
    int (*read)(void *ctx, int fd, uint64_t *value);                     /* 0, or -errno */
    void (*close)(void *ctx, int fd);
    void *ctx;
};

/* Zero-initialised options are the defaults. Strings are borrowed until meter_start returns. */
struct meter_opts {
    int period_ms;      /* sampling period, 10..10000; 0: 100 */
    const char *source; /* NULL or "auto"; "null"; "replay:PATH"; or names of sensors (sensors.c)
                               separated by commas, "auto" among them: "auto,battery" */
    const char *sysfs_root; /* directory that stands for "/" (holds sys/ and proc/); NULL: "/" */
    const char *nvml_path;  /* NULL: libnvidia-ml.so.1 by the loader's search path */
    const struct meter_perf_calls *perf; /* NULL: the kernel's. Borrowed until meter_stop. */
    const char *gpus; /* UUIDs, PCI bus ids or names ("gpu1"), separated by commas; NULL: all.
                               Never CUDA ordinals, which the environment renumbers. */
    const volatile sig_atomic_t *stop; /* non-zero: idle measurement gives up; NULL: never. Borrowed
                                          until meter_stop. */
};

struct meter;

/*
 * Finds the sensors and starts sampling. "auto" never fails for want of a sensor: it falls back
 * to the model, and what it could not read becomes a component that says so. A sensor asked for
 * by name must be there.
 */
int meter_start(struct meter **out, const struct meter_opts *opts, struct err *e) EE_MUST_CHECK;
/* Joins the thread, closes the sensors and frees m. NULL is allowed. */
void meter_stop(struct meter *m);

/* One component as found at start. */
struct meter_component {
    char name[24];        /* "gpu0", "cpu", "dram" */
    char scope[16];       /* "gpu", "module", "cpu", "dram" */
    char source[40];      /* "nvml counter", "nvml power", "powercap", "modelled", ... */
    char detail[512];     /* what a reader of the figure has to know; may be empty */
    char device_name[96]; /* GPU model; empty elsewhere */
    char device_id[96];   /* GPU UUID */
    char pci[32];         /* PCI bus id */
    double gain;          /* relative gain tolerance, 0.05 is +-5 % */
    int64_t update_ns;    /* the source's update period or averaging window */
    bool modelled;
    bool shared; /* covers more than one job can own (MIG slice, container): attribution refused */
    bool
        whole; /* covers the whole machine (wall, battery): beside the parts, never added to them */
    bool unreadable; /* known, but every window's figure will be missing until it can be read */
};

size_t meter_n_components(const struct meter *m);
/* i < meter_n_components(m). */
void meter_component_info(struct meter *m, size_t i, struct meter_component *out);

/*
 * The modelled CPU counts the CPU time of the watched processes and everything they start, as a
 * share of all hardware threads of the machine; with none watched it counts the whole machine.
 * Sensors that measure ignore this. Unwatch a process before it is reaped, or what it used since
 * the last sample is lost.
 */
int meter_watch_pid(struct meter *m, pid_t pid, struct err *e) EE_MUST_CHECK;
void meter_unwatch_pid(struct meter *m, pid_t pid);

/* One component of a window. Figures are NAN where quality is METER_MISSING: never 0. */
struct component_reading {
    char name[24];
    char scope[16];
    char source[40];
    enum meter_quality quality;
    double joules;
    double low_j, high_j; /* docs/energy.md, E1: gain, edge and gap parts added linearly */
    double gain;          /* relative, systematic: one draw per device, not per window */
    double edge_j;        /* of this window alone: its edges, and what happened between samples */
    double gap_less_j, gap_more_j; /* bounds for time between samples too far apart; mostly 0 */
    double mean_w, peak_w;
    double coverage; /* share of the window that readings stand for, 0..1 */
    bool has_idle;   /* the next five hold */
    double idle_w;
    double above_idle_j; /* joules - idle_w * time; may be negative, never clipped */
    double above_idle_low_j, above_idle_high_j;
    bool has_disagreement;
    double disagreement; /* integral of power / counter - 1 */
    bool is_short;       /* under max(5 s, 10 update periods): mostly edge error */
    bool refused;        /* under 2 update periods: no figure */
    bool modelled;       /* of the source, also where the figure is missing */
    bool shared, whole;  /* see struct meter_component */
    char reason[512];    /* why missing, or why not from the better source; may be empty */
    char detail[512];
};

struct meter_reading {
    int id, parent_id;
    char name[48];
    int64_t start_ns, end_ns;
    size_t n;
    struct component_reading c[METER_MAX_COMPONENTS];
};

/*
 * Opens a window and returns its id (>= 0), or a negative code. parent_id is an open window or
 * METER_NO_PARENT. The sensors are read before the call returns: work started after it is inside.
 */
int meter_window_open(struct meter *m, const char *name, int parent_id, struct err *e);
/*
 * Reads the sensors and closes the window; its children must be closed. out may be NULL to drop
 * the figures. A component without a figure is not an error: it is METER_MISSING.
 */
int meter_window_close(struct meter *m, int id, struct meter_reading *out,
                       struct err *e) EE_MUST_CHECK;

/* Sum over components of one reading. */
struct meter_total {
    enum meter_quality quality; /* the worst part; METER_MISSING when any part is missing */
    double joules, low_j, high_j;
    double gain_j; /* systematic part of the half-width; the rest is edge and gap error */
    double mean_w;
    double coverage; /* the smallest */
    bool has_idle;   /* every part has one */
    double idle_w;
    double above_idle_j, above_idle_low_j, above_idle_high_j;
    bool is_short, shared;
    char scope[64];    /* "GPU only", "GPU + CPU (modelled)", "CPU + DRAM", ... */
    char reason[1024]; /* why missing; may be empty */
};

/*
 * Sums the named components, or all of them when names is NULL. What covers the whole machine is
 * no part of a sum, unless it is all there is or it was named.
 */
void meter_total(const struct meter_reading *r, const char *const *names, size_t n_names,
                 struct meter_total *out);

/* Mean power of each component while nothing of ours ran. Plain data: store it, give it back. */
struct meter_idle {
    double seconds;
    bool settled; /* every mean was known to 2 % (95 % interval) before the time was up */
    size_t n;
    struct meter_idle_component {
        char name[24];
        enum meter_quality quality; /* METER_MISSING: no baseline for this one */
        double mean_w;
        double half_width_w; /* of the 95 % interval of the mean */
    } c[METER_MAX_COMPONENTS];
};

/*
 * Measures for at most max_seconds and stops early when settled, or with EE_STOPPED within a batch
 * (a second, or more for slow sources) of the user's stop. It does not install the result:
 * a run has several baselines (bare machine, model resident, after unloading) and its caller
 * says which one windows subtract. Blocks; other threads may go on using m.
 */
int meter_measure_idle(struct meter *m, double max_seconds, struct meter_idle *out,
                       struct err *e) EE_MUST_CHECK;
/*
 * The baseline of windows closed from now on; NULL removes it. Copied. While processes are
 * watched, the modelled CPU uses its own idle power instead: the measured one holds whatever else
 * ran on the machine, which its windows do not.
 */
void meter_set_idle(struct meter *m, const struct meter_idle *idle);
/*
 * The power of idle, summed as meter_total sums a window: mean_w, and low_j and high_j for one second.
 * Modelled parts count what the model says of a machine that does nothing, as windows do; with idle NULL
 * there is nothing else. A part that idle does not hold makes the sum missing.
 */
void meter_idle_total(struct meter *m, const struct meter_idle *idle, struct meter_total *out);
/* False when none is set. */
bool meter_get_idle(struct meter *m, struct meter_idle *out);

/*
 * For progress lines: power now and joules since start, from the last samples, without touching
 * a sensor. Returns false, and leaves the figures alone, when no component can be read. quality
 * is METER_MISSING when only some can: the figures are then a part of the whole.
 */
bool meter_live(struct meter *m, double *watts, double *joules, enum meter_quality *quality);

struct meter_stats {
    uint64_t samples;
    uint64_t missed_deadlines;
    int64_t worst_late_ns; /* latest start of a sample after its deadline */
    int64_t read_ns;       /* total time spent reading sensors, edges included */
};

void meter_stats(struct meter *m, struct meter_stats *out);

/*
 * Power traces for reports. A trace keeps at most max_points per component: when it is full,
 * neighbours merge, so its joules stay exact and only its resolution halves. Points do not
 * overlap; time between two points was not covered.
 */
struct meter_point {
    int64_t start_ns, end_ns;
    double watts; /* mean over the covered time inside */
    double joules;
};

struct meter_trace {
    int64_t start_ns, end_ns;
    size_t n;
    struct meter_trace_component {
        char name[24];
        char scope[16];
        double gain;
        int64_t update_ns;
        bool modelled;
        size_t n_points;
        struct meter_point *points;
    } c[METER_MAX_COMPONENTS];
};

/* Returns a trace id (>= 0) or a negative code. max_points is at least 2. */
int meter_trace_begin(struct meter *m, size_t max_points, struct err *e);
/* Ends the trace. out may be NULL to drop it; else the caller releases it. */
int meter_trace_end(struct meter *m, int id, struct meter_trace *out, struct err *e) EE_MUST_CHECK;
void meter_trace_release(struct meter_trace *t);
/* Appends the trace as a recording that source "replay:PATH" plays (docs/energy.md). */
int meter_trace_to_replay(const struct meter_trace *t, struct buf *out,
                          struct err *e) EE_MUST_CHECK;

/*
 * The samples themselves, for time series: a ring whose memory is taken at once and then filled by
 * the sampling thread, a row a period. The reader empties it now and then; what it left too long is
 * dropped, oldest first, and counted.
 */
struct meter_sample {
    int64_t t_ns;                      /* end of the period */
    float watts[METER_MAX_COMPONENTS]; /* mean over the period; NAN where nothing new was read */
};

/* Bytes that a ring of so many rows takes. */
size_t meter_samples_bytes(size_t n_components, size_t capacity);
/* Starts the one ring that a meter has. */
int meter_samples_begin(struct meter *m, size_t capacity, struct err *e) EE_MUST_CHECK;
/* Moves at most max rows to out, oldest first; returns how many. */
size_t meter_samples_take(struct meter *m, struct meter_sample *out, size_t max);
/* Ends it; returns how many rows were dropped. */
uint64_t meter_samples_end(struct meter *m);

#define METER_MAX_GPU_PIDS 128

/* What the driver tells of a GPU besides its energy. NAN and false where it does not tell. */
struct meter_gpu_state {
    char driver[80];
    double temperature_c;
    double busy; /* share of the last moments in which something ran, 0..1 */
    double sm_mhz, memory_mhz, max_sm_mhz;
    double power_w, power_limit_w;
    bool mig, virtual_gpu;
    bool has_throttle;
    uint64_t throttle; /* meter_throttle_text names the bits */
    bool has_pids;
    size_t n_pids; /* on the GPU; pids holds METER_MAX_GPU_PIDS of them at most */
    pid_t pids[METER_MAX_GPU_PIDS];
};

/* EE_UNSUPPORTED for a component that is no GPU of a driver. Takes some milliseconds. */
int meter_gpu_state(struct meter *m, size_t i, struct meter_gpu_state *out,
                    struct err *e) EE_MUST_CHECK;
/* "power cap, heat"; "" when nothing slows the clocks. Idle and chosen clocks are no slowing. */
void meter_throttle_text(uint64_t reasons, char *out, size_t size);

/* Memory of the GPU that is component i, from its driver; EE_UNSUPPORTED for other components. */
int meter_gpu_memory(struct meter *m, size_t i, uint64_t *used_bytes, uint64_t *total_bytes,
                     struct err *e) EE_MUST_CHECK;

#endif
