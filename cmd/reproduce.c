/* edge-eval reproduce: the published figures again, from the published measurements. */
#include "cmd.h"

#include "report/reproduce.h"
#include "report/results.h"

#include "base/buf.h"
#include "base/fs.h"

#include <errno.h>
#include <stdlib.h>

static const char *const usage[] = {
    "reproduce [--format text|csv|json|html] [--output FILE]",
    "reproduce --with RUN [MORE...] [--format md|csv] [--output FILE]", NULL};
static const char *const format_names[] = {"text", "csv", "json", "html", "md", NULL};

/* With a run of ours: beside its rows, those of the others' trainings. */
static int with_runs(const char *data_dir, const char *run, char **more, int n_more,
                     const char *format, struct buf *out, struct err *e) {
    const char **dirs = malloc((size_t)(n_more + 1) * sizeof(*dirs));
    if (!dirs) {
        return err_set(e, EE_NOMEM, "out of memory");
    }
    dirs[0] = run;
    for (int i = 0; i < n_more; i++) {
        dirs[i + 1] = more[i];
    }
    int rc = results_format(data_dir, dirs, (size_t)n_more + 1, format ? format : "md", out, e);
    free(dirs);
    return rc;
}

int cmd_reproduce(int argc, char **argv) {
    const char *format = NULL;
    const char *output = NULL;
    const char *with = NULL;
    const struct opt options[] = {
        {OPT_CHOICE, 'f', "format", &format, "FORMAT",
         "text (default), csv, json or html; with --with: md (default) or csv", format_names},
        {OPT_STR, 0, "with", &with, "RUN", "a run of the matrix, beside the published rows", NULL},
        {OPT_STR, 'o', "output", &output, "FILE", "write to FILE instead of standard output", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "reproduce",
        .usage = usage,
        .summary = "Recomputes the metrics of the 72 variants of the EDGE-EVAL paper.",
        .details =
            "csv has one line a variant and metric with 17 significant digits. text also\n"
            "says which of the paper's claims hold on its own rows, and by how "
            "much\nthe others do not. html is the page of edge-eval report over all 72.\n"
            "--with puts a run of plans/paper.yaml beside them, complete or not: md is a page\n"
            "for people, csv our rows. MORE adds trainings with other settings: runs, and the .json\n"
            "files of scripts/gpu-adapt.py.",
        .options = options,
        .max_operands = 64,
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
    if (!rc && n_operands > 0 && !with) {
        rc = err_set(&e, EE_USAGE, "runs go with --with RUN (see: edge-eval help reproduce)");
    }
    if (!rc && with) {
        rc = with_runs(data_dir, with, argv, n_operands, format, &text, &e);
    } else if (!rc) {
        rc = reproduce_format(data_dir, format ? format : "text", &text, &e);
    }
    rc = rc ? rc : output ? fs_write_atomic(output, text.data, text.len, &e) : cmd_print(&text, &e);
    free(data_dir);
    buf_release(&text);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
