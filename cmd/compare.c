/* edge-eval compare: deployments side by side, and the ones worth having. */
#include "cmd.h"
#include "what_if.h"

#include "report/compare.h"

static const char *const usage[] = {
    "compare RUN... [--between A B] [--json]",
    "compare RUN... [--prices FILE] [--set KEY=VALUE]...",
    NULL,
};

int cmd_compare(int argc, char **argv) {
    struct compare_opts opts = {.width = cmd_columns()};
    struct cmd_what_if w = CMD_WHAT_IF_INIT;
    const char *set = NULL;
    const struct opt options[] = {
        {OPT_PAIR, 0, "between", opts.between, "A B", "compare these two in each task", NULL},
        {OPT_STR, 0, "prices", &w.prices, "FILE", "prices that override the runs', entry by entry",
         NULL},
        {OPT_STR, 0, "set", &set, "KEY=VALUE", "one key of the plans' cost: section; repeatable",
         NULL},
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
            "\"RUN_ID lora int4\". What the data do not decide is called undetermined.\n"
            "--set and --prices put the same costs under all runs: edge-eval metrics --keys.",
        .options = options,
        .min_operands = 1,
        .max_operands = -1,
    };
    struct err e = ERR_INIT;
    int n_runs = 0;
    int status = EXIT_OK;
    int rc = cmd_what_if_take(&argc, argv, &w, &e);
    if (rc || !cmd_parse(&command, argc, argv, &n_runs, &status)) {
        cmd_what_if_release(&w);
        return rc ? cmd_fail(&e) : status;
    }
    struct buf text;
    buf_init(&text);
    if (w.prices || w.n_sets) {
        rc = cmd_what_if_load(&w, &e);
        opts.what_if = &w.what_if;
    }
    rc = rc ? rc : compare_format((const char *const *)argv, (size_t)n_runs, &opts, &text, &e);
    rc = rc ? rc : cmd_print(&text, &e);
    buf_release(&text);
    cmd_what_if_release(&w);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
