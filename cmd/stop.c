#include "stop.h"

#include <stddef.h>
#include <sys/time.h>

volatile sig_atomic_t stop_requested;

static void on_signal(int sig) {
    stop_requested = 1;
    signal(sig, SIG_DFL);
}

/* A signal that whoever started us had ignored stays so: nohup, background jobs. */
void stop_on_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction old;
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(signals[i], &act, NULL);
        }
    }
}

void stop_after(double seconds) {
    struct sigaction act = {.sa_handler = on_signal};
    struct itimerval once = {.it_value = {.tv_sec = (time_t)seconds}};
    once.it_value.tv_usec = (suseconds_t)((seconds - (double)once.it_value.tv_sec) * 1e6);
    sigemptyset(&act.sa_mask);
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &once, NULL);
}
