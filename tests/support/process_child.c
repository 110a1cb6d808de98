#include "support/process_child.h"

#include "base/process.h"

#include "base/buf.h"
#include "base/channel.h"
#include "base/fs.h"
#include "base/json.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FD = 4096 };

static json_t *open_descriptors(void) {
    json_t *list = json_array();
    for (int fd = 0; fd < MAX_FD; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            json_array_append_new(list, json_integer(fd));
        }
    }
    return list;
}

static int send_up(json_t *value) {
    struct err e = ERR_INIT;
    struct channel c;
    channel_init(&c, PROCESS_CHANNEL_FD);
    int rc = channel_send(&c, value, &e);
    channel_release(&c);
    return rc ? 1 : 0;
}

/* What a child finds around itself. */
static int child_report(void) {
    struct err e = ERR_INIT;
    struct buf status;
    buf_init(&status);
    if (fs_read("/proc/self/status", &status, &e)) {
        return 9;
    }
    char blocked[32] = "";
    char ignored[32] = "";
    const char *line = strstr(status.data, "SigBlk:");
    const char *line2 = strstr(status.data, "SigIgn:");
    if (!line || !line2 || sscanf(line, "SigBlk: %31s", blocked) != 1 ||
        sscanf(line2, "SigIgn: %31s", ignored) != 1) {
        return 9;
    }
    buf_release(&status);
    char c;
    const char *old = getenv("EE_TEST_OLD");
    const char *added = getenv("EE_TEST_NEW");
    const char *like = getenv("EE_TEST_NEWER");
    return send_up(json_pack(
        "{s:o, s:i, s:i, s:s, s:s, s:i, s:s*, s:s*, s:s*}", "fds", open_descriptors(), "pid",
        (int)getpid(), "pgrp", (int)getpgrp(), "blocked", blocked, "ignored", ignored, "stdin",
        (int)read(STDIN_FILENO, &c, 1), "old", old, "new", added, "newer", like));
}

static int child_lines(void) {
    printf("to stdout\n");
    fflush(stdout);
    fprintf(stderr, "to stderr\n");
    return 0;
}

static int child_use(void) {
    enum { BYTES = 96 << 20 };
    unsigned char *p = malloc(BYTES);
    if (!p) {
        return 9;
    }
    memset(p, 1, BYTES);
    unsigned char all = 1;
    for (size_t i = 0; clock_process_cpu_ns() < 60 * NS_PER_MS; i = (i + 4096) % BYTES) {
        all &= p[i];
    }
    free(p);
    return all != 1;
}

static void wait_for_ever(void) {
    for (;;) {
        pause();
    }
}

/* Says who it is and waits to be killed; "stubborn" ignores the polite signal. */
static int child_hang(const char *how) {
    if (strcmp(how, "stubborn") == 0) {
        signal(SIGTERM, SIG_IGN);
    }
    int rc = send_up(json_pack("{s:i}", "pid", (int)getpid()));
    if (rc == 0) {
        wait_for_ever();
    }
    return rc;
}

static void exit_five(int sig) {
    (void)sig;
    _exit(5);
}

static int child_exits_on_term(void) {
    signal(SIGTERM, exit_five);
    return child_hang("ready");
}

/*
 * Three levels: this one, a child in its group, and a child of that in a session of its own, which
 * ignores SIGTERM. With leave, the first exits at once and the others stay behind.
 */
static int child_tree(const char *how) {
    int ready[2];
    if (pipe(ready) != 0) {
        return 9;
    }
    pid_t in_group = fork();
    if (in_group == 0) {
        signal(SIGTERM, SIG_IGN);
        if (fork() == 0) {
            setsid();
            pid_t self = getpid(); /* told only once it has left the group */
            ssize_t n = write(ready[1], &self, sizeof(self));
            (void)n;
        }
        wait_for_ever();
    }
    pid_t in_session;
    if (read(ready[0], &in_session, sizeof(in_session)) != (ssize_t)sizeof(in_session)) {
        return 9;
    }
    int rc = send_up(
        json_pack("{s:i, s:i}", "in_group", (int)in_group, "in_session", (int)in_session));
    if (rc == 0 && strcmp(how, "stay") == 0) {
        wait_for_ever();
    }
    return rc;
}

/* A parent for the test to kill: its own child says who it is, through it. */
static int child_parent(const char *mode, const char *how, bool guarded) {
    struct err e = ERR_INIT;
    char *exe = fs_exe_path();
    struct process p;
    const char *const argv[] = {exe, "child", mode, how, NULL};
    const struct process_spec spec = {.argv = argv, .with_channel = true, .guarded = guarded};
    if (process_spawn(&p, &spec, &e)) {
        return 9;
    }
    struct channel c;
    json_t *msg = NULL;
    channel_init(&c, p.channel_fd);
    if (channel_recv(&c, clock_mono_ns() + PATIENCE_NS, &msg, &e) || !msg || send_up(msg)) {
        return 9;
    }
    channel_release(&c);
    free(exe);
    wait_for_ever();
    return 0;
}

/* A parent whose standard descriptors are closed, as some service managers start programs. */
static int child_closed_std(void) {
    struct err e = ERR_INIT;
    char *exe = fs_exe_path();
    close(0);
    close(1);
    close(2);
    struct process p;
    const char *const argv[] = {exe, "child", "report", NULL};
    const struct process_spec spec = {.argv = argv, .with_channel = true};
    if (process_spawn(&p, &spec, &e)) {
        return 9;
    }
    struct channel c;
    json_t *msg = NULL;
    channel_init(&c, p.channel_fd);
    int rc = channel_recv(&c, clock_mono_ns() + PATIENCE_NS, &msg, &e) || !msg || send_up(msg);
    channel_release(&c);
    process_release(&p);
    free(exe);
    return rc;
}

int process_child(int argc, char **argv) {
    const char *mode = argv[2];
    const char *arg = argc > 3 ? argv[3] : "";
    if (strcmp(mode, "report") == 0) {
        return child_report();
    } else if (strcmp(mode, "fds") == 0) {
        json_t *fds = open_descriptors();
        int n = (int)json_array_size(fds);
        json_decref(fds);
        return n;
    } else if (strcmp(mode, "lines") == 0) {
        return child_lines();
    } else if (strcmp(mode, "use") == 0) {
        return child_use();
    } else if (strcmp(mode, "exit") == 0) {
        return (int)strtol(arg, NULL, 10);
    } else if (strcmp(mode, "signal") == 0) {
        kill(getpid(), (int)strtol(arg, NULL, 10));
        wait_for_ever();
    } else if (strcmp(mode, "hang") == 0) {
        return child_hang(arg);
    } else if (strcmp(mode, "exit-on-term") == 0) {
        return child_exits_on_term();
    } else if (strcmp(mode, "tree") == 0) {
        return child_tree(arg);
    } else if (strcmp(mode, "parent") == 0) {
        return child_parent("hang", "stubborn", false);
    } else if (strcmp(mode, "guarding-parent") == 0) {
        return child_parent("tree", "stay", true);
    } else if (strcmp(mode, "closed-std") == 0) {
        return child_closed_std();
    }
    return 9;
}
