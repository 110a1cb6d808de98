/* edge-eval reproduce: the published figures again, from the published measurements. */
#include "cmd.h"

#include "report/reproduce.h"

#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>

static const char *const usage[] = {"reproduce [--format text|csv|json]", NULL};

int cmd_reproduce(int argc, char **argv) {
    const char *format = "text";
    const struct opt options[] = {
        {OPT_CHOICE, 'f', "format", &format, "FORMAT", "text (default), csv or json",
         reproduce_format_names},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "reproduce",
        .usage = usage,
        .summary = "Recomputes the metrics of the 72 variants of the EDGE-EVAL paper.",
        .details = "csv has one line a variant and metric with 17 significant digits. text also\n"
                   "says which of the paper's claims hold on its own rows, and by how "
                   "much\nthe others do not.",
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
    rc = rc ? rc : cmd_print(&text, &e);
    free(data_dir);
    buf_release(&text);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
