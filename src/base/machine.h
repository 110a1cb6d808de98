/* What this machine is and how much of it this process may use. Linux. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stdint.h>
#include <sys/types.h>

struct machine {
    char cpu_model[128];
    char kernel[128];
    int hw_threads;        /* that the scheduler lets this process run on */
    uint64_t memory_bytes; /* installed, or the container's limit where that is less */
};

void machine_describe(struct machine *m);
int machine_hw_threads(void);
/* Memory a new process could take without swapping, within the container's limit. */
uint64_t machine_available_memory_bytes(void);
/* A field of /proc/self/status in bytes ("VmHWM", "VmRSS"); 0 when it is not there. */
uint64_t machine_self_memory_bytes(const char *field);
/* The same of another process; 0 also when there is none of that number. */
uint64_t machine_process_memory_bytes(pid_t pid, const char *field);

/* Lets this process, and those it starts from now on, open as many descriptors as it may; returns how
 * many that are. */
uint64_t machine_raise_descriptors(void);

#endif
