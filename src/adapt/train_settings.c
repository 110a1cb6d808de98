#include "adapt/train_settings.h"

#include "adapt/device.h"
#include "adapt/optim.h"
#include "base/json.h"

#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(struct train_opts, field)

const struct train_setting train_settings[] = {
    {"rank", SETTING_INT, AT(rank), 1, 65536, NULL},
    {"alpha", SETTING_NUM, AT(alpha), 1e-6, 1e6, NULL},
    {"dropout", SETTING_NUM, AT(dropout), 0, 0.99, NULL},
    {"modules", SETTING_TEXT, AT(modules), 0, 0, NULL},
    {"lr", SETTING_NUM, AT(rate), 0, 1000, NULL},
    {"schedule", SETTING_CHOICE, AT(schedule), 0, 0, schedule_names},
    {"warmup", SETTING_NUM, AT(warmup), 0, 1, NULL},
    {"weight_decay", SETTING_NUM, AT(weight_decay), 0, 10, NULL},
    {"clip", SETTING_NUM, AT(clip), 0, 1e9, NULL},
    {"epochs", SETTING_INT, AT(epochs), 1, 100000, NULL},
    {"max_steps", SETTING_LONG, AT(max_steps), 0, 1e12, NULL},
    {"batch", SETTING_INT, AT(batch), 1, 4096, NULL},
    {"accumulate", SETTING_INT, AT(accumulate), 1, 65536, NULL},
    {"pack", SETTING_BOOL, AT(pack), 0, 0, NULL},
    {"all_tokens", SETTING_BOOL, AT(all_tokens), 0, 0, NULL},
    {"items", SETTING_LONG, AT(items), 0, 1e12, NULL},
    {"max_tokens", SETTING_INT, AT(max_tokens), 0, 1e9, NULL},
    {"skip_long", SETTING_BOOL, AT(skip_long), 0, 0, NULL},
    {"validation", SETTING_NUM, AT(validation), 0, 0.9, NULL},
    {"validate_every", SETTING_LONG, AT(validate_every), 0, 1e12, NULL},
    {"patience", SETTING_INT, AT(patience), 0, 1e6, NULL},
    {"seed", SETTING_LONG, AT(seed), 0, 9e15, NULL},
    {"compute", SETTING_CHOICE, AT(compute), 0, 0, compute_names},
    {"base", SETTING_CHOICE, AT(base_type), 0, 0, train_base_names},
    {NULL, SETTING_INT, 0, 0, 0, NULL},
};

void *train_setting_at(struct train_opts *o, const struct train_setting *s) {
    return (char *)o + s->offset;
}

static const void *value_at(const struct train_opts *o, const struct train_setting *s) {
    return (const char *)o + s->offset;
}

static double number_of(const struct train_opts *o, const struct train_setting *s) {
    const void *p = value_at(o, s);
    return s->kind == SETTING_INT    ? *(const int *)p
           : s->kind == SETTING_LONG ? (double)*(const int64_t *)p
                                     : *(const double *)p;
}

int train_settings_check(const struct train_opts *o, struct err *e) {
    for (const struct train_setting *s = train_settings; s->name; s++) {
        if (s->kind == SETTING_BOOL || s->kind == SETTING_TEXT || s->kind == SETTING_CHOICE) {
            continue;
        }
        double v = number_of(o, s);
        if (!(v >= s->least && v <= s->most)) {
            return err_set(e, EE_USAGE, "%s is %g; it can be %g to %g", s->name, v, s->least,
                           s->most);
        }
    }
    if (o->patience > 0 && o->validation <= 0) {
        return err_set(e, EE_USAGE,
                       "patience needs a validation share: the loss that must get better is "
                       "measured on it");
    }
    return 0;
}

json_t *train_settings_json(const struct train_opts *o) {
    json_t *all = json_pack("{s:s}", "task", task_kind_name(o->task));
    for (const struct train_setting *s = train_settings; all && s->name; s++) {
        const void *p = value_at(o, s);
        json_t *v = NULL;
        switch (s->kind) {
        case SETTING_INT:
        case SETTING_LONG:
            v = json_integer((json_int_t)number_of(o, s));
            break;
        case SETTING_NUM:
            v = json_real(number_of(o, s));
            break;
        case SETTING_BOOL:
            v = json_boolean(*(const bool *)p);
            break;
        case SETTING_TEXT:
        case SETTING_CHOICE:
            v = *(const char *const *)p ? json_string(*(const char *const *)p) : json_null();
            break;
        }
        if (json_object_set_new(all, s->name, v) != 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return all;
}

static int set_one(struct train_opts *o, const struct train_setting *s, const json_t *settings,
                   struct err *e) {
    void *p = train_setting_at(o, s);
    int64_t i = 0;
    int rc = 0;
    switch (s->kind) {
    case SETTING_INT:
        rc = json_want_int(settings, s->name, &i, e);
        *(int *)p = (int)i;
        break;
    case SETTING_LONG:
        rc = json_want_int(settings, s->name, p, e);
        break;
    case SETTING_NUM:
        rc = json_want_num(settings, s->name, p, e);
        break;
    case SETTING_BOOL:
        *(bool *)p = json_is_true(json_object_get(settings, s->name));
        break;
    case SETTING_TEXT:
    case SETTING_CHOICE:
        *(const char **)p = json_str_or(settings, s->name, NULL);
        break;
    }
    return rc;
}

int train_settings_parse(const json_t *settings, struct train_opts *o, struct err *e) {
    int rc = 0;
    for (const struct train_setting *s = train_settings; s->name && !rc; s++) {
        if (json_object_get(settings, s->name)) {
            rc = set_one(o, s, settings, e);
        }
    }
    return rc;
}
