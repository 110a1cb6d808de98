#include "serve/server.h"

#include "base/clock.h"
#include "base/fs.h"
#include "serve/fetch.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PORT_POLL_MS = 2,
    READY_POLL_MS = 10,
    FETCH_TIMEOUT_MS = 2000,
    STOP_GRACE_S = 5,
    MAX_WORDS = 256,
    LAST_LINES = 6,
};

/* ---- words ---- */

/* Appends the word at *p to out and moves *p behind it. False: a quote is not closed. */
static bool take_word(const char **p, struct buf *out) {
    char quote = 0;
    for (; **p && (quote || (**p != ' ' && **p != '\t' && **p != '\n')); (*p)++) {
        char c = **p;
        if (c == '\\' && quote != '\'' && (*p)[1]) {
            buf_addch(out, *++*p);
        } else if (quote ? c == quote : c == '\'' || c == '"') {
            quote = quote ? 0 : c;
        } else {
            buf_addch(out, c);
        }
    }
    return !quote;
}

int server_split(const char *command, struct arena *a, const char *const **argv, struct err *e) {
    const char **words = arena_array(a, MAX_WORDS + 1, sizeof(void *));
    size_t n = 0;
    int rc = words ? 0 : err_set(e, EE_NOMEM, "command: out of memory");
    const char *p = command;
    while (!rc) {
        p += strspn(p, " \t\n");
        if (!*p) {
            break;
        }
        struct buf word;
        buf_init(&word);
        bool closed = take_word(&p, &word);
        rc = buf_check(&word, "command", e);
        if (!rc && (!closed || n == MAX_WORDS)) {
            rc = err_set(e, EE_USAGE, "the command \"%.80s\" has %s", command,
                         closed ? "too many words" : "a quote that is not closed");
        }
        if (!rc) {
            words[n] = arena_strdup(a, word.data);
            rc = words[n++] ? 0 : err_set(e, EE_NOMEM, "command: out of memory");
        }
        buf_release(&word);
    }
    if (!rc && n == 0) {
        rc = err_set(e, EE_USAGE, "the command of the server is empty");
    }
    *argv = words;
    return rc;
}

/* ---- start and stop ---- */

static bool takes_connections(const struct target *t) {
    int fd = socket(t->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool open = fd >= 0 && connect(fd, (const struct sockaddr *)&t->addr, t->addr_len) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return open;
}

int server_spawn(struct server *s, const struct server_spec *spec, const struct target *t,
                 struct err *e) {
    *s = (struct server){0};
    if (takes_connections(t)) {
        return err_set(e, EE_USAGE,
                       "somebody listens on port %s already: stop that server or choose another "
                       "port",
                       t->port);
    }
    const struct process_spec p = {.argv = spec->argv, .log_path = spec->log_path, .guarded = true};
    int rc = process_spawn(&s->process, &p, e);
    s->running = rc == 0;
    s->exec_ns = s->process.spawned_ns;
    return rc;
}

/* The end of what the server printed, or "". */
static void add_last_lines(const char *log_path, struct buf *out) {
    struct buf log;
    buf_init(&log);
    if (log_path && fs_read(log_path, &log, NULL) == 0 && log.len > 0) {
        const char *from = log.data + log.len - 1;
        for (int lines = 0; from > log.data && lines < LAST_LINES; from--) {
            lines += from[-1] == '\n';
        }
        buf_addf(out, "; it printed last:\n%.700s", from);
    }
    buf_release(&log);
}

/* Stops it, and says what was wrong and what it printed last. */
static int give_up(struct server *s, const struct server_spec *spec, const char *what, int code,
                   struct err *e) {
    struct buf lines;
    buf_init(&lines);
    add_last_lines(spec->log_path, &lines);
    int rc = err_set(e, code, "the server %.60s %s%s", spec->argv[0], what, lines.data);
    buf_release(&lines);
    server_stop(s);
    return rc;
}

static bool is_ready(const struct server_spec *spec, const struct target *t) {
    const struct fetch_opts o = {.timeout_ns = FETCH_TIMEOUT_MS * NS_PER_MS, .insecure = true};
    struct buf body;
    struct err ignored = ERR_INIT;
    int status = 0;
    buf_init(&body);
    int rc = fetch(t, spec->ready_path, &o, &body, &status, &ignored);
    buf_release(&body);
    return !rc && status == 200;
}

int server_wait_ready(struct server *s, const struct server_spec *spec, const struct target *t,
                      const volatile sig_atomic_t *stop, struct err *e) {
    int64_t deadline_ns = s->exec_ns + (int64_t)(spec->ready_timeout_s * 1e9);
    while (!s->ready_ns) {
        if (process_poll(&s->process)) {
            char how[120];
            process_describe_end(&s->process, how, sizeof(how));
            return give_up(s, spec, how, EE_CRASH, e);
        }
        if (stop && *stop) {
            return give_up(s, spec, "was not ready yet when you stopped", EE_STOPPED, e);
        }
        if (clock_mono_ns() > deadline_ns) {
            char what[160];
            snprintf(what, sizeof(what), "%s within %.0f s (raise %.40s)",
                     s->port_ns ? "was not ready" : "did not open its port", spec->ready_timeout_s,
                     spec->timeout_key);
            return give_up(s, spec, what, EE_TIMEOUT, e);
        }
        if (!s->port_ns && takes_connections(t)) {
            s->port_ns = clock_mono_ns();
        }
        if (s->port_ns && is_ready(spec, t)) {
            s->ready_ns = clock_mono_ns();
            break;
        }
        clock_sleep_until_ns(clock_mono_ns() +
                             (s->port_ns ? READY_POLL_MS : PORT_POLL_MS) * NS_PER_MS);
    }
    return 0;
}

int server_check(struct server *s, const struct server_spec *spec, const char *during,
                 struct err *e) {
    if (!s->running || !process_poll(&s->process)) {
        return 0;
    }
    char how[120];
    char what[200];
    process_describe_end(&s->process, how, sizeof(how));
    snprintf(what, sizeof(what), "%s %s", how, during);
    return give_up(s, spec, what, EE_CRASH, e);
}

void server_stop(struct server *s) {
    if (s->running) {
        process_kill_tree(&s->process, STOP_GRACE_S * NS_PER_S);
        process_release(&s->process);
        s->running = false;
    }
}
