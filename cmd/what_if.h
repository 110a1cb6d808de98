/* --prices FILE and --set KEY=VALUE: a run's costs other than those it was stored with. */
#ifndef CMD_WHAT_IF_H
#define CMD_WHAT_IF_H

#include "report/report.h"

#include "base/arena.h"
#include "base/err.h"

struct cmd_what_if {
    const char *prices; /* set by the option's table */
    const char **sets;
    size_t n_sets;
    struct arena arena;
    struct price_book shipped, own;
    char today[24];
    struct report_what_if what_if; /* after cmd_what_if_load */
};
#define CMD_WHAT_IF_INIT                                                                           \
    { .arena = ARENA_INIT }

/* Takes "--set X" and "--set=X" out of argv, since opt keeps one value an option. */
int cmd_what_if_take(int *argc, char **argv, struct cmd_what_if *w, struct err *e) EE_MUST_CHECK;
/* Fills what_if, which points into w: the shipped prices for runs that have none, as of today. */
int cmd_what_if_load(struct cmd_what_if *w, struct err *e) EE_MUST_CHECK;
void cmd_what_if_release(struct cmd_what_if *w);

#endif
