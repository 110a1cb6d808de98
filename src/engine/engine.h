/*
 * An engine: one model, ready to answer many requests at once. Today's engine is libllama in this
 * process; whatever else answers requests implements the same functions.
 *
 * Engines run in worker processes only: loading a damaged model may kill the process. A struct
 * engine belongs to one thread. Strings and arrays returned through results are allocated in the
 * caller's arena. All times are CLOCK_MONOTONIC nanoseconds.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENGINE_ALL_GPU_LAYERS = -1 };

/* AUTO: on where an accelerator computes. */
enum engine_switch { ENGINE_AUTO, ENGINE_ON, ENGINE_OFF };

/* What one start of an engine needs. Zeroed fields take the default in brackets. */
struct engine_opts {
    const char *model_path;
    int n_threads;    /* [one a hardware thread this process may use] */
    int n_gpu_layers; /* 0 none; ENGINE_ALL_GPU_LAYERS */
    int n_seq_max;    /* requests in flight [1] */
    int n_ctx_seq;    /* tokens a request may hold, prompt and answer [512] */
    int n_batch;      /* tokens an engine step may hold: prefill chunk [512] */
    bool use_mmap;    /* map the weights; false reads them, so that resident memory counts */
    bool kv_unified;  /* one KV cache for all sequences instead of one each */
    int n_outputs;    /* tokens of a step whose logits engine_compute may be asked for; for
                         engine_run the default does [one a sequence, at least 32] */
    enum engine_switch device_sampling; /* pick tokens on the device where the backend can */
    bool skip_checks; /* the file was checked before: nothing but the start is timed */
};

struct engine_info {
    char arch[64];
    char description[128];
    char device[128]; /* "CPU" or the accelerator's name */
    int64_t n_params;
    int64_t weights_bytes;
    int64_t
        host_weights_bytes; /* of them, with all layers on an accelerator: on the host; else 0 */
    int64_t kv_bytes;       /* by arithmetic, for the context as created; 0 with skip_checks */
    int64_t kv_token_bytes; /* per token of one sequence; 0 with skip_checks */
    int n_ctx_seq;          /* as created; at least what was asked for */
    int n_threads;
    int n_gpu_layers;           /* as asked for; 0 when no accelerator is there */
    int64_t device_taken_bytes; /* of the accelerator, until now; 0 without one */
    bool device_sampling;
};

/* Moments of a start, for the cold-start waterfall. */
struct engine_times {
    int64_t backends_ns;
    int64_t weights_ns;
    int64_t context_ns;
};

struct engine;

/*
 * Opens the model and creates its context. Refuses, before reading weights, a file that is not
 * whole, has no tokenizer, is no text generator, or would not fit in memory.
 */
int engine_open(const struct engine_opts *opts, struct engine **out, struct engine_times *times,
                struct err *e) EE_MUST_CHECK;
void engine_close(struct engine *g);
/* As engine_open with the vocabulary alone, and without the check of memory: only
 * engine_tokenize_chat and engine_tokenize_text may be called. */
int engine_open_vocabulary(const char *model_path, struct engine **out,
                           struct err *e) EE_MUST_CHECK;
/* What an engine with so many GPU layers would compute on: "CPU", or the accelerator's name. */
int engine_device_name(int n_gpu_layers, char *buf, size_t size, struct err *e) EE_MUST_CHECK;
/* Why an accelerator's backend that is installed is not used; "" when there is nothing to say. Tries
 * to load each again, which is why no start of an engine does it by itself. */
int engine_unusable_backend(char *buf, size_t size, struct err *e) EE_MUST_CHECK;
/* The engine library's version, "v0.5.0" or the like. */
const char *engine_version(void);
void engine_get_info(const struct engine *g, struct engine_info *info);

struct engine_message {
    const char *role;
    const char *content;
};

/*
 * The prompt's token ids for a conversation, by the chat template in the model file. A template
 * the engine does not know is refused (EE_UNSUPPORTED): another one would change the answers.
 */
int engine_tokenize_chat(struct engine *g, const struct engine_message *messages, size_t n_messages,
                         struct arena *a, int32_t **tokens, size_t *n_tokens,
                         struct err *e) EE_MUST_CHECK;

/*
 * A conversation and the answer a model should learn to give: the prompt's tokens exactly as
 * engine_tokenize_chat has them, then the answer's, then what the template ends an answer with, up to
 * the token that ends generation. *n_prompt of *n_tokens are the prompt's.
 */
int engine_tokenize_answer(struct engine *g, const struct engine_message *messages,
                           size_t n_messages, const char *answer, struct arena *a, int32_t **tokens,
                           size_t *n_tokens, size_t *n_prompt, struct err *e) EE_MUST_CHECK;

/* A prompt of text completions as servers read it: what belongs before a document is added, and names
 * of control tokens in the text are those tokens. */
int engine_tokenize_prompt(struct engine *g, const char *text, size_t len, struct arena *a,
                           int32_t **tokens, size_t *n_tokens, struct err *e) EE_MUST_CHECK;

struct engine_sampling {
    double temperature;  /* 0: greedy, and the rest is ignored */
    double top_p;        /* 0 or 1: off */
    int top_k;           /* 0: off */
    uint32_t seed;       /* with the request's ordinal: its own stream */
    const char *grammar; /* GBNF with the rule "root": answers are sentences of it, picked on the
                            host. EE_FORMAT where it does not parse. NULL: any text */
};

struct engine_request {
    const int32_t *prompt;
    size_t n_prompt;
    int max_tokens;    /* of the answer */
    bool force_length; /* go on past the end of the answer until max_tokens */
    int64_t arrive_ns; /* not taken before this time; 0: at once. Ascending over the requests */
};

enum engine_finish {
    ENGINE_STOP,   /* the model ended its answer */
    ENGINE_LENGTH, /* max_tokens reached */
    ENGINE_FORCED, /* max_tokens reached, as force_length asked */
    ENGINE_ERROR,
};

struct engine_result {
    enum engine_finish finish;
    const char *error; /* with ENGINE_ERROR */
    size_t n_tokens;   /* of the answer, without the token that ended it */
    int32_t *tokens;
    int64_t *token_ns; /* when each was known */
    int64_t queued_ns; /* when it had come and a place in the batch was free for it */
    int64_t started_ns;
    int64_t done_ns;
};

struct engine_run_stats {
    int64_t begin_ns;
    int64_t end_ns;
    int64_t engine_ns;      /* inside engine calls; the rest is ours */
    int64_t steps;          /* calls of the engine */
    int64_t passes;         /* of the model: the batches that the engine makes of them */
    int64_t peak_kv_tokens; /* most tokens held at once */
};

typedef void engine_progress_fn(size_t n_done, int64_t n_output_tokens, void *ctx);

struct engine_workload {
    const struct engine_request *requests;
    size_t n_requests;
    int concurrency; /* at most the engine's n_seq_max */
    struct engine_sampling sampling;
    engine_progress_fn *progress; /* called now and then; or NULL */
    void *progress_ctx;
    int64_t until_ns;                  /* none is taken later; 0: all are */
    const volatile sig_atomic_t *stop; /* ends the run at once when it is not zero; or NULL */
};

/*
 * Answers all requests as a closed loop: `concurrency` of them in flight, the next one taken when
 * one ends. Places are given by step, lowest place first, never by clock, so that equal workloads
 * build equal batches and, with greedy sampling, equal answers. Prompts are prefilled in chunks
 * between the tokens of running answers.
 * A request that fails alone is reported in its result; 0 means the workload as a whole ran. A
 * request that was never taken has queued_ns 0, one that was stopped done_ns 0.
 */
int engine_run(struct engine *g, const struct engine_workload *work, struct arena *a,
               struct engine_result *results, struct engine_run_stats *stats,
               struct err *e) EE_MUST_CHECK;

/* Appends the token's own bytes, which may be a part of a character. */
void engine_token_bytes(const struct engine *g, int32_t token, struct buf *out);
/* The answer as UTF-8; bytes that are not valid UTF-8 become U+FFFD. */
int engine_answer_text(const struct engine *g, const struct engine_result *result, struct buf *out,
                       struct err *e) EE_MUST_CHECK;

const char *engine_finish_name(enum engine_finish f);

/*
 * Below that: single steps, for those who want the logits. Not to be mixed with engine_run, which
 * forgets all sequences.
 */

struct engine_token {
    int32_t id;
    int32_t pos; /* in its sequence, from 0 */
    int32_t seq; /* below n_seq_max */
    bool output; /* its logits are wanted */
};

/*
 * Computes up to n_batch tokens, each of which follows what its sequence holds. *logits receives a
 * row of engine_n_vocab floats for each token with output set, in their order; it is the engine's,
 * until the next call.
 */
int engine_compute(struct engine *g, const struct engine_token *tokens, size_t n,
                   const float **logits, struct err *e) EE_MUST_CHECK;
/* Drops what a sequence holds from position pos on. */
void engine_forget(struct engine *g, int32_t seq, int32_t pos);
size_t engine_n_vocab(const struct engine *g);

/*
 * Plain text as token ids, without a chat template. Text that looks like a control token stays
 * text. with_special adds what the model's tokenizer puts around a document.
 */
int engine_tokenize_text(struct engine *g, const char *text, size_t len, bool with_special,
                         struct arena *a, int32_t **tokens, size_t *n_tokens,
                         struct err *e) EE_MUST_CHECK;
/* The token that the model's tokenizer puts before (after) a document; -1 where it puts none. */
int32_t engine_begin_token(const struct engine *g);
int32_t engine_end_token(const struct engine *g);
/* EE_UNSUPPORTED, with the first difference, unless token ids mean the same to both: only then can
 * their logits be compared. Works on vocabularies alone. */
int engine_check_same_vocabulary(const struct engine *a, const struct engine *b,
                                 struct err *e) EE_MUST_CHECK;

#endif
