/* Prompts from every source; workload_send.c makes requests of them. */
#include "serve/workload.h"

#include "base/fs.h"
#include "base/json.h"
#include "base/rng.h"
#include "quality/task.h"
#include "serve/words.h"
#include "serve/workload_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTH = 4 << 20, MAX_PROMPTS = 1000000, DEFAULT_PROMPTS = 256 };

static const uint64_t PROMPT_STREAM = UINT64_C(0x70726f6d7074); /* "prompt" */
static const uint64_t PREFIX_STREAM = UINT64_C(0x707265666978); /* "prefix" */
static const uint64_t BLOCK_STREAM = UINT64_C(0x626c6f636b);    /* "block" */
static const uint64_t LENGTH_STREAM = UINT64_C(0x6c656e677468); /* "length" */

int length_range_parse(const char *text, const char *what, struct length_range *out,
                       struct err *e) {
    char *end = NULL;
    long from = strtol(text, &end, 10);
    long to = from;
    bool ok = end != text;
    if (ok && strncmp(end, "..", 2) == 0) {
        const char *second = end + 2;
        to = strtol(second, &end, 10);
        ok = end != second;
    }
    if (!ok || *end || from < 1 || to < from || to > MAX_LENGTH) {
        return err_set(e, EE_USAGE,
                       "%s is \"%.40s\"; give a whole number from 1, or a range such "
                       "as 64..256",
                       what, text);
    }
    *out = (struct length_range){(int)from, (int)to};
    return 0;
}

static int draw_length(const struct length_range *l, struct rng *r) {
    return l->from + (int)rng_below(r, (uint64_t)(l->to - l->from + 1));
}

static int no_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "prompts: out of memory");
}

static bool is_chat(const struct workload *w) {
    return w->target.api == API_CHAT;
}

/* ---- counting ---- */

/* Tokens of the prompt as the model sees it: chat messages by the model's own template. */
static int tokenize_prompt(struct workload *w, struct ask *p, struct arena *a, struct err *e) {
    struct engine *g = w->opts.vocabulary;
    if (!p->messages) {
        return engine_tokenize_prompt(g, p->text, strlen(p->text), a, &p->tokens, &p->n_tokens, e);
    }
    size_t n = json_array_size(p->messages);
    struct engine_message *m = arena_array(a, n, sizeof(*m));
    if (!m) {
        return no_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(p->messages, i);
        m[i] = (struct engine_message){json_str_or(v, "role", ""), json_str_or(v, "content", "")};
    }
    return engine_tokenize_chat(g, m, n, a, &p->tokens, &p->n_tokens, e);
}

/* With a system message, because many templates put one of their own where there is none, and not
 * every implementation of a template does. */
static json_t *user_message(const char *text) {
    return json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content",
                     "You are a helpful assistant.", "role", "user", "content", text);
}

/* words_count_fn: tokens of a prompt with that user message. */
static int count_tokens(void *ctx, const char *text, struct err *e) {
    struct workload *w = ctx;
    struct arena a = ARENA_INIT;
    struct ask p = {.text = text};
    int rc = 0;
    if (is_chat(w)) {
        p.messages = user_message(text);
        rc = p.messages ? 0 : no_memory(e);
    }
    rc = rc ? rc : tokenize_prompt(w, &p, &a, e);
    json_decref(p.messages);
    arena_release(&a);
    return rc ? rc : (int)p.n_tokens;
}

/* words_count_fn: tokens of a bare text. */
static int count_text_tokens(void *ctx, const char *text, struct err *e) {
    struct workload *w = ctx;
    struct arena a = ARENA_INIT;
    int32_t *tokens = NULL;
    size_t n = 0;
    int rc = engine_tokenize_text(w->opts.vocabulary, text, strlen(text), false, &a, &tokens, &n,
                                  e);
    arena_release(&a);
    return rc ? rc : (int)n;
}

/* ---- prompts of one kind or another ---- */

/* A prompt that is one user message, or that text. */
static int set_text(struct workload *w, struct ask *p, const char *text, struct err *e) {
    p->text = arena_strdup(&w->arena, text);
    if (is_chat(w)) {
        p->messages = user_message(text);
    }
    return !p->text || (is_chat(w) && !p->messages) ? no_memory(e) : 0;
}

/* Words up to a length in tokens, or in words without a vocabulary. */
static int fill(struct workload *w, struct buf *text, struct rng *r, int length, struct err *e) {
    if (w->opts.vocabulary) {
        return words_fill(text, r, length, count_tokens, w, e);
    }
    size_t have = 0;
    for (const char *c = text->data; *c; c++) {
        have += *c == ' ';
    }
    have += text->len > 0;
    if ((size_t)length > have) {
        words_add(text, r, (size_t)length - have);
    }
    return buf_check(text, "prompt", e);
}

static int add_prefix(struct workload *w, struct buf *text, size_t group, struct err *e) {
    struct rng r;
    rng_init_stream(&r, w->opts.seed ^ (group << 32), PREFIX_STREAM);
    if (w->opts.vocabulary) {
        return words_fill(text, &r, w->opts.prefix_tokens, count_text_tokens, w, e);
    }
    words_add(text, &r, (size_t)w->opts.prefix_tokens);
    return 0;
}

static int make_synthetic(struct workload *w, struct ask *p, size_t i, int length, struct err *e) {
    struct buf text;
    buf_init(&text);
    struct rng r;
    rng_init_stream(&r, w->opts.seed + i, PROMPT_STREAM);
    int rc = 0;
    if (w->opts.prefix_tokens > 0) {
        size_t groups = w->opts.prefix_groups > 0 ? (size_t)w->opts.prefix_groups : 1;
        rc = add_prefix(w, &text, i % groups, e);
    }
    rc = rc ? rc : fill(w, &text, &r, length, e);
    rc = rc ? rc : set_text(w, p, text.data, e);
    buf_release(&text);
    return rc;
}

static int alloc_prompts(struct workload *w, size_t n, struct err *e) {
    w->n = n;
    w->prompts = arena_array(&w->arena, n, sizeof(*w->prompts));
    return w->prompts ? 0 : no_memory(e);
}

static int synthetic_prompts(struct workload *w, struct err *e) {
    const struct workload_opts *o = &w->opts;
    struct rng r;
    rng_init_stream(&r, o->seed, LENGTH_STREAM);
    int rc = alloc_prompts(w, o->n ? o->n : DEFAULT_PROMPTS, e);
    for (size_t i = 0; i < w->n && !rc; i++) {
        struct ask *p = &w->prompts[i];
        rc = make_synthetic(w, p, i, draw_length(&o->input, &r), e);
        p->max_tokens = draw_length(&o->output, &r);
    }
    w->lengths_are_tokens = o->vocabulary != NULL;
    snprintf(w->description, sizeof(w->description), "%zu synthetic prompts of %d..%d %s", w->n,
             o->input.from, o->input.to, w->lengths_are_tokens ? "tokens" : "words");
    return rc;
}

/* The item's messages, and as one text for completions; the mark stands first. */
static int task_prompt(struct workload *w, struct ask *p, const struct task_item *item,
                       struct err *e) {
    struct buf text;
    struct buf first;
    buf_init(&text);
    buf_init(&first);
    p->id = arena_strdup(&w->arena, item->id);
    p->max_tokens = w->opts.output.to;
    p->messages = json_array();
    for (size_t k = 0; k < item->n_messages; k++) {
        const struct task_message *m = &item->messages[k];
        const char *content = m->content;
        if (k == 0 && w->opts.mark) {
            buf_addf(&first, "%s%s", w->opts.mark, m->content);
            content = first.data ? first.data : "";
        }
        json_array_append_new(p->messages,
                              json_pack("{s:s, s:s}", "role", m->role, "content", content));
        buf_addf(&text, "%s%s", k ? "\n\n" : "", content);
    }
    p->text = arena_strdup(&w->arena, text.data ? text.data : "");
    bool ok = p->id && p->text && !first.failed && !text.failed &&
              json_array_size(p->messages) == item->n_messages;
    buf_release(&first);
    buf_release(&text);
    if (!is_chat(w)) {
        json_decref(p->messages);
        p->messages = NULL;
    }
    return ok ? 0 : no_memory(e);
}

static int task_prompts(struct workload *w, struct err *e) {
    struct task_set set;
    enum task_kind kind;
    char path[64];
    int rc = task_kind_from_name(w->opts.task, &kind, e);
    snprintf(path, sizeof(path), "tasks/%.20s/eval.jsonl", w->opts.task);
    char *file = rc                  ? NULL
                 : w->opts.task_file ? strdup(w->opts.task_file)
                                     : fs_join(w->opts.data_dir, path);
    rc = rc ? rc : file ? task_load(kind, file, w->opts.n, &set, e) : no_memory(e);
    free(file);
    if (rc) {
        return rc;
    }
    rc = alloc_prompts(w, set.n_items, e);
    for (size_t i = 0; i < set.n_items && !rc; i++) {
        rc = task_prompt(w, &w->prompts[i], &set.items[i], e);
    }
    snprintf(w->description, sizeof(w->description), "%zu items of task %s", set.n_items,
             w->opts.task);
    task_set_release(&set);
    return rc;
}

static int file_prompt(struct workload *w, struct ask *p, json_t *row, struct err *e) {
    json_t *messages = json_object_get(row, "messages");
    const char *text = json_str_or(row, "prompt", NULL);
    int rc = 0;
    if (json_array_size(messages) > 0 && is_chat(w)) {
        p->messages = json_incref(messages);
    } else if (text && *text) {
        rc = set_text(w, p, text, e);
    } else {
        return err_set(e, EE_FORMAT, "expected \"%s\"",
                       is_chat(w) ? "messages\": [...] or \"prompt\": \"text" : "prompt\": \"text");
    }
    const char *id = json_str_or(row, "id", NULL);
    p->id = id ? arena_strdup(&w->arena, id) : NULL;
    int64_t max_tokens = json_int_or(row, "max_tokens", w->opts.output.to);
    if (max_tokens < 1 || max_tokens > MAX_LENGTH) {
        return err_set(e, EE_FORMAT, "\"max_tokens\" must be 1 to %d", MAX_LENGTH);
    }
    p->max_tokens = (int)max_tokens;
    json_t *turns = json_object_get(row, "turns");
    if (json_is_array(turns) && is_chat(w)) {
        p->turns_owner = json_incref(turns);
        p->turns = turns;
    }
    return rc;
}

static int file_prompts(struct workload *w, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = fs_read(w->opts.prompts, &text, e);
    size_t lines = 0;
    for (const char *c = text.data; *c; c++) {
        lines += *c == '\n';
    }
    rc = rc ? rc : alloc_prompts(w, lines + 1, e);
    w->n = 0;
    size_t number = 0;
    char *save = NULL;
    for (char *line = strtok_r(text.data, "\n", &save); line && !rc;
         line = strtok_r(NULL, "\n", &save)) {
        number++;
        if (line[strspn(line, " \t\r")] == '\0' || (w->opts.n && w->n == w->opts.n)) {
            continue;
        }
        json_t *row = NULL;
        char what[300];
        snprintf(what, sizeof(what), "%.250s row %zu", w->opts.prompts, number);
        rc = json_parse(line, strlen(line), what, &row, e);
        if (!rc) {
            rc = file_prompt(w, &w->prompts[w->n++], row, e);
            rc = rc ? err_prefix(e, "%s", what) : 0;
            json_decref(row);
        }
    }
    if (!rc && w->n == 0) {
        rc = err_set(e, EE_FORMAT, "%s holds no prompt", w->opts.prompts);
    }
    snprintf(w->description, sizeof(w->description), "%zu prompts of %.120s", w->n,
             w->opts.prompts);
    buf_release(&text);
    return rc;
}

/* A trace's prompt: a block of words for each hash id, so that equal ids are equal text. */
static int trace_prompt(struct workload *w, struct ask *p, const struct trace_row *row, size_t i,
                        struct err *e) {
    struct buf text;
    struct rng r;
    buf_init(&text);
    int left = row->input_tokens;
    for (size_t k = 0; k < row->n_hash_ids && left > TRACE_BLOCK_TOKENS; k++) {
        rng_init_stream(&r, w->opts.seed ^ (uint64_t)row->hash_ids[k], BLOCK_STREAM);
        words_add(&text, &r, TRACE_BLOCK_TOKENS);
        left -= TRACE_BLOCK_TOKENS;
    }
    rng_init_stream(&r, w->opts.seed + i, PROMPT_STREAM);
    int rc = fill(w, &text, &r, row->input_tokens, e);
    rc = rc ? rc : set_text(w, p, text.data, e);
    p->max_tokens = row->output_tokens;
    buf_release(&text);
    return rc;
}

static int trace_prompts(struct workload *w, struct err *e) {
    struct trace_row *rows = NULL;
    struct arena a = ARENA_INIT;
    size_t n = 0;
    int rc = trace_load(w->opts.trace, w->opts.n, w->opts.trace_speed, &a, &rows, &n, &w->n_skipped,
                        e);
    rc = rc ? rc : alloc_prompts(w, n, e);
    w->arrivals = rc ? NULL : arena_array(&w->arena, n, sizeof(*w->arrivals));
    if (!rc && !w->arrivals) {
        rc = no_memory(e);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        w->arrivals[i] = rows[i].at_ns;
        rc = trace_prompt(w, &w->prompts[i], &rows[i], i, e);
        rc = rc ? err_prefix(e, "%s, request %zu", w->opts.trace, i + 1) : 0;
    }
    w->lengths_are_tokens = w->opts.vocabulary != NULL;
    snprintf(w->description, sizeof(w->description), "%zu requests of trace %.100s, lengths in %s",
             n, w->opts.trace, w->lengths_are_tokens ? "tokens" : "words");
    arena_release(&a);
    return rc;
}

int workload_check(const struct workload_opts *o, enum api api, struct err *e) {
    int sources = (o->task != NULL) + (o->prompts != NULL) + (o->trace != NULL) + (o->input.to > 0);
    if (sources != 1) {
        return err_set(e, EE_USAGE,
                       "say what to ask with one of --task, --prompts, --trace and --input");
    }
    if (o->n > MAX_PROMPTS) {
        return err_set(e, EE_USAGE, "at most %d prompts can be made", MAX_PROMPTS);
    }
    if (o->output.to < 1 && !o->trace) {
        return err_set(e, EE_USAGE, "say with --output how many tokens an answer may have");
    }
    if (o->send_ids && (api == API_CHAT || !o->vocabulary)) {
        return err_set(e, EE_USAGE,
                       "token ids can be sent to text completions only, and need --tokenizer");
    }
    if (o->turns > 1 && api != API_CHAT) {
        return err_set(e, EE_USAGE, "conversations need chat completions");
    }
    return 0;
}

int workload_make(const struct workload_opts *opts, const struct target *target, struct workload *w,
                  struct err *e) {
    *w = (struct workload){.opts = *opts, .target = *target};
    int rc = workload_check(opts, target->api, e);
    if (!rc) {
        rc = opts->task      ? task_prompts(w, e)
             : opts->prompts ? file_prompts(w, e)
             : opts->trace   ? trace_prompts(w, e)
                             : synthetic_prompts(w, e);
    }
    for (size_t i = 0; i < w->n && !rc && opts->vocabulary; i++) {
        rc = tokenize_prompt(w, &w->prompts[i], &w->arena, e);
        rc = rc ? err_prefix(e, "prompt %zu", i + 1) : 0;
    }
    if (!rc && target->host[0]) {
        rc = workload_payloads(w, e);
    }
    if (rc) {
        workload_release(w);
    }
    return rc;
}

bool workload_has_turns(const struct workload *w) {
    bool any = w->opts.turns > 1;
    for (size_t i = 0; i < w->n && !any; i++) {
        any = json_array_size(w->prompts[i].turns) > 0;
    }
    return any;
}

void workload_release(struct workload *w) {
    for (size_t i = 0; w->prompts && i < w->n; i++) {
        json_decref(w->prompts[i].messages);
        json_decref(w->prompts[i].turns_owner);
    }
    arena_release(&w->arena);
    *w = (struct workload){0};
}
