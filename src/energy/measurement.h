/*
 * What a meter found out about one command, process or stretch of time, measured once or several
 * times; summed up over the repeats, and written as a table, as JSON, and as OpenMetrics text.
 * Pure: no clock, no sensor, no file. The writers append to a buffer, which may fail for memory.
 */
#ifndef ENERGY_MEASUREMENT_H
#define ENERGY_MEASUREMENT_H

#include "base/buf.h"
#include "energy/attribution.h"
#include "energy/meter.h"

/* One repeat. */
struct measurement_run {
    struct meter_reading reading;
    bool has_process; /* the next four hold */
    int exit_status;  /* 128 + n where signal n killed it */
    double cpu_s;
    uint64_t max_rss_bytes;
    size_t n_left;                   /* processes it started that ran on after its end */
    double job_cpu_s, machine_cpu_s; /* while it was measured; NAN where not known */
};

/* What was seen of a GPU while it was measured, by looking about once a second. */
struct measurement_gpu {
    size_t n_looks;     /* 0: it is no GPU, or the driver tells nothing; the rest is then unset */
    bool is_used;       /* a process of the job was on it */
    bool knows_use;     /* the driver names its processes */
    size_t n_throttled; /* looks at which something held the clocks back */
    uint64_t throttle;
    double max_temperature_c, min_sm_mhz, max_sm_mhz, mean_busy; /* NAN where not told */
    char driver[80];
};

void measurement_gpu_look(struct measurement_gpu *g, const struct meter_gpu_state *state);

struct measurement {
    const char *label;            /* of the command, or of what else was measured; borrowed */
    struct measurement_run *runs; /* owned by the caller */
    size_t n_runs;
    size_t n_components;
    struct meter_component components[METER_MAX_COMPONENTS];
    struct measurement_gpu gpus[METER_MAX_COMPONENTS]; /* beside components */
    double usd_per_kwh;                                /* NAN: no cost */
    const char *price_source;                          /* where that is from; NULL: the user */
    bool has_idle, idle_is_settled;
    double idle_age_s;     /* 0: measured for this */
    const char *idle_note; /* why there is no baseline, or what casts doubt on it; borrowed */
    struct meter_stats stats;
    double meter_cpu_s; /* used by the meter itself */
};

/*
 * A component over all repeats, or their totals. joules, the powers and the bounds are means over
 * the repeats. low_j..high_j is the sensor's interval (E1), which does not shrink with repeats;
 * spread_low_j..spread_high_j is the 95 % interval of the mean by Student's t over the repeats,
 * which holds what differed from one to the next and nothing of the sensor.
 */
struct measurement_row {
    char name[24], scope[64], source[40];
    enum meter_quality quality; /* METER_MISSING when one repeat misses it */
    double joules, low_j, high_j;
    double mean_w, peak_w, coverage; /* peak_w: NAN for the total */
    bool has_idle;
    double idle_w, above_idle_j, above_idle_low_j, above_idle_high_j;
    bool has_spread;
    double sd_j, spread_low_j, spread_high_j;
    double min_j, max_j;
    double disagreement; /* the largest of a repeat; NAN without one */
    bool is_short, shared, whole;
    char reason[1024]; /* why missing, or why not from the better source; may be empty */
    char detail[512];
};

struct measurement_summary {
    size_t n; /* rows */
    struct measurement_row rows[METER_MAX_COMPONENTS];
    struct measurement_row total;
    bool total_is_chosen;          /* of the GPUs, only those that the job used are in the total */
    double seconds;                /* mean */
    struct attr_share share;       /* of the job in what a measured CPU drew above idle */
    double usd, usd_low, usd_high; /* of the total of one repeat; NAN without a price or a total */
};

int measurement_summarise(const struct measurement *m, struct measurement_summary *out,
                          struct err *e) EE_MUST_CHECK;

void measurement_text(const struct measurement *m, const struct measurement_summary *s,
                      struct buf *out);
int measurement_json(const struct measurement *m, const struct measurement_summary *s,
                     struct buf *out, struct err *e) EE_MUST_CHECK;
/* For a node exporter's textfile collector. unix_s is when it was measured. */
void measurement_openmetrics(const struct measurement *m, const struct measurement_summary *s,
                             double unix_s, struct buf *out);

#endif
