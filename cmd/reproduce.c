/* edge-eval reproduce: the published figures again, from the published measurements. */
#include "cmd.h"

#include "report/reproduce.h"

#include "base/buf.h"
#include "base/fs.h"

#include <errno.h>
#include <stdlib.h>

static const char *const usage[] = {"reproduce [--format text|csv|json|html] [--output FILE]",
                                    NULL};

int cmd_reproduce(int argc, char **argv) {
    const char *format = "text";
    const char *output = NULL;
    const struct opt options[] = {
        {OPT_CHOICE, 'f', "format", &format, "FORMAT", "text (default), csv, json or html",
         reproduce_format_names},
        {OPT_STR, 'o', "output", &output, "FILE", "write to FILE instead of standard output", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "reproduce",
        .usage = usage,
        .summary = "Recomputes the metrics of the 72 variants of the EDGE-EVAL paper.",
        .details = "csv has one line a variant and metric with 17 significant digits. text also\n"
                   "says which of the paper's claims hold on its own rows, and by how "
                   "much\nthe others do not. html is the page of edge-eval report over all 72.",
        .options = options,
    };
    int n_operands = 0;
    int status = EXIT_OK;
    if (!cmd_parse(&command, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    struct buf text;
    buf_init(&text);
    char *data_dir = NULL;
    int rc = cmd_data_dir(&data_dir, &e);
    rc = rc ? rc : reproduce_format(data_dir, format, &text, &e);
    rc = rc ? rc : output ? fs_write_atomic(output, text.data, text.len, &e) : cmd_print(&text, &e);
    free(data_dir);
    buf_release(&text);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
