#include "serve/composer.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Grows; emptied at the front. */
struct turns {
    struct composed *at;
    size_t head, n, cap;
};

struct composer {
    bool (*follow_up)(void *ctx, const struct record *r, struct follow_up *out);
    void *ctx;
    pthread_t thread;
    bool has_thread;
    int fd;
    pthread_mutex_t mutex; /* over all below */
    pthread_cond_t given;
    struct turns todo, done;
    bool quits;
    bool no_memory;
};

static bool push(struct turns *t, const struct composed *c) {
    if (t->head == t->n) {
        t->head = t->n = 0;
    }
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct composed *grown = reallocarray(t->at, cap, sizeof(*grown));
        if (!grown) {
            return false;
        }
        t->at = grown;
        t->cap = cap;
    }
    t->at[t->n++] = *c;
    return true;
}

static bool pop(struct turns *t, struct composed *out) {
    if (t->head == t->n) {
        return false;
    }
    *out = t->at[t->head++];
    return true;
}

static void tell(const struct composer *c) {
    const uint64_t one = 1;
    while (write(c->fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void *composer_main(void *arg) {
    struct composer *c = arg;
    const struct sched_param none = {0};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none); /* the loop goes first */
    pthread_mutex_lock(&c->mutex);
    for (;;) {
        struct composed turn;
        while (!c->quits && !pop(&c->todo, &turn)) {
            pthread_cond_wait(&c->given, &c->mutex);
        }
        if (c->quits) {
            break;
        }
        pthread_mutex_unlock(&c->mutex);
        turn.goes_on = c->follow_up(c->ctx, turn.record, &turn.next);
        pthread_mutex_lock(&c->mutex);
        if (!push(&c->done, &turn)) {
            c->no_memory = true;
            free((char *)turn.next.payload.bytes);
        }
        tell(c);
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

int composer_start(struct composer **out,
                   bool (*follow_up)(void *ctx, const struct record *r, struct follow_up *out),
                   void *ctx, struct err *e) {
    struct composer *c = calloc(1, sizeof(*c));
    *out = NULL;
    if (!c) {
        return err_set(e, EE_NOMEM, "conversations: out of memory");
    }
    *c = (struct composer){.follow_up = follow_up, .ctx = ctx};
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->given, NULL);
    c->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int errnum = c->fd < 0 ? errno : pthread_create(&c->thread, NULL, composer_main, c);
    c->has_thread = errnum == 0;
    if (errnum) {
        composer_stop(c);
        return err_errno(e, errnum, "cannot start a thread for conversations");
    }
    *out = c;
    return 0;
}

bool composer_give(struct composer *c, const struct record *record) {
    const struct composed turn = {.record = record};
    pthread_mutex_lock(&c->mutex);
    bool ok = !c->no_memory && push(&c->todo, &turn);
    pthread_cond_signal(&c->given);
    pthread_mutex_unlock(&c->mutex);
    return ok;
}

bool composer_take(struct composer *c, struct composed *out) {
    uint64_t count;
    while (read(c->fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&c->mutex);
    bool ok = pop(&c->done, out);
    pthread_mutex_unlock(&c->mutex);
    return ok;
}

int composer_fd(const struct composer *c) {
    return c->fd;
}

void composer_stop(struct composer *c) {
    if (!c) {
        return;
    }
    pthread_mutex_lock(&c->mutex);
    c->quits = true;
    pthread_cond_signal(&c->given);
    pthread_mutex_unlock(&c->mutex);
    if (c->has_thread) {
        pthread_join(c->thread, NULL);
    }
    struct composed turn;
    while (pop(&c->done, &turn)) {
        free((char *)turn.next.payload.bytes);
    }
    if (c->fd >= 0) {
        close(c->fd);
    }
    pthread_cond_destroy(&c->given);
    pthread_mutex_destroy(&c->mutex);
    free(c->todo.at);
    free(c->done.at);
    free(c);
}
