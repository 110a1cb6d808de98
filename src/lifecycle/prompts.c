#include "lifecycle/prompts.h"

#include "base/json.h"

json_t *prompts_json(const struct plan_task *t) {
    return json_pack("{s:s, s:s, s:I}", "kind", t->name, "path", t->path, "items",
                     (json_int_t)t->items);
}

int prompts_load(const json_t *task, struct task_set *set, struct err *e) {
    const char *kind_name = NULL;
    const char *path = NULL;
    int64_t items = 0;
    enum task_kind kind;
    int rc = json_want_str(task, "kind", &kind_name, e);
    rc = rc ? rc : json_want_str(task, "path", &path, e);
    rc = rc ? rc : json_want_int(task, "items", &items, e);
    rc = rc ? rc : task_kind_from_name(kind_name, &kind, e);
    return rc ? rc : task_load(kind, path, (size_t)items, set, e);
}

int prompts_tokenize(struct engine *g, const struct task_item *item, struct arena *a,
                     struct engine_request *q, struct err *e) {
    struct engine_message *messages = arena_array(a, item->n_messages, sizeof(*messages));
    if (!messages) {
        return err_set(e, EE_NOMEM, "prompts: out of memory");
    }
    for (size_t i = 0; i < item->n_messages; i++) {
        messages[i] = (struct engine_message){item->messages[i].role, item->messages[i].content};
    }
    int32_t *tokens = NULL;
    size_t n = 0;
    int rc = engine_tokenize_chat(g, messages, item->n_messages, a, &tokens, &n, e);
    q->prompt = tokens;
    q->n_prompt = n;
    return rc;
}
