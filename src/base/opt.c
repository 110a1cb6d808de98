#include "base/opt.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad_usage(const struct opt_command *cmd, struct err *e, const char *fmt, ...)
    EE_PRINTF(3, 4);

static int bad_usage(const struct opt_command *cmd, struct err *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    err_setv(e, EE_USAGE, fmt, ap);
    va_end(ap);
    size_t used = strlen(e->msg);
    snprintf(e->msg + used, sizeof(e->msg) - used, " (see: edge-eval help %s)", cmd->name);
    return EE_USAGE;
}

static const struct opt *find_option(const struct opt_command *cmd, const char *arg,
                                     size_t name_len) {
    for (const struct opt *o = cmd->options; o->kind != OPT_END; o++) {
        if (arg[1] == '-') {
            if (o->name && strlen(o->name) == name_len && !strncmp(o->name, arg + 2, name_len)) {
                return o;
            }
        } else if (o->short_name && arg[1] == o->short_name && !arg[2]) {
            return o;
        }
    }
    return NULL;
}

static int store_choice(const struct opt_command *cmd, const struct opt *o, const char *text,
                        struct err *e) {
    struct buf names;
    buf_init(&names);
    for (size_t i = 0; o->choices[i]; i++) {
        if (strcmp(o->choices[i], text) == 0) {
            *(const char **)o->value = o->choices[i];
            buf_release(&names);
            return 0;
        }
        buf_addf(&names, "%s%s", i ? ", " : "", o->choices[i]);
    }
    int rc = bad_usage(cmd, e, "--%s is \"%.60s\"; allowed: %s", o->name, text, names.data);
    buf_release(&names);
    return rc;
}

static int store_value(const struct opt_command *cmd, const struct opt *o, const char *text,
                       struct err *e) {
    char *end = NULL;
    errno = 0;
    switch (o->kind) {
    case OPT_INT: {
        long long v = strtoll(text, &end, 10);
        if (end == text || *end || errno) {
            return bad_usage(cmd, e, "--%s should be a whole number and is \"%.60s\"", o->name,
                             text);
        }
        *(int64_t *)o->value = v;
        return 0;
    }
    case OPT_NUM: {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v)) {
            return bad_usage(cmd, e, "--%s should be a number and is \"%.60s\"", o->name, text);
        }
        *(double *)o->value = v;
        return 0;
    }
    case OPT_STR:
        if (!*text) {
            return bad_usage(cmd, e, "--%s is empty", o->name);
        }
        *(const char **)o->value = text;
        return 0;
    case OPT_CHOICE:
        return store_choice(cmd, o, text, e);
    case OPT_FLAG:
    case OPT_PAIR:
    case OPT_END:
        break;
    }
    return bad_usage(cmd, e, "--%s takes no value", o->name);
}

/* Parses the option at argv[*i] and moves *i past its value. */
static int parse_one(const struct opt_command *cmd, int argc, char **argv, int *i, struct err *e) {
    const char *arg = argv[*i];
    const char *eq = arg[1] == '-' ? strchr(arg, '=') : NULL;
    size_t name_len = eq ? (size_t)(eq - arg - 2) : strlen(arg) - (arg[1] == '-' ? 2 : 1);
    const struct opt *o = find_option(cmd, arg, name_len);
    if (!o) {
        return bad_usage(cmd, e, "unknown option %.80s", arg);
    }
    if (o->kind == OPT_FLAG) {
        if (eq) {
            return bad_usage(cmd, e, "--%s takes no value", o->name);
        }
        *(bool *)o->value = true;
        return 0;
    }
    if (o->kind == OPT_PAIR) {
        if (eq || *i + 2 >= argc) {
            return bad_usage(cmd, e, "--%s needs two values: --%s %s", o->name, o->name,
                             o->arg_name);
        }
        ((const char **)o->value)[0] = argv[++*i];
        ((const char **)o->value)[1] = argv[++*i];
        return 0;
    }
    if (!eq && *i + 1 >= argc) {
        return bad_usage(cmd, e, "--%s needs a value: --%s %s", o->name, o->name, o->arg_name);
    }
    return store_value(cmd, o, eq ? eq + 1 : argv[++*i], e);
}

int opt_parse(const struct opt_command *cmd, int argc, char **argv, int *n_operands, bool *help,
              struct err *e) {
    bool options_end = false;
    *help = false;
    *n_operands = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (options_end || arg[0] != '-' || !arg[1]) {
            argv[(*n_operands)++] = argv[i];
        } else if (!strcmp(arg, "--")) {
            options_end = true;
        } else if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
            *help = true;
            return 0;
        } else {
            int rc = parse_one(cmd, argc, argv, &i, e);
            if (rc) {
                return rc;
            }
        }
    }
    if (*n_operands < cmd->min_operands) {
        return bad_usage(cmd, e, "usage: edge-eval %s", cmd->usage[0]);
    }
    if (cmd->max_operands >= 0 && *n_operands > cmd->max_operands) {
        return bad_usage(cmd, e, "unexpected argument \"%.80s\"", argv[cmd->max_operands]);
    }
    return 0;
}

void opt_help(const struct opt_command *cmd, struct buf *out) {
    for (size_t i = 0; cmd->usage[i]; i++) {
        buf_addf(out, "%s edge-eval %s\n", i ? "      " : "usage:", cmd->usage[i]);
    }
    buf_addf(out, "\n%s\n", cmd->summary);
    if (cmd->options->kind != OPT_END) {
        buf_addstr(out, "\n");
    }
    for (const struct opt *o = cmd->options; o->kind != OPT_END; o++) {
        char left[80];
        char short_form[8] = "    ";
        if (o->short_name) {
            snprintf(short_form, sizeof(short_form), "-%c, ", o->short_name);
        }
        snprintf(left, sizeof(left), "  %s--%s%s%s", short_form, o->name, o->arg_name ? " " : "",
                 o->arg_name ? o->arg_name : "");
        buf_addf(out, "%-30s  %s\n", left, o->help);
    }
    if (cmd->details) {
        buf_addf(out, "\n%s\n", cmd->details);
    }
}
