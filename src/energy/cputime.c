#include "energy/cputime.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int64_t cputime_tick_ns(void) {
    return NS_PER_S / sysconf(_SC_CLK_TCK);
}

bool cputime_from_ticks(unsigned long long ticks, int64_t *ns) {
    const unsigned long long most = (unsigned long long)(INT64_MAX / 64 / cputime_tick_ns());
    *ns = ticks <= most ? (int64_t)ticks * cputime_tick_ns() : 0;
    return ticks <= most;
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
    const unsigned long long parts[] = {user, nice, system, irq, softirq};
    *out = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int64_t ns;
        if (!cputime_from_ticks(parts[i], &ns)) {
            return -EINVAL;
        }
        *out += ns;
    }
    return 0;
}
