/*
 * Idle baselines kept between runs. Measuring one takes 5 to 60 s, so a settled one is written to
 * the user's cache and used again, until it is too old or something that idle power depends on has
 * changed: the machine, its kernel and drivers, the sensors, the clocks and limits in force.
 *
 * A baseline has a kind. "bare" is the machine with nothing of ours on it; "resident" and the name
 * of a model is the machine with that model loaded and waiting. They are kept apart.
 *
 * One file a kind and machine, replaced as a whole. Threads: as the meter's functions.
 */
#ifndef ENERGY_BASELINE_H
#define ENERGY_BASELINE_H

#include "base/buf.h"
#include "energy/meter.h"

enum baseline_use {
    BASELINE_CACHED,  /* only one that is there: never measures */
    BASELINE_EITHER,  /* one that is there, else measures */
    BASELINE_MEASURE, /* measures, and replaces what is there */
};

/* Zeroed fields take the default in brackets. */
struct baseline_opts {
    enum baseline_use use;
    const char *kind;       /* letters, digits, '-', '_' and '.' are kept; ["bare"] */
    const char *dir;        /* [$XDG_CACHE_HOME/edge-eval/idle, else ~/.cache/edge-eval/idle] */
    const char *sysfs_root; /* as the meter's */
    double max_seconds;     /* of measuring [60] */
    double settle_s;        /* waits so long before it measures, for power to fall after work [0] */
    double expiry_s;        /* [a day] */
    double now_unix_s;      /* [the time of day] */
};

struct baseline {
    struct meter_idle idle;
    bool is_cached;
    double age_s; /* 0 for one measured now */
    char note
        [256]; /* why a cached one was not used, or what casts doubt on this one; may be empty */
};

/*
 * EE_MISSING with BASELINE_CACHED when none is usable; out->note says why. A baseline that did not
 * settle is returned and not kept. What cannot be written to the cache is told in the note and is
 * no error. The caller gives it to meter_set_idle.
 */
int baseline_get(struct meter *m, const struct baseline_opts *opts, struct baseline *out,
                 struct err *e) EE_MUST_CHECK;

#endif
