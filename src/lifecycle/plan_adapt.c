#include "lifecycle/plan_adapt.h"

#include "adapt/train_settings.h"
#include "base/buf.h"
#include "base/fs.h"
#include "lifecycle/plan_read.h"

#include <string.h>

enum { MAX_KEYS = 40 };

static int check_keys(struct ynode n, struct err *e) {
    static const char *const own[] = {"data",       "command", "device",     "lora_base",
                                      "qlora_base", "rows",    "extrapolate"};
    const char *keys[MAX_KEYS];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        keys[count++] = own[i];
    }
    for (const struct train_setting *s = train_settings; s->name && count < MAX_KEYS - 1; s++) {
        if (strcmp(s->name, "base") != 0) { /* each method has its own */
            keys[count++] = s->name;
        }
    }
    keys[count] = NULL;
    return ymap_check(n, "adapt", keys, e);
}

/* One of a list of names, which outlives the plan. */
static int read_choice(struct ynode n, const char *what, const char *const *choices,
                       const char **out, struct err *e) {
    int i = -1;
    if (!ynode_present(n)) {
        return 0;
    }
    int rc = ynode_enum(n, what, choices, &i, e);
    *out = rc ? NULL : choices[i];
    return rc;
}

static int read_setting(struct ynode n, const struct train_setting *s, struct train_opts *o,
                        struct arena *a, struct err *e) {
    void *at = train_setting_at(o, s);
    int64_t i = s->kind == SETTING_INT ? *(int *)at : 0;
    int rc = 0;
    switch (s->kind) {
    case SETTING_INT:
        rc = ynode_int(n, s->name, (int64_t)s->least, (int64_t)s->most, &i, e);
        *(int *)at = (int)i;
        break;
    case SETTING_LONG:
        rc = ynode_int(n, s->name, (int64_t)s->least, (int64_t)s->most, at, e);
        break;
    case SETTING_NUM:
        rc = ynode_num(n, s->name, s->least, s->most, at, e);
        break;
    case SETTING_BOOL:
        rc = ynode_bool(n, s->name, at, e);
        break;
    case SETTING_TEXT:
        rc = plan_read_text(n, s->name, a, at, e);
        break;
    case SETTING_CHOICE:
        rc = read_choice(n, s->name, s->choices, at, e);
        break;
    }
    return rc;
}

static int find_data(struct ynode data, const struct plan_adapt_places *places, enum task_kind k,
                     struct arena *a, const char **out, struct err *e) {
    const char *name = task_kind_name(k);
    const char *given = NULL;
    struct buf own;
    buf_init(&own);
    int rc = ynode_str(ymap_get(data, name), name, &given, e);
    buf_addf(&own, "tasks/%s/train.jsonl", name);
    *out = given ? plan_path(places->plan_dir, given, a) : plan_path(places->data_dir, own.data, a);
    buf_release(&own);
    return rc ? rc : *out ? 0 : plan_no_memory(e);
}

static int check_data(struct ynode where, const struct plan_adapt *p, enum task_kind k,
                      struct err *e) {
    return fs_exists(p->data[k])
               ? 0
               : ynode_fail(where, e,
                            "no training rows for %s at %s; give adapt: {data: {%s: FILE}}",
                            task_kind_name(k), p->data[k], task_kind_name(k));
}

/* ---- two counts of rows, and what is concluded from them ---- */

int plan_adapt_rows_read(struct ynode n, const char *what, int64_t rows[2], struct err *e) {
    if (!ynode_present(n)) {
        return 0;
    }
    if (yseq_len(n) != 2) {
        return ynode_fail(n, e, "%s should be two counts of rows: [few, more]", what);
    }
    int rc = ynode_int(yseq_at(n, 0), what, 1, 1000000, &rows[0], e);
    rc = rc ? rc : ynode_int(yseq_at(n, 1), what, 1, 1000000, &rows[1], e);
    return rc || rows[0] < rows[1] ? rc
                                   : ynode_fail(n, e, "%s should begin with the smaller", what);
}

int plan_adapt_rows_check(const struct train_opts *o, const int64_t rows[2], struct err *e) {
    const int64_t step = (int64_t)o->batch * o->accumulate;
    if (o->pack || o->epochs != 1 || o->max_steps || o->validation > 0 || o->items ||
        o->skip_long) {
        return err_set(e, EE_USAGE,
                       "adapt.rows goes with one epoch and none of pack, max_steps, validation, "
                       "items, skip_long: a step must be so many rows");
    }
    if (rows[0] % step || rows[1] % step) {
        return err_set(
            e, EE_USAGE,
            "adapt.rows [%lld, %lld]: both should be multiples of batch x accumulate, %lld",
            (long long)rows[0], (long long)rows[1], (long long)step);
    }
    return 0;
}

static int read_extrapolate(struct ynode n, const char *const *tasks, struct plan_adapt *out,
                            struct err *e) {
    const char *text = NULL;
    if (!ynode_present(n)) {
        return 0;
    }
    if (ynode_is_map(n)) {
        int rc = ymap_check(n, "extrapolate", tasks, e);
        for (int k = 0; k < TASK_KINDS && !rc; k++) {
            rc = ynode_int(ymap_get(n, task_kind_name((enum task_kind)k)), "extrapolate", 1,
                           100000000, &out->extrapolate[k], e);
        }
        return rc;
    }
    int rc = ynode_str(n, "extrapolate", &text, e);
    if (!rc && strcmp(text, "published") == 0) {
        out->extrapolate_published = true;
        return 0;
    }
    int64_t rows = 0;
    rc = rc ? rc
            : ynode_int(n, "extrapolate (rows, rows by task, or published)", 1, 100000000, &rows,
                        e);
    for (int k = 0; k < TASK_KINDS && !rc; k++) {
        out->extrapolate[k] = rows;
    }
    return rc;
}

static int read_rows(struct ynode n, const char *const *tasks, struct plan_adapt *out,
                     struct err *e) {
    const struct ynode rows = ymap_get(n, "rows");
    const struct ynode to = ymap_get(n, "extrapolate");
    int rc = plan_adapt_rows_read(rows, "rows", out->rows, e);
    rc = rc ? rc : read_extrapolate(to, tasks, out, e);
    if (!rc && ynode_present(to) && !ynode_present(rows)) {
        rc = ynode_fail(to, e, "extrapolate needs rows: [few, more], what it concludes from");
    }
    if (!rc && ynode_present(rows) && out->command) {
        rc = ynode_fail(rows, e, "rows needs the trainer of edge-eval, not a command");
    }
    struct err why = ERR_INIT;
    if (!rc && out->rows[1] && plan_adapt_rows_check(&out->opts, out->rows, &why)) {
        rc = ynode_fail(rows, e, "%s", why.msg);
    }
    return rc;
}

int plan_adapt_read(struct ynode n, const struct plan_adapt_places *places, const bool *kinds,
                    bool trains, int64_t seed, struct arena *a, struct plan_adapt *out,
                    struct err *e) {
    static const char *const tasks[] = {"rag", "summ", "chat", "choice", NULL};
    *out = (struct plan_adapt){.opts = train_defaults()};
    out->opts.seed = seed;
    int rc = ynode_present(n) ? check_keys(n, e) : 0;
    for (const struct train_setting *s = train_settings; s->name && !rc; s++) {
        rc = read_setting(ymap_get(n, s->name), s, &out->opts, a, e);
    }
    const struct ynode where = ynode_present(n) ? n : places->methods;
    const struct ynode data = ymap_get(n, "data");
    rc = rc || !ynode_present(data) ? rc : ymap_check(data, "adapt.data", tasks, e);
    rc = rc ? rc : plan_read_text(ymap_get(n, "device"), "device", a, &out->opts.device, e);
    rc = rc ? rc
            : read_choice(ymap_get(n, "lora_base"), "lora_base", train_base_names, &out->lora_base,
                          e);
    rc = rc ? rc
            : read_choice(ymap_get(n, "qlora_base"), "qlora_base", train_base_names,
                          &out->qlora_base, e);
    rc = rc ? rc : plan_read_command(ymap_get(n, "command"), NULL, a, &out->command, e);
    rc = rc ? rc : read_rows(n, tasks, out, e);
    for (int k = 0; k < TASK_KINDS && !rc; k++) {
        if (kinds[k]) {
            rc = find_data(data, places, (enum task_kind)k, a, &out->data[k], e);
            rc = rc || !trains ? rc : check_data(where, out, (enum task_kind)k, e);
        }
    }
    return rc;
}
