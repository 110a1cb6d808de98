#include "quality/task.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "quality/choice.h"
#include "quality/prompt.h"
#include "quality/text.h"

#include <string.h>

/* What reading one line needs. */
struct reader {
    struct task_set *set;
    json_t *lines_by_id; /* id -> the line that has it */
    size_t line;         /* from 1 */
};

typedef int parse_fn(struct reader *r, const json_t *obj, struct task_item *item, struct err *e);

static parse_fn parse_rag;
static parse_fn parse_summ;
static parse_fn parse_chat;
static parse_fn parse_choice;

static const struct task_format {
    const char *name;
    parse_fn *parse;
    const char *shape; /* of a line, for errors */
} formats[TASK_KINDS] = {
    [TASK_RAG] = {"rag", parse_rag,
                  "{\"id\", \"domain\", \"context\", \"question\", \"answers\": {\"text\": [...], "
                  "\"answer_start\": [...]}}, \"text\" empty where the context has no answer"},
    [TASK_SUMM] = {"summ", parse_summ, "{\"id\", \"domain\", \"document\", \"summary\"}"},
    [TASK_CHAT] = {"chat", parse_chat,
                   "{\"id\", \"domain\", \"messages\": [{\"role\", \"content\"}, ...]}: a system "
                   "message or none, then user and assistant in turn, the assistant last"},
    [TASK_CHOICE] = {"choice", parse_choice,
                     "{\"query\" or \"question\", \"choices\": [...] or {\"text\": [...], "
                     "\"label\": [...]}, \"gold\", \"answer\" or \"answerKey\": the right one's "
                     "index from 0, or its label}"},
};

const char *task_kind_name(enum task_kind kind) {
    return formats[kind].name;
}

int task_kind_from_name(const char *name, enum task_kind *kind, struct err *e) {
    for (int k = 0; k < TASK_KINDS; k++) {
        if (strcmp(formats[k].name, name) == 0) {
            *kind = (enum task_kind)k;
            return 0;
        }
    }
    return err_set(e, EE_USAGE, "no task is called \"%s\"; there are rag, summ, chat and choice",
                   name);
}

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "out of memory while loading a task set");
}

static int want_text(const json_t *obj, const char *key, const char **out, struct err *e) {
    int rc = json_want_str(obj, key, out, e);
    if (!rc && text_is_blank(*out)) {
        rc = err_set(e, EE_FORMAT, "\"%s\" is empty", key);
    }
    return rc;
}

static int copy_str(struct reader *r, const char *s, const char **out, struct err *e) {
    *out = arena_strdup(&r->set->arena, s);
    return *out ? 0 : out_of_memory(e);
}

/* The item's golds are the n strings of golds, copied. */
static int set_golds(struct reader *r, const char *const *golds, size_t n, struct task_item *item,
                     struct err *e) {
    const char **copies = arena_array(&r->set->arena, n, sizeof(*copies));
    if (!copies) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        int rc = copy_str(r, golds[i], &copies[i], e);
        if (rc) {
            return rc;
        }
    }
    item->golds = copies;
    item->n_golds = n;
    return 0;
}

/* The item's messages become the task's system message and its user message, filled. */
static int set_prompt(struct reader *r, const struct prompt_field *fields, size_t n_fields,
                      struct task_item *item, struct err *e) {
    const struct prompt *p = prompt_for(item->kind);
    struct task_message *messages = arena_array(&r->set->arena, 2, sizeof(*messages));
    if (!messages) {
        return out_of_memory(e);
    }
    struct buf user;
    buf_init(&user);
    prompt_fill(p->user, fields, n_fields, &user);
    int rc = buf_check(&user, "a prompt", e);
    if (!rc) {
        messages[0] = (struct task_message){.role = "system", .content = p->system};
        messages[1].role = "user";
        rc = copy_str(r, user.data, &messages[1].content, e);
        item->messages = messages;
        item->n_messages = 2;
    }
    buf_release(&user);
    return rc;
}

/* The text of one answer, in any of the shapes in use: "..." or {"text": "..."}. */
static int answer_text(const json_t *answer, const char **out, struct err *e) {
    const json_t *text = json_is_object(answer) ? json_object_get(answer, "text") : answer;
    if (!json_is_string(text)) {
        return err_set(e, EE_FORMAT, "an answer in \"answers\" is not a string");
    }
    *out = json_string_value(text);
    if (text_is_blank(*out)) {
        return err_set(e, EE_FORMAT,
                       "an answer in \"answers\" is empty; a question without an "
                       "answer has an empty list");
    }
    return 0;
}

static int parse_answers(struct reader *r, const json_t *obj, struct task_item *item,
                         struct err *e) {
    const json_t *list = json_object_get(obj, "answers");
    if (json_is_object(list)) {
        list = json_object_get(list, "text");
    }
    if (!json_is_array(list)) {
        return err_set(e, EE_FORMAT, "\"answers\" has no list of answers");
    }
    size_t n = json_array_size(list);
    const json_t *impossible = json_object_get(obj, "is_impossible");
    if (impossible && json_is_true(impossible) != (n == 0)) {
        return err_set(e, EE_FORMAT, "\"is_impossible\" is %s and there are %zu answers",
                       json_is_true(impossible) ? "true" : "not true", n);
    }
    if (n == 0) {
        item->unanswerable = true;
        return set_golds(r, (const char *const[]){""}, 1, item, e);
    }
    const char **texts = arena_array(&r->set->arena, n, sizeof(*texts));
    if (!texts) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        int rc = answer_text(json_array_get(list, i), &texts[i], e);
        if (rc) {
            return rc;
        }
    }
    return set_golds(r, texts, n, item, e);
}

static int parse_rag(struct reader *r, const json_t *obj, struct task_item *item, struct err *e) {
    struct prompt_field fields[] = {{"context", NULL}, {"question", NULL}};
    int rc = want_text(obj, "context", &fields[0].text, e);
    if (!rc) {
        rc = want_text(obj, "question", &fields[1].text, e);
    }
    rc = rc ? rc : copy_str(r, fields[0].text, &item->source, e);
    rc = rc ? rc : copy_str(r, fields[1].text, &item->question, e);
    rc = rc ? rc : parse_answers(r, obj, item, e);
    return rc ? rc : set_prompt(r, fields, 2, item, e);
}

static int parse_summ(struct reader *r, const json_t *obj, struct task_item *item, struct err *e) {
    struct prompt_field document = {"document", NULL};
    const char *summary;
    int rc = want_text(obj, "document", &document.text, e);
    if (!rc) {
        rc = want_text(obj, "summary", &summary, e);
    }
    rc = rc ? rc : copy_str(r, document.text, &item->source, e);
    rc = rc ? rc : set_golds(r, &summary, 1, item, e);
    return rc ? rc : set_prompt(r, &document, 1, item, e);
}

/* Copies message i of list to *out after checking it; turn counts user and assistant from 0. */
static int parse_message(struct reader *r, const json_t *list, size_t i, size_t turn,
                         struct task_message *out, struct err *e) {
    const json_t *m = json_array_get(list, i);
    const char *role;
    const char *content;
    if (!json_is_object(m)) {
        return err_set(e, EE_FORMAT, "\"messages\"[%zu] is not an object", i);
    }
    int rc = json_want_str(m, "role", &role, e);
    if (!rc) {
        rc = want_text(m, "content", &content, e);
    }
    if (rc) {
        return err_prefix(e, "\"messages\"[%zu]", i);
    }
    const char *expected = turn % 2 == 0 ? "user" : "assistant";
    if (i == 0 && strcmp(role, "system") == 0) {
        expected = "system";
    }
    if (strcmp(role, expected) != 0) {
        return err_set(e, EE_FORMAT, "\"messages\"[%zu] has the role \"%.40s\" where \"%s\" is due",
                       i, role, expected);
    }
    out->role = expected;
    return copy_str(r, content, &out->content, e);
}

/* All messages but the last go to the model; the last is the reference. */
static int parse_chat(struct reader *r, const json_t *obj, struct task_item *item, struct err *e) {
    const json_t *list = json_object_get(obj, "messages");
    size_t n = json_array_size(list);
    if (n == 0) {
        return err_set(e, EE_FORMAT, "\"messages\" is not a list with messages");
    }
    const char *first_role = json_str_or(json_array_get(list, 0), "role", "");
    size_t added = strcmp(first_role, "system") == 0 ? 0 : 1;
    struct task_message *messages = arena_array(&r->set->arena, n + 1, sizeof(*messages));
    if (!messages) {
        return out_of_memory(e);
    }
    messages[0] = (struct task_message){"system", prompt_for(item->kind)->system};
    for (size_t i = 0; i < n; i++) {
        int rc = parse_message(r, list, i, i + added - 1, &messages[i + added], e);
        if (rc) {
            return rc;
        }
    }
    const struct task_message *last = &messages[n - 1 + added];
    if (strcmp(last->role, "assistant") != 0) {
        return err_set(e, EE_FORMAT, "the last of \"messages\" is the %s's", last->role);
    }
    item->messages = messages;
    item->n_messages = n - 1 + added;
    return set_golds(r, &last->content, 1, item, e);
}

/* ---- multiple choice ---- */

/* The right choice by its index, or by its label: one of labels, or "A" for the first where there are
 * none. */
static int read_right(const json_t *obj, const json_t *labels, struct task_item *item,
                      struct err *e) {
    static const char *const keys[] = {"gold", "answer", "answerKey", "label"};
    const json_t *v = NULL;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !v; i++) {
        v = json_object_get(obj, keys[i]);
    }
    if (json_is_integer(v) && json_integer_value(v) >= 0 &&
        json_integer_value(v) < (json_int_t)item->n_choices) {
        item->right = (size_t)json_integer_value(v);
        return 0;
    }
    const char *name = json_string_value(v);
    for (size_t i = 0; name && i < item->n_choices; i++) {
        const char letter[] = {choice_letter(i), '\0'};
        const char *label = labels ? json_string_value(json_array_get(labels, i)) : letter;
        if (label && strcmp(name, label) == 0) {
            item->right = i;
            return 0;
        }
    }
    return err_set(e, EE_FORMAT,
                   "none of \"gold\", \"answer\" and \"answerKey\" names one of the "
                   "%zu choices",
                   item->n_choices);
}

static int read_choices(struct reader *r, const json_t *obj, struct task_item *item,
                        struct err *e) {
    const json_t *list = json_object_get(obj, "choices");
    const json_t *labels = NULL;
    if (json_is_object(list)) {
        labels = json_object_get(list, "label");
        list = json_object_get(list, "text");
    }
    size_t n = json_array_size(list);
    if (n < 2 || n > CHOICE_MAX) {
        return err_set(e, EE_FORMAT, "\"choices\" is no list of 2 to %d choices", CHOICE_MAX);
    }
    const char **choices = arena_array(&r->set->arena, n, sizeof(*choices));
    if (!choices) {
        return out_of_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || text_is_blank(text)) {
            return err_set(e, EE_FORMAT, "\"choices\"[%zu] is no text", i);
        }
        int rc = copy_str(r, text, &choices[i], e);
        if (rc) {
            return rc;
        }
    }
    item->choices = choices;
    item->n_choices = n;
    return read_right(obj, labels, item, e);
}

/* "query" is continued as it stands; a "question" is put as the harness puts those of ARC. */
static int read_query(struct reader *r, const json_t *obj, const char **asked,
                      struct task_item *item, struct err *e) {
    if (json_object_get(obj, "query")) {
        int rc = want_text(obj, "query", asked, e);
        return rc ? rc : copy_str(r, *asked, &item->question, e);
    }
    struct buf text;
    buf_init(&text);
    int rc = want_text(obj, "question", asked, e);
    if (!rc) {
        buf_addf(&text, "Question: %s\nAnswer:", *asked);
        rc = buf_check(&text, "a question", e);
    }
    rc = rc ? rc : copy_str(r, text.data, &item->question, e);
    buf_release(&text);
    return rc;
}

static int parse_choice(struct reader *r, const json_t *obj, struct task_item *item,
                        struct err *e) {
    struct prompt_field fields[] = {{"question", NULL}, {"choices", NULL}};
    struct buf lines;
    int rc = read_query(r, obj, &fields[0].text, item, e);
    rc = rc ? rc : read_choices(r, obj, item, e);
    rc = rc ? rc : set_golds(r, &item->choices[item->right], 1, item, e);
    if (rc) {
        return rc;
    }
    buf_init(&lines);
    for (size_t i = 0; i < item->n_choices; i++) {
        buf_addf(&lines, "%c. %s\n", choice_letter(i), item->choices[i]);
    }
    rc = buf_check(&lines, "a prompt", e);
    fields[1].text = lines.data;
    rc = rc ? rc : set_prompt(r, fields, 2, item, e);
    buf_release(&lines);
    return rc;
}

static int parse_id(struct reader *r, const json_t *obj, struct task_item *item, struct err *e) {
    const json_t *id = json_object_get(obj, "id");
    struct buf text;
    buf_init(&text);
    int rc = 0;
    if (!id || json_is_null(id)) {
        buf_addf(&text, "line-%zu", r->line);
    } else if (json_is_integer(id)) {
        buf_addf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
    } else {
        const char *s;
        rc = want_text(obj, "id", &s, e);
        if (!rc) {
            buf_addstr(&text, s);
        }
    }
    if (!rc) {
        rc = buf_check(&text, "an id", e);
    }
    if (!rc) {
        rc = copy_str(r, text.data, &item->id, e);
    }
    buf_release(&text);
    return rc;
}

static int claim_id(struct reader *r, const char *id, struct err *e) {
    const json_t *earlier = json_object_get(r->lines_by_id, id);
    if (earlier) {
        return err_set(e, EE_FORMAT,
                       "the id \"%.80s\" is already on line %" JSON_INTEGER_FORMAT
                       "; ids are unique",
                       id, json_integer_value(earlier));
    }
    return json_object_set_new(r->lines_by_id, id, json_integer((json_int_t)r->line)) == 0
               ? 0
               : out_of_memory(e);
}

static int parse_object(struct reader *r, const json_t *obj, struct task_item *item,
                        struct err *e) {
    const json_t *domain = json_object_get(obj, "domain");
    item->kind = r->set->kind;
    item->domain = "";
    int rc = parse_id(r, obj, item, e);
    if (!rc && domain && !json_is_null(domain)) {
        const char *s;
        rc = json_want_str(obj, "domain", &s, e);
        if (!rc) {
            rc = copy_str(r, s, &item->domain, e);
        }
    }
    return rc ? rc : formats[item->kind].parse(r, obj, item, e);
}

static int parse_line(struct reader *r, const char *line, size_t len, struct task_item *item,
                      struct err *e) {
    const char *shape = formats[r->set->kind].shape;
    size_t bad_at;
    if (!text_is_utf8(line, len, &bad_at)) {
        return err_set(e, EE_FORMAT, "byte %zu of the line is not UTF-8; save the file as UTF-8",
                       bad_at + 1);
    }
    json_error_t je;
    json_t *obj = json_loadb(line, len, JSON_REJECT_DUPLICATES, &je);
    if (!obj) {
        return err_set(e, EE_FORMAT, "not valid JSON at column %d: %s; expected %s", je.column,
                       je.text, shape);
    }
    struct err cause = ERR_INIT;
    int rc = json_is_object(obj) ? parse_object(r, obj, item, &cause)
                                 : err_set(&cause, EE_FORMAT, "not an object");
    json_decref(obj);
    if (rc) {
        bool about_line = rc == EE_FORMAT;
        return err_set(e, rc, "%s%s%s", cause.msg, about_line ? "; expected " : "",
                       about_line ? shape : "");
    }
    return claim_id(r, item->id, e);
}

static size_t count_lines(const struct buf *file) {
    size_t n = 1;
    for (size_t i = 0; i < file->len; i++) {
        n += file->data[i] == '\n';
    }
    return n;
}

static int parse_file(struct reader *r, const struct buf *file, const char *path, size_t limit,
                      struct err *e) {
    size_t room = count_lines(file);
    room = limit && limit < room ? limit : room;
    struct task_item *items = arena_array(&r->set->arena, room, sizeof(*items));
    if (!items) {
        return out_of_memory(e);
    }
    r->set->items = items;
    const char *at = file->data;
    const char *end = at + file->len;
    if (file->len >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark */
        at += 3;
    }
    while (at < end && r->set->n_items < room) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((newline ? newline : end) - at);
        r->line++;
        size_t n_text = len;
        text_trim(at, &n_text);
        if (n_text > 0) {
            int rc = parse_line(r, at, len, &items[r->set->n_items], e);
            if (rc) {
                return err_prefix(e, "%s:%zu", path, r->line);
            }
            r->set->n_items++;
        }
        at += len + 1;
    }
    if (r->set->n_items == 0) {
        return err_set(e, EE_FORMAT, "%s: holds no items; expected one line for each: %s", path,
                       formats[r->set->kind].shape);
    }
    return 0;
}

int task_load(enum task_kind kind, const char *path, size_t limit, struct task_set *set,
              struct err *e) {
    *set = (struct task_set){.kind = kind, .arena = ARENA_INIT};
    struct reader r = {.set = set, .lines_by_id = json_object()};
    struct buf file;
    buf_init(&file);
    int rc = r.lines_by_id ? fs_read(path, &file, e) : out_of_memory(e);
    if (!rc) {
        rc = parse_file(&r, &file, path, limit, e);
    }
    buf_release(&file);
    json_decref(r.lines_by_id);
    if (rc) {
        task_set_release(set);
    }
    return rc;
}

void task_set_release(struct task_set *set) {
    arena_release(&set->arena);
    set->items = NULL;
    set->n_items = 0;
}
