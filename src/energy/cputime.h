/* CPU time of the whole machine, by /proc/stat. */
#ifndef ENERGY_CPUTIME_H
#define ENERGY_CPUTIME_H

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds of one tick of /proc/stat. */
int64_t cputime_tick_ns(void);
/* Ticks in nanoseconds; false for more than any machine has run. */
bool cputime_from_ticks(unsigned long long ticks, int64_t *ns);
/*
 * Busy time of all hardware threads since boot (user, nice, system, irq and softirq), in ticks of
 * 10 ms. 0, -errno, or -EINVAL where the file has another format. Allocates nothing.
 */
int cputime_machine_ns(const char *stat_path, int64_t *out);

#endif
