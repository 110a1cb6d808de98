/*
 * What a response says: the JSON of its events, read after the run from the record's log. Chat and
 * text completions in OpenAI's shape and its known variations (reasoning_content and reasoning;
 * usage in the last chunk or in each; error objects inside a stream).
 */
#ifndef SERVE_REPLY_H
#define SERVE_REPLY_H

#include "serve/event_log.h"
#include "serve/record.h"
#include "serve/sse.h"

/* What an event brought. Flags: a chunk may hold several. */
enum reply_part {
    REPLY_CONTENT = 1 << 0,   /* non-empty text */
    REPLY_REASONING = 1 << 1, /* non-empty reasoning text */
    REPLY_TOOL = 1 << 2,      /* a piece of a tool call */
    REPLY_FINISH = 1 << 3,    /* finish_reason */
    REPLY_USAGE = 1 << 4,
    REPLY_DONE = 1 << 5,
    REPLY_ERROR = 1 << 6,
    REPLY_TOKENS = REPLY_CONTENT | REPLY_REASONING | REPLY_TOOL,
};

/* An event with tokens. */
struct reply_event {
    int64_t ns;
    uint32_t parts;
    uint32_t tokens;   /* that it brought; 0: not known */
    uint32_t text_end; /* length of the answer's text, reasoning included, up to here */
    bool coalesced;    /* came in one read with the one before: its gap is not known */
    int64_t sent_ns;   /* the null server's own time of its write; 0: not said */
    int64_t late_ns;   /* that, after the moment of its script */
};

struct reply {
    enum outcome outcome;       /* the record's, or what its events say */
    struct reply_event *events; /* those with tokens, in order */
    size_t n_events;
    size_t n_coalesced;
    int64_t *choice_ns; /* every chunk with a choice, tokens or not: what other tools time by */
    size_t n_choices;
    int64_t first_event_ns;  /* whatever it held; 0: none */
    int64_t first_token_ns;  /* first event with tokens */
    int64_t first_output_ns; /* first that is not reasoning alone */
    int64_t last_token_ns;
    int64_t done_ns;
    bool has_finish, has_done;
    char finish[24];
    int64_t prompt_tokens;    /* by the server's usage; -1: not said */
    int64_t output_tokens;    /* the same */
    int64_t reasoning_tokens; /* the same */
    int64_t cached_tokens;    /* of the prompt, the same */
    char message[200];        /* of an error; may be empty */
    struct buf text;          /* reasoning and content in order of arrival */
    struct buf content;       /* content alone */
};

/*
 * Output tokens that came with text: usage counts the end token too, which no event carries. -1
 * when not known.
 */
int64_t reply_tokens(const struct reply *p);
/*
 * Tokens of event i, if they are known: by usage in every chunk, or because there are as many events
 * as tokens. 0 otherwise. came is reply_tokens.
 */
uint32_t reply_event_tokens(const struct reply *p, int64_t came, size_t i);
/* Whether that is known of all events. */
bool reply_knows_event_tokens(const struct reply *p, int64_t came);

/* Reads one record after another; what a reply points to is valid until the next. */
struct reply_reader {
    struct reply reply;
    struct event_reader log;
    struct sse_message message;
    size_t cap_events, cap_choices;
    size_t value_at;   /* the last chunk's text in its data, for chunks that differ in it alone; */
    size_t value_tail; /* bytes behind the text; 0: there is none */
    struct buf last_data; /* that chunk's data */
    uint32_t last_parts;
    int64_t sent_ns, late_ns; /* what the last token chunk said of its write */
    int64_t usage_so_far;     /* completion tokens, where each chunk says */
    uint64_t read_number;     /* of the read that the current event came in */
    uint64_t token_read;      /* of the last event with tokens */
};

void reply_reader_init(struct reply_reader *r);
void reply_reader_release(struct reply_reader *r);
/* NULL when memory is out. */
const struct reply *reply_read(struct reply_reader *r, const struct record *record);

#endif
