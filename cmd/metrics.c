/* edge-eval metrics: a run's metrics under the costs of its plan, or under others. */
#include "cmd.h"
#include "what_if.h"

#include "base/buf.h"

#include <stdio.h>

static const char *const usage[] = {
    "metrics RUN [--profile paper|full] [--prices FILE] [--set KEY=VALUE]...",
    "metrics RUN [--json | --format text|csv|json] [--variant ID]",
    "metrics --keys",
    NULL,
};

static const char *const format_names[] = {"text", "csv", "json", NULL};

struct metrics_args {
    const char *profile;
    const char *format;
    const char *variant;
    bool json;
    bool keys;
};

static void print_keys(void) {
    for (int i = 0; i < COST_KEYS; i++) {
        printf("%-16s %s\n", plan_cost_name((enum plan_cost_key)i),
               plan_cost_about((enum plan_cost_key)i));
    }
}

static int show(const char *run_dir, const struct metrics_args *a, struct cmd_what_if *w,
                struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = cmd_what_if_load(w, e);
    const struct report_metrics_opts opts = {
        .what_if = w->what_if,
        .profile = a->profile,
        .format = a->json ? "json" : a->format,
        .width = cmd_columns(),
        .variant = a->variant,
    };
    rc = rc ? rc : report_metrics(run_dir, &opts, &text, e);
    rc = rc ? rc : cmd_print(&text, e);
    buf_release(&text);
    return rc;
}

int cmd_metrics(int argc, char **argv) {
    struct metrics_args a = {.format = "text"};
    struct cmd_what_if w = CMD_WHAT_IF_INIT;
    const char *set = NULL;
    const struct opt options[] = {
        {OPT_CHOICE, 0, "profile", &a.profile, "PROFILE", "full (default) or paper",
         report_profile_names},
        {OPT_STR, 0, "prices", &w.prices, "FILE", "prices that override the run's, entry by entry",
         NULL},
        {OPT_STR, 0, "set", &set, "KEY=VALUE", "one key of the plan's cost: section; repeatable",
         NULL},
        {OPT_STR, 0, "variant", &a.variant, "ID", "whose break-even is taken apart", NULL},
        {OPT_CHOICE, 'f', "format", &a.format, "FORMAT", "text (default), csv or json",
         format_names},
        {OPT_FLAG, 0, "json", &a.json, NULL, "as --format json", NULL},
        {OPT_FLAG, 0, "keys", &a.keys, NULL, "list the keys of --set, and stop", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command command = {
        .name = "metrics",
        .usage = usage,
        .summary = "Shows what a run's deployment is worth, at its plan's costs or at others.",
        .details = "Figures with ~ rest on modelled energy; - was refused, with the reason below.\n"
                   "--set traffic=500/h --set electricity=0.30 asks what if. Nothing is stored.",
        .options = options,
        .max_operands = 1,
    };
    struct err e = ERR_INIT;
    int n_operands = 0;
    int status = EXIT_OK;
    int rc = cmd_what_if_take(&argc, argv, &w, &e);
    if (rc || !cmd_parse(&command, argc, argv, &n_operands, &status)) {
        cmd_what_if_release(&w);
        return rc ? cmd_fail(&e) : status;
    }
    if (a.keys) {
        print_keys();
    } else if (n_operands == 0) {
        rc = err_set(&e, EE_USAGE, "usage: edge-eval %s (see: edge-eval help metrics)", usage[0]);
    } else {
        rc = show(argv[0], &a, &w, &e);
    }
    cmd_what_if_release(&w);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
