#include "adapt/train_rows.h"

#include "base/buf.h"
#include "base/hash.h"
#include "engine/engine.h"
#include "engine/gguf_info.h"
#include "quality/prompt.h"

#include <jansson.h>
#include <string.h>

/* The first right answer; where there is none, the words the prompt asks for in that case. */
static const char *answer_of(const struct task_item *item) {
    const struct prompt *p = prompt_for(item->kind);
    return item->unanswerable && p->no_answer ? p->no_answer : item->golds[0];
}

static int tokenize(struct engine *g, const struct task_item *item, struct train_rows *out,
                    struct train_row *row, struct err *e) {
    struct engine_message *messages = arena_array(&out->arena, item->n_messages, sizeof(*messages));
    if (!messages) {
        return err_set(e, EE_NOMEM, "training rows: out of memory");
    }
    for (size_t i = 0; i < item->n_messages; i++) {
        messages[i] = (struct engine_message){item->messages[i].role, item->messages[i].content};
    }
    int32_t *tokens = NULL;
    size_t n = 0;
    size_t n_prompt = 0;
    int rc = engine_tokenize_answer(g, messages, item->n_messages, answer_of(item), &out->arena,
                                    &tokens, &n, &n_prompt, e);
    if (rc) {
        return err_prefix(e, "item %.80s", item->id);
    }
    row->id = arena_strdup(&out->arena, item->id);
    row->tokens = tokens;
    row->n_tokens = (int)n;
    row->n_prompt = (int)n_prompt;
    return row->id ? 0 : err_set(e, EE_NOMEM, "training rows: out of memory");
}

/* What of the items was too long. */
struct too_long {
    size_t n;
    char first[96];
    int first_tokens;
};

static int tokenize_all(struct engine *g, const struct task_set *set, int max_tokens,
                        struct train_rows *out, struct too_long *lost, struct err *e) {
    out->rows = arena_array(&out->arena, set->n_items, sizeof(*out->rows));
    if (!out->rows) {
        return err_set(e, EE_NOMEM, "training rows: out of memory");
    }
    for (size_t i = 0; i < set->n_items; i++) {
        struct train_row row;
        int rc = tokenize(g, &set->items[i], out, &row, e);
        if (rc) {
            return rc;
        }
        if (row.n_tokens > max_tokens) {
            if (lost->n++ == 0) {
                snprintf(lost->first, sizeof(lost->first), "%s", row.id);
                lost->first_tokens = row.n_tokens;
            }
            continue;
        }
        out->rows[out->n++] = row;
        out->n_tokens += row.n_tokens;
        out->longest = row.n_tokens > out->longest ? row.n_tokens : out->longest;
    }
    return 0;
}

static int check_lengths(const char *data_path, int max_tokens, bool skip_long,
                         const struct too_long *lost, struct train_rows *out, struct err *e) {
    out->n_left_out = lost->n;
    if (lost->n > 0 && (!skip_long || out->n == 0)) {
        return err_set(e, EE_FORMAT,
                       "%s: %zu of %zu rows are longer than %d tokens (first %s, %d); raise "
                       "--max-tokens as far as the model's context goes, shorten them, or leave "
                       "them out with --skip-long",
                       data_path, lost->n, lost->n + out->n, max_tokens, lost->first,
                       lost->first_tokens);
    }
    return 0;
}

static int hash_rows(struct train_rows *r, struct err *e) {
    struct buf all;
    buf_init(&all);
    for (size_t i = 0; i < r->n; i++) {
        buf_add(&all, &r->rows[i].n_prompt, sizeof(r->rows[i].n_prompt));
        buf_add(&all, r->rows[i].tokens, (size_t)r->rows[i].n_tokens * sizeof(int32_t));
    }
    int rc = buf_check(&all, "training rows", e);
    if (!rc) {
        hash_bytes(all.data, all.len, r->hash);
    }
    buf_release(&all);
    return rc;
}

int train_rows_load(const char *model_path, enum task_kind kind, const char *data_path,
                    size_t limit, int max_tokens, bool skip_long, struct train_rows *out,
                    struct err *e) {
    struct task_set set;
    struct engine *g = NULL;
    struct gguf_info info;
    struct too_long lost = {0};
    *out = (struct train_rows){0};
    int rc = gguf_info_read_model(model_path, &info, e);
    rc = rc ? rc : gguf_info_check_answers(&info, model_path, e);
    rc = rc ? rc : task_load(kind, data_path, limit, &set, e);
    if (rc) {
        return rc;
    }
    if (max_tokens > info.n_ctx_train && info.n_ctx_train > 0) {
        rc = err_set(e, EE_USAGE, "--max-tokens %d is above the context of %s, %lld", max_tokens,
                     model_path, (long long)info.n_ctx_train);
    }
    max_tokens = max_tokens ? max_tokens : (int)info.n_ctx_train;
    rc = rc ? rc : engine_open_vocabulary(model_path, &g, e);
    rc = rc ? rc : tokenize_all(g, &set, max_tokens, out, &lost, e);
    rc = rc ? rc : check_lengths(data_path, max_tokens, skip_long, &lost, out, e);
    rc = rc ? rc : hash_rows(out, e);
    engine_close(g);
    task_set_release(&set);
    if (rc) {
        train_rows_release(out);
    }
    return rc;
}

void train_rows_release(struct train_rows *r) {
    arena_release(&r->arena);
    *r = (struct train_rows){0};
}

/* A text that two items share only when they ask the same. */
static int messages_key(const struct task_item *item, char hex[HASH_HEX_SIZE], struct err *e) {
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; i < item->n_messages; i++) {
        buf_addstr(&text, item->messages[i].role);
        buf_addch(&text, '\n');
        buf_addstr(&text, item->messages[i].content);
        buf_addch(&text, '\0');
    }
    int rc = buf_check(&text, "overlap of train and eval rows", e);
    hash_bytes(text.data, text.len, hex);
    buf_release(&text);
    return rc;
}

static int count_known(const struct task_set *set, json_t *known, bool remember, size_t *n,
                       struct err *e) {
    for (size_t i = 0; i < set->n_items; i++) {
        char key[HASH_HEX_SIZE];
        int rc = messages_key(&set->items[i], key, e);
        if (rc) {
            return rc;
        }
        if (remember && json_object_set_new(known, key, json_true()) != 0) {
            return err_set(e, EE_NOMEM, "overlap of train and eval rows: out of memory");
        }
        *n += !remember && json_object_get(known, key);
    }
    return 0;
}

int train_overlap(enum task_kind kind, const char *train_path, const char *eval_path, size_t *n,
                  struct err *e) {
    struct task_set train;
    struct task_set eval;
    *n = 0;
    int rc = task_load(kind, eval_path, 0, &eval, e);
    if (rc) {
        return rc;
    }
    rc = task_load(kind, train_path, 0, &train, e);
    if (!rc) {
        json_t *known = json_object();
        rc = known ? count_known(&eval, known, true, n, e)
                   : err_set(e, EE_NOMEM, "overlap of train and eval rows: out of memory");
        rc = rc ? rc : count_known(&train, known, false, n, e);
        json_decref(known);
        task_set_release(&train);
    }
    task_set_release(&eval);
    return rc;
}
