/* edge-eval report: what a run found, as a table or a file. */
#include "cmd.h"

#include "report/report.h"

#include "base/buf.h"
#include "base/fs.h"

#include <stdlib.h>

static const char *const usage[] = {
    "report RUN... [--format text|csv|json|html|md|openmetrics] [--output FILE]",
    NULL,
};

static int print(const struct buf *text, const char *output, struct err *e) {
    return output ? fs_write_atomic(output, text->data, text->len, e) : cmd_print(text, e);
}

int cmd_report(int argc, char **argv) {
    const char *format = "text";
    const char *output = NULL;
    const struct opt options[] = {
        {OPT_CHOICE, 'f', "format", &format, "FORMAT",
         "text (default), csv, json, html, md or openmetrics", report_format_names},
        {OPT_STR, 'o', "output", &output, "FILE", "write to FILE instead of standard output", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "report",
        .usage = usage,
        .summary = "Shows what runs found; RUN is a run's directory. Recomputed from its "
                   "measurements each time.",
        .details = "Several runs stand side by side in every format but json and openmetrics.\n"
                   "Figures with ~ rest on modelled energy; - was refused, with the reason below.",
        .options = options,
        .min_operands = 1,
        .max_operands = -1,
    };
    int n_runs = 0;
    int status = EXIT_OK;
    if (!cmd_parse(&command, argc, argv, &n_runs, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    struct buf text;
    buf_init(&text);
    char *data_dir = NULL;
    if (cmd_data_dir(&data_dir, &e)) {
        e = (struct err)ERR_INIT; /* a run can be read without; the audit says what it lacks */
    }
    const struct report_opts opts = {.data_dir = data_dir, .width = output ? 0 : cmd_columns()};
    int rc = report_format((const char *const *)argv, (size_t)n_runs, format, &opts, &text, &e);
    rc = rc ? rc : print(&text, output, &e);
    buf_release(&text);
    free(data_dir);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
