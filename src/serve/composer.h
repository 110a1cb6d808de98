/*
 * Makes the next turns of conversations in a thread of its own, because reading an answer's JSON and
 * writing the next request's takes as long as dozens of reads: other streams of the event loop would
 * wait. One a loop; the loop gives ended records and takes what became of them.
 */
#ifndef SERVE_COMPOSER_H
#define SERVE_COMPOSER_H

#include "serve/load.h"

struct composer;

struct composed {
    const struct record *record; /* that was answered */
    bool goes_on;                /* else the conversation is over */
    struct follow_up next;       /* if it goes on; its bytes are the taker's */
};

/* follow_up as in struct load; it is called in the composer's thread. */
int composer_start(struct composer **out,
                   bool (*follow_up)(void *ctx, const struct record *r, struct follow_up *out),
                   void *ctx, struct err *e) EE_MUST_CHECK;
/* From the loop's thread. The record stays as it is until composer_stop. False: memory is out. */
bool composer_give(struct composer *c, const struct record *record);
/* False: nothing is ready. */
bool composer_take(struct composer *c, struct composed *out);
/* Readable while something may be ready; composer_take clears it. */
int composer_fd(const struct composer *c);
/* Ends the thread; what was not taken is dropped. NULL is allowed. */
void composer_stop(struct composer *c);

#endif
