#include "base/machine.h"

#include "base/buf.h"
#include "base/fs.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

int machine_hw_threads(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return CPU_COUNT(&set);
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* The value of "name: 123 kB" in a /proc file, in bytes; 0 when absent. */
static uint64_t proc_kilobytes(const char *path, const char *name) {
    struct buf b;
    buf_init(&b);
    uint64_t bytes = 0;
    size_t name_len = strlen(name);
    if (fs_read(path, &b, NULL) == 0) {
        for (const char *line = b.data; line; line = strchr(line, '\n')) {
            line += *line == '\n';
            if (strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
                bytes = strtoull(line + name_len + 1, NULL, 10) * 1024;
                break;
            }
        }
    }
    buf_release(&b);
    return bytes;
}

uint64_t machine_self_memory_bytes(const char *field) {
    return proc_kilobytes("/proc/self/status", field);
}

uint64_t machine_process_memory_bytes(pid_t pid, const char *field) {
    char path[48];
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    return proc_kilobytes(path, field);
}

/* A cgroup number; UINT64_MAX for "max" or when there is none. */
static uint64_t cgroup_number(const char *path) {
    struct buf b;
    buf_init(&b);
    uint64_t v = UINT64_MAX;
    if (fs_read(path, &b, NULL) == 0 && b.data[0] >= '0' && b.data[0] <= '9') {
        v = strtoull(b.data, NULL, 10);
    }
    buf_release(&b);
    return v;
}

/* File pages that a container's limit counts and the kernel gives back when asked. */
static uint64_t cgroup_reclaimable_bytes(void) {
    static const char *const names[] = {"\nactive_file ", "\ninactive_file "};
    struct buf b;
    buf_init(&b);
    uint64_t sum = 0;
    if (fs_read("/sys/fs/cgroup/memory.stat", &b, NULL) == 0) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            const char *line = strstr(b.data, names[i]);
            sum += line ? strtoull(line + strlen(names[i]), NULL, 10) : 0;
        }
    }
    buf_release(&b);
    return sum;
}

uint64_t machine_available_memory_bytes(void) {
    uint64_t available = proc_kilobytes("/proc/meminfo", "MemAvailable");
    uint64_t limit = cgroup_number("/sys/fs/cgroup/memory.max");
    uint64_t used = cgroup_number("/sys/fs/cgroup/memory.current");
    if (limit != UINT64_MAX && used != UINT64_MAX) {
        uint64_t reclaimable = cgroup_reclaimable_bytes();
        used -= reclaimable < used ? reclaimable : used;
        uint64_t left = limit > used ? limit - used : 0;
        available = left < available ? left : available;
    }
    return available;
}

static void read_cpu_model(char *out, size_t size) {
    struct buf b;
    buf_init(&b);
    snprintf(out, size, "unknown CPU");
    if (fs_read("/proc/cpuinfo", &b, NULL) == 0) {
        const char *line = strstr(b.data, "model name");
        const char *colon = line ? strchr(line, ':') : NULL;
        if (colon) {
            colon += 1 + strspn(colon + 1, " \t");
            snprintf(out, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        }
    }
    buf_release(&b);
}

void machine_describe(struct machine *m) {
    *m = (struct machine){.hw_threads = machine_hw_threads()};
    read_cpu_model(m->cpu_model, sizeof(m->cpu_model));
    struct utsname u;
    if (uname(&u) == 0) {
        snprintf(m->kernel, sizeof(m->kernel), "%.40s %.80s", u.sysname, u.release);
    }
    m->memory_bytes = proc_kilobytes("/proc/meminfo", "MemTotal");
    uint64_t limit = cgroup_number("/sys/fs/cgroup/memory.max");
    m->memory_bytes = limit < m->memory_bytes ? limit : m->memory_bytes;
}

uint64_t machine_raise_descriptors(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0) {
        return 0;
    }
    const struct rlimit raised = {l.rlim_max, l.rlim_max};
    if (l.rlim_cur < l.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        l = raised;
    }
    return l.rlim_cur;
}
