/* edge-eval metrics: a run's metrics under the costs of its plan, or under others. */
#include "cmd.h"

#include "metrics/prices.h"
#include "report/report.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const usage[] = {
    "metrics RUN [--profile paper|full] [--prices FILE] [--set KEY=VALUE]...",
    "metrics RUN [--json | --format text|csv|json] [--variant ID]",
    "metrics --keys",
    NULL,
};

static const char *const format_names[] = {"text", "csv", "json", NULL};

struct metrics_args {
    const char *profile;
    const char *prices;
    const char *format;
    const char *variant;
    bool json;
    bool keys;
    const char **sets;
    size_t n_sets;
};

/* opt keeps one value an option; a what-if is several. Takes "--set X" and "--set=X" out of argv. */
static int take_sets(int *argc, char **argv, struct metrics_args *a, struct err *e) {
    static const char name[] = "--set";
    const size_t len = sizeof(name) - 1;
    int kept = 0;
    a->sets = calloc((size_t)*argc, sizeof(*a->sets));
    if (!a->sets) {
        return err_set(e, EE_NOMEM, "out of memory");
    }
    for (int i = 0; i < *argc; i++) {
        if (strncmp(argv[i], name, len) != 0 || (argv[i][len] && argv[i][len] != '=')) {
            argv[kept++] = argv[i];
        } else if (argv[i][len] == '=') {
            a->sets[a->n_sets++] = argv[i] + len + 1;
        } else if (i + 1 < *argc) {
            a->sets[a->n_sets++] = argv[++i];
        } else {
            return err_set(e, EE_USAGE, "--set needs KEY=VALUE, such as traffic=500/h");
        }
    }
    *argc = kept;
    argv[kept] = NULL;
    return 0;
}

static void print_keys(void) {
    for (int i = 0; i < COST_KEYS; i++) {
        printf("%-16s %s\n", plan_cost_name((enum plan_cost_key)i),
               plan_cost_about((enum plan_cost_key)i));
    }
}

static int print(const struct buf *text, struct err *e) {
    if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0) {
        return err_errno(e, errno, "cannot write to standard output");
    }
    return 0;
}

static int show(const char *run_dir, const struct metrics_args *a, struct err *e) {
    struct arena arena = ARENA_INIT;
    struct price_book shipped = {0};
    struct price_book own = {0};
    struct buf text;
    char today[24];
    buf_init(&text);
    clock_wall_iso8601(today, sizeof(today));
    int rc = cmd_shipped_prices(&arena, &shipped, e); /* for runs that were measured without */
    rc = rc || !a->prices ? rc : prices_load(a->prices, &arena, &own, e);
    const struct report_metrics_opts opts = {
        .what_if = {.sets = a->sets,
                    .n_sets = a->n_sets,
                    .prices = &own,
                    .fallback = &shipped,
                    .as_of = today},
        .profile = a->profile,
        .format = a->json ? "json" : a->format,
        .variant = a->variant,
    };
    rc = rc ? rc : report_metrics(run_dir, &opts, &text, e);
    rc = rc ? rc : print(&text, e);
    buf_release(&text);
    arena_release(&arena);
    return rc;
}

int cmd_metrics(int argc, char **argv) {
    struct metrics_args a = {.format = "text"};
    const char *set = NULL;
    const struct opt options[] = {
        {OPT_CHOICE, 0, "profile", &a.profile, "PROFILE", "full (default) or paper",
         report_profile_names},
        {OPT_STR, 0, "prices", &a.prices, "FILE", "prices that override the run's, entry by entry",
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
    int rc = take_sets(&argc, argv, &a, &e);
    if (rc || !cmd_parse(&command, argc, argv, &n_operands, &status)) {
        free(a.sets);
        return rc ? cmd_fail(&e) : status;
    }
    if (a.keys) {
        print_keys();
    } else if (n_operands == 0) {
        rc = err_set(&e, EE_USAGE, "usage: edge-eval %s (see: edge-eval help metrics)", usage[0]);
    } else {
        rc = show(argv[0], &a, &e);
    }
    free(a.sets);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
