/* Ctrl-C and its like, for commands that keep what is done. */
#ifndef CMD_STOP_H
#define CMD_STOP_H

#include <signal.h>

/* Set by SIGINT, SIGTERM and SIGHUP; a second signal ends the program at once. */
extern volatile sig_atomic_t stop_requested;

/* From here on signals set the flag; those that whoever started us had ignored stay so. */
void stop_on_signals(void);
/* From now on the flag is set after so many seconds; 0: never. */
void stop_after(double seconds);

#endif
