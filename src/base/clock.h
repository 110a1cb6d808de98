/*
 * The one source of durations: CLOCK_MONOTONIC in nanoseconds, which all processes of a machine
 * share, so a parent's timestamp and its child's can be subtracted. Wall time is for labels only.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

int64_t clock_mono_ns(void);
/* CPU time of the whole process, user and system. */
int64_t clock_process_cpu_ns(void);
/* Sleeps until an absolute CLOCK_MONOTONIC time; returns early only when a signal arrives. */
void clock_sleep_until_ns(int64_t deadline_ns);
double clock_ns_to_s(int64_t ns);
/* UTC as "2026-01-31T12:00:00Z". buf needs 21 bytes. */
void clock_wall_iso8601(char *buf, size_t size);

#endif
