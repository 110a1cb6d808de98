/* edge-eval project: a run carried to another device by roofline. */
#include "cmd.h"

#include "report/project.h"

#include <stdlib.h>

static const char *const usage[] = {
    "project --from RUN --to DEVICE [--devices N] [--format text|csv]", NULL};

int cmd_project(int argc, char **argv) {
    const char *from = NULL;
    const char *to = NULL;
    const char *format = "text";
    int64_t devices = 1;
    const struct opt options[] = {
        {OPT_STR, 0, "from", &from, "RUN", "a run on one accelerator", NULL},
        {OPT_STR, 0, "to", &to, "DEVICE", "t4, l4, a10, a100, jetson-orin, ... (data/devices.yaml)",
         NULL},
        {OPT_INT, 0, "devices", &devices, "N", "that share the work evenly (default 1)", NULL},
        {OPT_CHOICE, 'f', "format", &format, "FORMAT", "text (default) or csv",
         project_format_names},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "project",
        .usage = usage,
        .summary = "Estimates what a run's serving and training would take on another device.",
        .details =
            "Bytes and operations of each stage are counted, the share of the device's peaks\n"
            "that it achieved is measured, and both are carried over, with an interval. To two\n"
            "T4 the published rows tell how far off that is (docs/project.md).",
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
    int rc = from && to ? 0 : err_set(&e, EE_USAGE, "--from RUN and --to DEVICE are needed");
    if (!rc && (devices < 1 || devices > 64)) {
        rc = err_set(&e, EE_USAGE, "--devices can be 1 to 64");
    }
    rc = rc ? rc : cmd_data_dir(&data_dir, &e);
    rc = rc ? rc : project_format(data_dir, from, to, (int)devices, format, &text, &e);
    rc = rc ? rc : cmd_print(&text, &e);
    free(data_dir);
    buf_release(&text);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
