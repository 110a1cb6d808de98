/*
 * Command-line options from a table, with generated help. Long options take "--name value" or
 * "--name=value"; "--" ends them. Options and operands may be mixed.
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum opt_kind {
    OPT_END,    /* closes a table */
    OPT_FLAG,   /* bool *: set to true */
    OPT_INT,    /* int64_t * */
    OPT_NUM,    /* double * */
    OPT_STR,    /* const char **: points into argv */
    OPT_CHOICE, /* const char **: one of choices */
    OPT_PAIR,   /* const char *[2]: two arguments, as in --between A B */
};

struct opt {
    enum opt_kind kind;
    char short_name; /* 0 for none */
    const char *name;
    void *value;
    const char *arg_name; /* "DIR", "A B"; NULL for flags */
    const char *help;
    const char *const *choices; /* NULL-terminated; OPT_CHOICE only */
};

struct opt_command {
    const char *name;
    const char *const *usage; /* NULL-terminated lines after "edge-eval " */
    const char *summary;      /* one line */
    const char *details;      /* paragraphs after the options, or NULL */
    const struct opt *options;
    int min_operands;
    int max_operands; /* -1: any number */
};

/*
 * Parses argv[1..argc-1]; operands are moved to argv[0..*n_operands-1]. When --help or -h is met,
 * *help is set and parsing stops with 0. Errors are EE_USAGE.
 */
int opt_parse(const struct opt_command *cmd, int argc, char **argv, int *n_operands, bool *help,
              struct err *e) EE_MUST_CHECK;
void opt_help(const struct opt_command *cmd, struct buf *out);

#endif
