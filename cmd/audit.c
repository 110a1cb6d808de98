/* edge-eval audit: what is weak in a set of measurements. */
#include "cmd.h"

#include "report/audit_report.h"

#include "base/fs.h"

#include <stdlib.h>

static const char *const usage[] = {
    "audit RUN|CSV... [--json]",
    "audit --published [--json]",
    "audit --rules",
    NULL,
};

struct audit_args {
    bool as_json;
    bool published;
    bool rules;
};

static int check_args(const struct audit_args *a, int n_operands, struct err *e) {
    if (a->rules || a->published) {
        return n_operands == 0 && !(a->rules && a->published)
                   ? 0
                   : err_set(e, EE_USAGE, "--rules and --published go alone");
    }
    return n_operands > 0
               ? 0
               : err_set(e, EE_USAGE, "usage: edge-eval %s (see: edge-eval help audit)", usage[0]);
}

static int audit(const struct audit_args *args, char **sources, int n, struct buf *out,
                 struct err *e) {
    char *data_dir = NULL;
    char *published = NULL;
    int rc = cmd_data_dir(&data_dir, e);
    if (!rc && args->published) {
        published = fs_join(data_dir, "reference");
        sources = &published;
        n = 1;
        rc = published ? 0 : err_set(e, EE_NOMEM, "out of memory");
    }
    rc = rc ? rc
            : audit_report_format((const char *const *)sources, (size_t)n, data_dir,
                                  args->as_json ? AUDIT_JSON : AUDIT_TEXT, cmd_columns(), out, e);
    free(published);
    free(data_dir);
    return rc;
}

int cmd_audit(int argc, char **argv) {
    struct audit_args args = {0};
    const struct opt options[] = {
        {OPT_FLAG, 0, "json", &args.as_json, NULL, "print JSON", NULL},
        {OPT_FLAG, 0, "published", &args.published, NULL, "audit the EDGE-EVAL paper's rows", NULL},
        {OPT_FLAG, 0, "rules", &args.rules, NULL, "list the rules", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "audit",
        .usage = usage,
        .summary = "Says what is weak in a set of measurements, why, and what to do about it.",
        .details =
            "Reads run directories, CSV files (docs/audit.md lists the columns; their order\n"
            "means nothing) and folders of CSV files; several are audited as one set. A\n"
            "missing column refuses only the rules that need it. Exit status 0 says that\n"
            "the audit was done, not that nothing was found.",
        .options = options,
        .max_operands = -1,
    };
    int n_operands = 0;
    int status = EXIT_OK;
    if (!cmd_parse(&command, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    struct buf text;
    buf_init(&text);
    int rc = check_args(&args, n_operands, &e);
    if (!rc && args.rules) {
        audit_report_rules(&text);
        rc = buf_check(&text, "rules", &e);
    } else if (!rc) {
        rc = audit(&args, argv, n_operands, &text, &e);
    }
    rc = rc ? rc : cmd_print(&text, &e);
    buf_release(&text);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
