/*
 * What edge-eval meter measures: a command, a process that runs already, or the machine for a
 * while. One call is one repeat. Signals that end a program are passed on to the command, or end
 * the wait where there is none.
 */
#ifndef CMD_METER_JOB_H
#define CMD_METER_JOB_H

#include "base/process.h"
#include "energy/measurement.h"

#include <signal.h>
#include <stdio.h>

struct meter_job {
    struct meter *meter;
    char *const *command;         /* NULL-terminated; NULL: no command */
    struct process_fds fds;       /* open when the program began: the command's */
    pid_t pid;                    /* of the process to follow; 0: none */
    double seconds;               /* at most, without a command; 0: no limit */
    FILE *csv;                    /* NULL: no time series */
    struct measurement_gpu *gpus; /* of each component; filled while it runs */
    size_t run;                   /* number of this repeat, from 0 */
    bool cannot_start;            /* set where the command could not be started */
};

/* Installs the handlers. Call once, before the first repeat. */
void meter_job_catch_signals(void);
/* Non-zero once such a signal came; for what else has to stop then. */
const volatile sig_atomic_t *meter_job_stop_flag(void);
/* Whether the user wants no further repeat. */
bool meter_job_is_stopped(void);
void meter_job_csv_header(struct meter *m, FILE *csv);
/* EE_MISSING and EE_PERM: the command cannot be run. */
int meter_job_run(struct meter_job *job, struct measurement_run *out, struct err *e) EE_MUST_CHECK;

#endif
