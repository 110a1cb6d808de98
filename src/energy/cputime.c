#include "energy/cputime.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int64_t cputime_tick_ns(void) {
    return NS_PER_S / sysconf(_SC_CLK_TCK);
}

int cputime_machine_ns(const char *stat_path, int64_t *out) {
    char text[512];
    unsigned long long user, nice, system, idle, iowait, irq = 0, softirq = 0;
    long len = sysfile_read(stat_path, text, sizeof(text));
    if (len < 0) {
        return (int)len;
    }
    if (sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
               &iowait, &irq, &softirq) < 4) {
        return -EINVAL;
    }
    *out = (int64_t)(user + nice + system + irq + softirq) * cputime_tick_ns();
    return 0;
}
