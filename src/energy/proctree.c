#include "energy/proctree.h"
#include "energy/cputime.h"
#include "energy/sysfile.h"

#include "base/clock.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct proc_stat {
    pid_t parent;
    uint64_t start_ticks;
    int64_t own_ns, reaped_ns;
};

void proctree_init(struct proctree *t, const char *root) {
    memset(t, 0, sizeof(*t));
    t->root = root;
    t->clocks = root[0] == '\0';
}

static bool clock_of(const struct proctree *t, pid_t pid, int64_t *ns) {
    clockid_t id;
    struct timespec ts;
    if (!t->clocks || clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &ts) != 0) {
        return false;
    }
    *ns = ts.tv_sec * NS_PER_S + ts.tv_nsec;
    return true;
}

/* Fields 4, 14 to 17 and 22 of /proc/PID/stat (proc(5)); the name in field 2 may hold anything. */
static bool parse_stat(const char *text, struct proc_stat *out) {
    const char *after_name = strrchr(text, ')');
    int parent;
    unsigned long long user, system, reaped_user, reaped_system, start;
    if (!after_name || sscanf(after_name + 1,
                              " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu %*d "
                              "%*d %*d %*d %llu",
                              &parent, &user, &system, &reaped_user, &reaped_system, &start) != 6) {
        return false;
    }
    out->parent = parent;
    out->start_ticks = start;
    int64_t parts[4];
    const unsigned long long ticks[4] = {user, system, reaped_user, reaped_system};
    for (int i = 0; i < 4; i++) {
        if (!cputime_from_ticks(ticks[i], &parts[i])) {
            return false;
        }
    }
    out->own_ns = parts[0] + parts[1];
    out->reaped_ns = parts[2] + parts[3];
    return true;
}

static bool read_process(const struct proctree *t, pid_t pid, struct proc_stat *out) {
    char path[SYSFILE_PATH_MAX];
    char text[1024];
    int len = snprintf(path, sizeof(path), "%s/proc/%d/stat", t->root, (int)pid);
    if (len < 0 || (size_t)len >= sizeof(path) || sysfile_read(path, text, sizeof(text)) <= 0 ||
        !parse_stat(text, out)) {
        return false;
    }
    clock_of(t, pid, &out->own_ns);
    return true;
}

static struct proc_entry *find_entry(struct proctree *t, pid_t pid) {
    for (size_t i = 0; i < t->n; i++) {
        if (t->entries[i].pid == pid) {
            return &t->entries[i];
        }
    }
    return NULL;
}

/* What one scan adds up. */
struct scan {
    bool baseline;       /* count from now: what was used before is not ours */
    int64_t own_ns;      /* used by live processes */
    int64_t reaped_ns;   /* newly found in parents' accounts of ended children */
    int64_t vanished_ns; /* of that, counted already while the children lived */
};

static void vanish(struct scan *sc, const struct proc_entry *en) {
    sc->vanished_ns += en->own_ns + en->reaped_ns;
}

static void count(struct proc_entry *en, const struct proc_stat *now, struct scan *sc) {
    sc->own_ns += now->own_ns - en->own_ns;
    sc->reaped_ns += now->reaped_ns - en->reaped_ns;
    en->own_ns = now->own_ns;
    en->reaped_ns = now->reaped_ns;
    en->seen = true;
}

/* Makes a process one of ours. */
static void visit(struct proctree *t, pid_t pid, struct scan *sc) {
    struct proc_stat now;
    struct proc_entry *en = find_entry(t, pid);
    if (!read_process(t, pid, &now)) {
        return;
    }
    if (!en && t->n == PROCTREE_MAX) {
        t->overflow = true;
        return;
    }
    if (!en) {
        en = &t->entries[t->n++];
    } else if (en->start_ticks == now.start_ticks) {
        count(en, &now, sc);
        return;
    } else {
        vanish(sc, en);
    }
    *en = (struct proc_entry){.pid = pid, .start_ticks = now.start_ticks};
    if (sc->baseline) {
        en->own_ns = now.own_ns;
        en->reaped_ns = now.reaped_ns;
    }
    count(en, &now, sc);
}

static void visit_listed(struct proctree *t, const char *path, struct scan *sc) {
    char text[16384];
    if (sysfile_read(path, text, sizeof(text)) <= 0) {
        return;
    }
    char *at = text;
    for (;;) {
        char *end;
        long pid = strtol(at, &end, 10);
        if (end == at || !isspace((unsigned char)*end)) {
            t->overflow = t->overflow || end != at; /* cut off by the end of the buffer */
            return;
        }
        const struct proc_entry *en = find_entry(t, (pid_t)pid);
        if (!en || !en->seen) {
            visit(t, (pid_t)pid, sc);
        }
        at = end;
    }
}

typedef void pid_fn(struct proctree *t, long pid, void *ctx);

/* Calls fn for every name in dir that is a number. readdir would allocate. */
static void each_number(struct proctree *t, const char *dir, pid_fn *fn, void *ctx) {
    _Alignas(struct dirent64) char bytes[8192];
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t got;
    while ((got = getdents64(fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *d = (const void *)(bytes + at);
            char *end;
            long number = strtol(d->d_name, &end, 10);
            if (end != d->d_name && *end == '\0' && number > 0) {
                fn(t, number, ctx);
            }
            at += d->d_reclen;
        }
    }
    close(fd);
}

struct children_of {
    long pid;
    struct scan *sc;
};

/* A child belongs to the thread that started it. */
static void visit_thread(struct proctree *t, long tid, void *ctx) {
    const struct children_of *of = ctx;
    char path[SYSFILE_PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/proc/%ld/task/%ld/children", t->root, of->pid, tid);
    if (len > 0 && (size_t)len < sizeof(path)) {
        visit_listed(t, path, of->sc);
    }
}

static void visit_children(struct proctree *t, pid_t pid, struct scan *sc) {
    char dir[SYSFILE_PATH_MAX];
    struct children_of of = {pid, sc};
    int len = snprintf(dir, sizeof(dir), "%s/proc/%d/task", t->root, (int)pid);
    if (len > 0 && (size_t)len < sizeof(dir)) {
        each_number(t, dir, visit_thread, &of);
    }
}

static void visit_if_ours(struct proctree *t, long pid, void *ctx) {
    struct proc_stat st;
    struct proc_entry *en = find_entry(t, (pid_t)pid);
    if ((en && en->seen) || !read_process(t, (pid_t)pid, &st)) {
        return;
    }
    const struct proc_entry *parent = find_entry(t, st.parent);
    if (parent && parent->seen) {
        visit(t, (pid_t)pid, ctx);
    }
}

/* Without lists of children: whoever has one of ours as parent is ours, until none is new. */
static void visit_by_parent(struct proctree *t, struct scan *sc) {
    char dir[SYSFILE_PATH_MAX];
    size_t before;
    int len = snprintf(dir, sizeof(dir), "%s/proc", t->root);
    if (len < 0 || (size_t)len >= sizeof(dir)) {
        return;
    }
    do {
        before = t->n;
        each_number(t, dir, visit_if_ours, sc);
    } while (t->n > before);
}

static void drop_unseen(struct proctree *t, struct scan *sc) {
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->entries[i].seen) {
            t->entries[kept++] = t->entries[i];
        } else {
            vanish(sc, &t->entries[i]);
        }
    }
    t->n = kept;
}

/* A known process whose number is now another's has ended, and its successor is a stranger. */
static void visit_known(struct proctree *t, struct proc_entry *en, struct scan *sc) {
    struct proc_stat now;
    if (read_process(t, en->pid, &now) && now.start_ticks == en->start_ticks) {
        count(en, &now, sc);
    }
}

static void scan(struct proctree *t, struct scan *sc) {
    const size_t known = t->n;
    for (size_t i = 0; i < known; i++) {
        t->entries[i].seen = false;
    }
    for (size_t i = 0; i < known; i++) {
        visit_known(t, &t->entries[i], sc);
    }
    if (!t->listed) {
        visit_by_parent(t, sc);
    }
    /* Entries found on the way are appended, so this reaches grandchildren too. */
    for (size_t i = 0; i < t->n && t->listed; i++) {
        if (t->entries[i].seen) {
            visit_children(t, t->entries[i].pid, sc);
        }
    }
    drop_unseen(t, sc);
}

static void update_known(struct proctree *t) {
    for (size_t i = 0; i < t->n; i++) {
        struct proc_entry *en = &t->entries[i];
        int64_t own_ns;
        if (clock_of(t, en->pid, &own_ns) && own_ns > en->own_ns) {
            t->cpu_ns += own_ns - en->own_ns;
            en->own_ns = own_ns;
        }
    }
}

void proctree_update(struct proctree *t, bool look) {
    if (!look && t->clocks) {
        update_known(t);
        return;
    }
    struct scan sc = {.baseline = false};
    scan(t, &sc);
    /*
     * Time of a child that ended moves to its parent's account; only what the child used after
     * the last update is new. Where the parent is not ours, nothing arrives and nothing is lost.
     */
    int64_t late_ns = sc.reaped_ns - sc.vanished_ns;
    t->cpu_ns += sc.own_ns + (late_ns > 0 ? late_ns : 0);
}

/* Makes the process one of ours, without what it and its children used so far. */
static void add_from_now(struct proctree *t, pid_t pid) {
    struct scan sc = {.baseline = true};
    visit(t, pid, &sc);
    scan(t, &sc);
}

static bool lists_children(const struct proctree *t, pid_t pid) {
    char path[SYSFILE_PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/proc/%d/task/%d/children", t->root, (int)pid,
                       (int)pid);
    return len > 0 && (size_t)len < sizeof(path) && access(path, F_OK) == 0;
}

int proctree_watch(struct proctree *t, pid_t pid, struct err *e) {
    struct proc_stat st;
    if (!read_process(t, pid, &st)) {
        return err_set(e, EE_MISSING, "cannot watch process %d: there is none", (int)pid);
    }
    for (size_t i = 0; i < t->n_roots; i++) {
        if (t->roots[i].pid == pid && t->roots[i].start_ticks == st.start_ticks) {
            return 0;
        }
    }
    if (t->n_roots == PROCTREE_MAX_ROOTS) {
        return err_set(e, EE_FAIL, "cannot watch process %d: %d are watched already", (int)pid,
                       PROCTREE_MAX_ROOTS);
    }
    t->listed = lists_children(t, pid);
    proctree_update(t, true);
    t->roots[t->n_roots++] = (struct proc_root){pid, st.start_ticks};
    add_from_now(t, pid);
    return 0;
}

void proctree_unwatch(struct proctree *t, pid_t pid) {
    size_t kept = 0;
    for (size_t i = 0; i < t->n_roots; i++) {
        if (t->roots[i].pid != pid) {
            t->roots[kept++] = t->roots[i];
        }
    }
    if (kept == t->n_roots) {
        return;
    }
    t->n_roots = kept;
    /* Which of the known belonged to pid is not recorded: find the rest again from their roots. */
    t->n = 0;
    t->overflow = false;
    for (size_t i = 0; i < kept; i++) {
        struct proc_stat st;
        if (read_process(t, t->roots[i].pid, &st) && st.start_ticks == t->roots[i].start_ticks) {
            add_from_now(t, t->roots[i].pid);
        }
    }
}
