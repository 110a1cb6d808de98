/*
 * What the whole node draws from the wall, by its management controller: `ipmi` runs
 * "ipmitool dcmi power reading" (or the command given), `redfish:COMMAND` a command that prints a
 * Redfish Power, EnvironmentMetrics or Sensor resource as JSON, `redfish:@FILE` reads such a file,
 * which somebody else keeps fresh. Commands run as argument vectors, split at spaces, never through
 * a shell.
 *
 * An answer takes a tenth of a second to seconds, far too long for the sampling thread: a thread of
 * its own asks once a second and leaves the newest answer, which reads hold until the next. An
 * answer that is too old is no reading.
 *
 * DCMI 1.5 section 6.6.1 (Get Power Reading); DMTF DSP0268 (Redfish schemas).
 */
#include "energy/note.h"
#include "energy/sensor.h"
#include "energy/sensor_wall.h"
#include "energy/sysfile.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GAIN_WALL 0.05
#define ASK_NS NS_PER_S
/* The controller averages for a second, renews its answer each second and takes up to one to give
 * it, and we ask once a second. */
#define UPDATE_NS (4 * NS_PER_S)
#define TIMEOUT_NS (10 * NS_PER_S)
#define STALE_NS (15 * NS_PER_S)
#define STOP_POLL_NS (50 * NS_PER_MS)
#define MAX_WORDS 32
#define MAX_ANSWER 65536

struct wall {
    char *text; /* owned; the words point into it */
    const char *argv[MAX_WORDS + 1];
    const char *file; /* instead of a command */
    int (*parse)(const char *text, double *watts, char *why, size_t size);

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t wake;
    bool stopping;
    bool answered; /* the last question brought a figure */
    double watts;
    int64_t t_ns; /* of the last answer that was a figure */
    char why[256];
};

/* ---- answers ---- */

/* The number after "key" and ':' in some line; NULL where there is none. */
static const char *value_after(const char *text, const char *key) {
    const char *at = strstr(text, key);
    at = at ? at + strlen(key) : NULL;
    at = at ? at + strspn(at, " \t") : NULL;
    return at && *at == ':' ? at + 1 + strspn(at + 1, " \t") : NULL;
}

static int take_watts(double w, double *watts, char *why, size_t size) {
    if (!isfinite(w) || w <= 0 || w > 1e6) {
        note_set(why, size, "the controller says %.6g W", w);
        return EE_FORMAT;
    }
    *watts = w;
    return 0;
}

int wall_parse_ipmi(const char *text, double *watts, char *why, size_t size) {
    const char *state = value_after(text, "Power reading state is");
    const char *value = value_after(text, "Instantaneous power reading");
    const char *current = value_after(text, "Current Power"); /* freeipmi's ipmi-dcmi */
    char *end;
    if (state && strncmp(state, "activated", strlen("activated")) != 0) {
        note_set(why, size, "the controller's power reading is not activated");
        return EE_UNSUPPORTED;
    }
    value = value ? value : current;
    double w = value ? strtod(value, &end) : 0;
    if (!value || end == value) {
        note_set(why, size, "no power reading in the answer: %.*s", (int)strcspn(text, "\n"), text);
        return EE_FORMAT;
    }
    return take_watts(w, watts, why, size);
}

static const json_t *number_in(const json_t *obj, const char *key) {
    const json_t *v = json_object_get(obj, key);
    return json_is_number(v) ? v : NULL;
}

/* Power: PowerControl[0]; EnvironmentMetrics: PowerWatts; Sensor: Reading in W. */
static const json_t *find_watts(const json_t *o) {
    const json_t *control = json_array_get(json_object_get(o, "PowerControl"), 0);
    const json_t *v = number_in(control, "PowerConsumedWatts");
    v = v ? v : number_in(json_object_get(o, "PowerWatts"), "Reading");
    v = v ? v : number_in(o, "PowerConsumedWatts");
    if (!v && strcmp(json_str_or(o, "ReadingUnits", ""), "W") == 0) {
        v = number_in(o, "Reading");
    }
    return v;
}

int wall_parse_redfish(const char *text, double *watts, char *why, size_t size) {
    struct err e = ERR_INIT;
    json_t *o = NULL;
    int rc = json_parse(text, strlen(text), "the answer", &o, &e);
    if (rc) {
        note_set(why, size, "%s", e.msg);
        return rc;
    }
    const json_t *v = find_watts(o);
    if (v) {
        rc = take_watts(json_number_value(v), watts, why, size);
    } else {
        note_set(why, size, "no PowerConsumedWatts, PowerWatts or Reading in the answer: %s",
                 json_str_or(o, "@odata.type", "no Redfish resource"));
        rc = EE_FORMAT;
    }
    json_decref(o);
    return rc;
}

/* ---- asking ---- */

static bool is_stopping(struct wall *w) {
    pthread_mutex_lock(&w->lock);
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

/* Appends what the command prints; false when it was not done in time. */
static bool read_output(struct wall *w, int fd, struct buf *out) {
    const int64_t end_ns = clock_mono_ns() + TIMEOUT_NS;
    for (;;) {
        char bytes[4096];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (clock_mono_ns() > end_ns || out->failed || is_stopping(w)) {
            return false;
        }
        if (poll(&p, 1, (int)(STOP_POLL_NS / NS_PER_MS)) <= 0) {
            continue;
        }
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n <= 0) {
            return n == 0;
        }
        buf_add(out, bytes, (size_t)n);
    }
}

static int run_command(struct wall *w, struct buf *out, struct err *e) {
    int ends[2];
    struct process p;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return err_errno(e, errno, "cannot open a pipe");
    }
    const struct process_spec spec = {.argv = w->argv, .out_fd = &ends[1]};
    int rc = process_spawn(&p, &spec, e);
    close(ends[1]);
    if (rc == 0) {
        char end[128];
        bool whole = read_output(w, ends[0], out);
        if (!whole) {
            process_kill_tree(&p, 0);
        }
        while (!process_wait_until(&p, clock_mono_ns() + STOP_POLL_NS) && !is_stopping(w)) {
        }
        process_describe_end(&p, end, sizeof(end));
        if (!whole) {
            rc = err_set(e, EE_TIMEOUT, "%s did not answer within %d s", w->argv[0],
                         (int)(TIMEOUT_NS / NS_PER_S));
        } else if (p.end != PROCESS_EXITED || p.status != 0) {
            rc = err_set(e, EE_FAIL, "%s %s", w->argv[0], end);
        }
        process_release(&p);
    }
    close(ends[0]);
    return rc;
}

/* A file that nobody writes any more still holds its last figure. */
static int read_file(const char *path, struct buf *out, struct err *e) {
    struct stat st;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (stat(path, &st) == 0 && now.tv_sec - st.st_mtime > STALE_NS / NS_PER_S) {
        return err_set(e, EE_TIMEOUT, "%s was last written %lld s ago", path,
                       (long long)(now.tv_sec - st.st_mtime));
    }
    return fs_read(path, out, e);
}

/* One question; the answer is left in w. */
static void ask(struct wall *w) {
    struct err e = ERR_INIT;
    struct buf text;
    char why[256] = "";
    double watts = NAN;
    buf_init_max(&text, MAX_ANSWER);
    int rc = w->file ? read_file(w->file, &text, &e) : run_command(w, &text, &e);
    if (rc) {
        note_set(why, sizeof(why), "%s", e.msg);
    } else {
        rc = w->parse(text.data, &watts, why, sizeof(why));
    }
    buf_release(&text);
    pthread_mutex_lock(&w->lock);
    w->answered = rc == 0;
    memcpy(w->why, why, sizeof(w->why));
    if (rc == 0) {
        w->watts = watts;
        w->t_ns = clock_mono_ns();
    }
    pthread_mutex_unlock(&w->lock);
}

static void *asker(void *arg) {
    struct wall *w = arg;
    int64_t due_ns = clock_mono_ns() + ASK_NS;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        struct timespec at = {.tv_sec = (time_t)(due_ns / NS_PER_S),
                              .tv_nsec = (long)(due_ns % NS_PER_S)};
        if (clock_mono_ns() < due_ns) {
            pthread_cond_timedwait(&w->wake, &w->lock, &at);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        ask(w);
        pthread_mutex_lock(&w->lock);
        due_ns = clock_mono_ns() > due_ns + ASK_NS ? clock_mono_ns() : due_ns + ASK_NS;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- the sensor ---- */

static int split_words(struct wall *w, const char *command, struct err *e) {
    size_t n = 0;
    w->text = strdup(command);
    if (!w->text) {
        return err_set(e, EE_NOMEM, "out of memory for the wall sensor");
    }
    char *rest = NULL;
    for (char *word = strtok_r(w->text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (n == MAX_WORDS) {
            return err_set(e, EE_USAGE, "more than %d words in \"%.80s\"", MAX_WORDS, command);
        }
        w->argv[n++] = word;
    }
    return n ? 0
             : err_set(e, EE_USAGE, "which command? Write %s", "redfish:COMMAND or redfish:@FILE");
}

static struct wall *allocate(void) {
    struct wall *w = calloc(1, sizeof(*w));
    pthread_condattr_t attr;
    if (w) {
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&w->wake, &attr);
        pthread_condattr_destroy(&attr);
        pthread_mutex_init(&w->lock, NULL);
    }
    return w;
}

static int probe(struct sensor *s, const char *arg,
                 int (*parse)(const char *, double *, char *, size_t), struct err *e) {
    struct wall *w = allocate();
    s->state = w;
    if (!w) {
        return err_set(e, EE_NOMEM, "out of memory for the wall sensor");
    }
    w->parse = parse;
    int rc = split_words(w, arg[0] == '@' ? arg + 1 : arg, e);
    if (rc) {
        return rc;
    }
    w->file = arg[0] == '@' ? w->argv[0] : NULL;
    ask(w);
    if (!w->answered) {
        return err_set(e, EE_MISSING, "%s", w->why);
    }
    struct sensor_component *c = sensor_add(s, "wall", "wall");
    c->info.gain = GAIN_WALL;
    c->info.whole = true;
    c->power_update_ns = UPDATE_NS;
    note_set(c->power_source, sizeof(c->power_source), "%s", s->ops->name);
    note_set(c->info.source, sizeof(c->info.source), "%s", s->ops->name);
    int errnum = pthread_create(&w->thread, NULL, asker, w);
    w->has_thread = errnum == 0;
    return errnum ? err_errno(e, errnum, "cannot start the wall sensor's thread") : 0;
}

static int ipmi_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    return probe(s, env->arg && *env->arg ? env->arg : "ipmitool dcmi power reading",
                 wall_parse_ipmi, e);
}

static int redfish_probe(struct sensor *s, const struct sensor_env *env, struct err *e) {
    return probe(s, env->arg ? env->arg : "", wall_parse_redfish, e);
}

static void wall_read(struct sensor *s, size_t i, enum sensor_depth depth,
                      struct sensor_value *out) {
    (void)i;
    struct wall *w = s->state;
    if (depth != SENSOR_FULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    int64_t age_ns = clock_mono_ns() - w->t_ns;
    if (age_ns > STALE_NS || (!w->answered && age_ns > 2 * ASK_NS)) {
        out->power = SENSOR_FAILED;
        note_set(out->power_why, sizeof(out->power_why), "no answer for %.0f s%s%s",
                 clock_ns_to_s(age_ns), w->why[0] ? ": " : "", w->why);
    } else {
        sensor_value_ok_power(out, sensor_now_ns(s), w->watts);
    }
    pthread_mutex_unlock(&w->lock);
}

static void wall_close(struct sensor *s) {
    struct wall *w = s->state;
    if (!w) {
        return;
    }
    if (w->has_thread) {
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->text);
    free(w);
}

static void ipmi_advise(const struct sensor_env *env, char *out, size_t size) {
    char path[SYSFILE_PATH_MAX];
    bool has_device = sysfile_path(path, env->root, "/dev", "ipmi0") && access(path, F_OK) == 0;
    if (has_device) {
        note_set(out, size,
                 "sudo apt install ipmitool && sudo chgrp adm /dev/ipmi0 && sudo chmod "
                 "g+rw /dev/ipmi0");
    } else if (!sensor_in_virtual_machine(env->root)) {
        note_set(out, size,
                 "where there is a management controller: sudo modprobe -a ipmi_si "
                 "ipmi_devintf");
    }
}

const struct sensor_ops sensor_ipmi = {
    .name = "ipmi",
    .what = "the whole node by its management controller (IPMI DCMI)",
    .covers = 0,
    .automatic = false,
    .probe = ipmi_probe,
    .advise = ipmi_advise,
    .read = wall_read,
    .close = wall_close,
};

const struct sensor_ops sensor_redfish = {
    .name = "redfish",
    .what = "the whole node by its management controller (Redfish)",
    .covers = 0,
    .automatic = false,
    .probe = redfish_probe,
    .read = wall_read,
    .close = wall_close,
};
