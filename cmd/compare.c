/* edge-eval compare: deployments side by side, and the ones worth having. */
#include "cmd.h"

#include "report/compare.h"

static const char *const usage[] = {"compare RUN... [--between A B] [--json]", NULL};

int cmd_compare(int argc, char **argv) {
    struct compare_opts opts = {{NULL, NULL}, false};
    const struct opt options[] = {
        {OPT_PAIR, 0, "between", opts.between, "A B", "compare these two in each task", NULL},
        {OPT_FLAG, 0, "json", &opts.as_json, NULL, "print JSON", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "compare",
        .usage = usage,
        .summary =
            "Puts variants of one or several runs side by side and names those worth having.",
        .details =
            "Worth having is what no other variant of the task beats in score, cost, energy,\n"
            "latency and memory together. Without --between each variant is compared with the\n"
            "fp16 one of its kind. A and B are words that name a variant: \"int4\", \"rag int4\",\n"
            "\"RUN_ID lora int4\". What the data do not decide is called undetermined.",
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
    int rc = compare_format((const char *const *)argv, (size_t)n_runs, &opts, &text, &e);
    rc = rc ? rc : cmd_print(&text, &e);
    buf_release(&text);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
