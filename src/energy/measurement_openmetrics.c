/*
 * OpenMetrics text (the OpenMetrics 1.0 specification), in the subset that the Prometheus text
 * parser of the node exporter's textfile collector reads too: gauges, no timestamps. A figure that
 * is missing has no sample; edge_eval_meter_missing says why.
 */
#include "energy/measurement.h"

#include <math.h>

#define PREFIX "edge_eval_meter_"

static void family(struct buf *out, const char *name, const char *unit, const char *help) {
    buf_addf(out, "# TYPE " PREFIX "%s gauge\n", name);
    if (unit) {
        buf_addf(out, "# UNIT " PREFIX "%s %s\n", name, unit);
    }
    buf_addf(out, "# HELP " PREFIX "%s %s\n", name, help);
}

static void label(struct buf *out, const char *name, const char *value) {
    buf_addf(out, "%s=\"", name);
    for (const char *c = value; *c; c++) {
        if (*c == '\n') {
            buf_addstr(out, "\\n");
        } else {
            buf_addstr(out, *c == '"' || *c == '\\' ? "\\" : "");
            buf_addch(out, *c);
        }
    }
    buf_addch(out, '"');
}

static void sample(struct buf *out, const char *name, const struct measurement_row *row,
                   double value) {
    if (!isfinite(value)) {
        return;
    }
    buf_addf(out, PREFIX "%s{", name);
    label(out, "component", row->name);
    buf_addch(out, ',');
    label(out, "scope", row->scope);
    buf_addch(out, ',');
    label(out, "source", row->source);
    buf_addch(out, ',');
    label(out, "quality", meter_quality_name(row->quality));
    buf_addf(out, "} %.9g\n", value);
}

typedef double value_fn(const struct measurement_row *row);

static double joules(const struct measurement_row *row) {
    return row->joules;
}

static double low_j(const struct measurement_row *row) {
    return row->low_j;
}

static double high_j(const struct measurement_row *row) {
    return row->high_j;
}

static double above_idle_j(const struct measurement_row *row) {
    return row->has_idle ? row->above_idle_j : NAN;
}

static double sd_j(const struct measurement_row *row) {
    return row->sd_j;
}

static double mean_w(const struct measurement_row *row) {
    return row->mean_w;
}

static double peak_w(const struct measurement_row *row) {
    return row->peak_w;
}

static double coverage(const struct measurement_row *row) {
    return row->quality == METER_MISSING ? NAN : row->coverage;
}

static const struct {
    const char *name, *unit, *help;
    value_fn *value;
} families[] = {
    {"energy_joules", "joules", "Energy of one run, mean over the runs.", joules},
    {"energy_low_joules", "joules", "Lower end of the sensor's interval.", low_j},
    {"energy_high_joules", "joules", "Upper end of the sensor's interval.", high_j},
    {"energy_above_idle_joules", "joules", "Energy less the idle baseline.", above_idle_j},
    {"energy_deviation_joules", "joules", "Standard deviation over the runs.", sd_j},
    {"power_mean_watts", "watts", "Mean power.", mean_w},
    {"power_peak_watts", "watts", "Highest power that was read.", peak_w},
    {"coverage_ratio", "ratio", "Share of the time that readings stand for.", coverage},
};

static void single(struct buf *out, const char *name, const char *unit, const char *help,
                   double value) {
    if (isfinite(value)) {
        family(out, name, unit, help);
        buf_addf(out, PREFIX "%s %.15g\n", name, value);
    }
}

static void missing_row(struct buf *out, const struct measurement_row *row) {
    if (row->quality != METER_MISSING) {
        return;
    }
    buf_addstr(out, PREFIX "missing{");
    label(out, "component", row->name);
    buf_addch(out, ',');
    label(out, "reason", row->reason);
    buf_addstr(out, "} 1\n");
}

void measurement_openmetrics(const struct measurement *m, const struct measurement_summary *s,
                             double unix_s, struct buf *out) {
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        family(out, families[f].name, families[f].unit, families[f].help);
        for (size_t i = 0; i < s->n; i++) {
            sample(out, families[f].name, &s->rows[i], families[f].value(&s->rows[i]));
        }
        sample(out, families[f].name, &s->total, families[f].value(&s->total));
    }
    family(out, "missing", NULL, "Components without a figure, and why.");
    for (size_t i = 0; i < s->n; i++) {
        missing_row(out, &s->rows[i]);
    }
    missing_row(out, &s->total);
    single(out, "duration_seconds", "seconds", "Length of one run, mean over the runs.",
           s->seconds);
    single(out, "runs", NULL, "Runs that the means are over.", (double)m->n_runs);
    single(out, "cost_usd", "usd", "Electricity of one run.", s->usd);
    single(out, "end_timestamp_seconds", "seconds", "When it was measured.", unix_s);
    if (m->n_runs > 0 && m->runs[m->n_runs - 1].has_process) {
        single(out, "exit_status", NULL, "Exit status of the last run.",
               m->runs[m->n_runs - 1].exit_status);
    }
    buf_addstr(out, "# EOF\n");
}
