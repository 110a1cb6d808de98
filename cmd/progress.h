/* What a person sees on stderr while a run goes: one line a stage. */
#ifndef CMD_PROGRESS_H
#define CMD_PROGRESS_H

#include "lifecycle/run.h"

struct progress {
    struct run_observer observer; /* give its address to run_opts; ctx is the progress */
    bool quiet;                   /* only failures */
    bool is_terminal;
    bool color;
    bool line_open; /* the last line has no newline yet */
    char title[96];
    char counter[24];
};

void progress_init(struct progress *p, bool quiet);
/* Ends an open line. */
void progress_end_line(struct progress *p);

#endif
