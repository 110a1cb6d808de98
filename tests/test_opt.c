/* The command line: every kind of option in every spelling, what is refused, and the help's text. */
#include "base/opt.h"

#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_ARGS = 16 };

/* One command with an option of each kind, and what a parse left in it. */
struct parsed {
    bool json;
    bool quiet;
    int64_t runs;
    double scale;
    const char *out;
    const char *format;
    char *argv[MAX_ARGS];
    int n_operands;
    bool help;
};

static const char *const formats[] = {"text", "csv", "json", NULL};
static const char *const usage[] = {"bench TARGET... [--out DIR]", "bench --list", NULL};

static int parse_into(struct parsed *p, int min, int max, struct err *e, const char *const *args) {
    const struct opt options[] = {
        {OPT_FLAG, 'j', "json", &p->json, NULL, "print JSON", NULL},
        {OPT_FLAG, 0, "quiet", &p->quiet, NULL, "say less", NULL},
        {OPT_INT, 'n', "runs", &p->runs, "N", "how many runs", NULL},
        {OPT_NUM, 0, "scale", &p->scale, "X", "scale of the load", NULL},
        {OPT_STR, 'o', "out", &p->out, "DIR", "where results go", NULL},
        {OPT_CHOICE, 0, "format", &p->format, "FORMAT", "text, csv or json", formats},
        {OPT_END, 0, NULL, NULL, NULL, NULL, NULL},
    };
    const struct opt_command cmd = {.name = "bench",
                                    .usage = usage,
                                    .summary = "Measures.",
                                    .options = options,
                                    .min_operands = min,
                                    .max_operands = max};
    int argc = 1;
    char name[] = "bench";
    p->argv[0] = name;
    for (; args[argc - 1]; argc++) {
        assert_true(argc < MAX_ARGS);
        p->argv[argc] = (char *)args[argc - 1];
    }
    return opt_parse(&cmd, argc, p->argv, &p->n_operands, &p->help, e);
}

#define PARSE(p, ...) parse_into(&(p), 0, -1, &e, (const char *const[]){__VA_ARGS__, NULL})

static void every_kind_takes_its_value_in_every_spelling(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    OK(PARSE(p, "--json", "--quiet", "--runs", "3", "--scale", "0.5", "--out", "d", "--format",
             "csv"));
    assert_true(p.json && p.quiet && !p.help);
    assert_int_equal(p.runs, 3);
    assert_true(p.scale == 0.5);
    assert_string_equal(p.out, "d");
    assert_string_equal(p.format, "csv");
    assert_int_equal(p.n_operands, 0);
    struct parsed q = {0};
    OK(PARSE(q, "-j", "--runs=-4", "--scale=1e3", "--out=a=b", "--format=json"));
    assert_true(q.json && !q.quiet);
    assert_int_equal(q.runs, -4);
    assert_true(q.scale == 1000);
    assert_string_equal(q.out, "a=b"); /* only the first '=' ends the name */
    assert_string_equal(q.format, "json");
    struct parsed r = {0};
    OK(PARSE(r, "-n", "9", "-o", "dir"));
    assert_int_equal(r.runs, 9);
    assert_string_equal(r.out, "dir");
}

/* Apart from the others, which one value each serves. */
static int parse_pair(const char *pair[2], int *n_operands, struct err *e,
                      const char *const *args) {
    const struct opt options[] = {
        {OPT_PAIR, 0, "between", pair, "A B", "the two to compare", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {.name = "compare",
                                    .usage = usage,
                                    .summary = "Compares.",
                                    .options = options,
                                    .max_operands = -1};
    char *argv[MAX_ARGS] = {NULL};
    int argc = 1;
    bool help = false;
    for (; args[argc - 1]; argc++) {
        argv[argc] = (char *)args[argc - 1];
    }
    return opt_parse(&cmd, argc, argv, n_operands, &help, e);
}
#define PAIR(...) parse_pair(pair, &n, &e, (const char *const[]){__VA_ARGS__, NULL})

static void a_pair_takes_two_arguments(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    const char *pair[2] = {NULL, NULL};
    int n = 0;
    OK(PAIR("run", "--between", "rag int4", "-x", "other"));
    assert_string_equal(pair[0], "rag int4");
    assert_string_equal(pair[1], "-x");
    assert_int_equal(n, 2);
    static const char needs[] = "--between needs two values: --between A B";
    REFUSED_WITH(PAIR("run", "--between", "a"), EE_USAGE, needs);
    REFUSED_WITH(PAIR("run", "--between"), EE_USAGE, needs);
    REFUSED_WITH(PAIR("run", "--between=a", "b", "c"), EE_USAGE, needs);
}

static void what_is_not_given_keeps_its_default(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {.runs = 7, .scale = 1.5, .out = "runs", .format = "text"};
    OK(PARSE(p, "x"));
    assert_true(!p.json && p.runs == 7 && p.scale == 1.5);
    assert_string_equal(p.out, "runs");
    assert_string_equal(p.format, "text");
}

static void the_last_of_two_counts(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    OK(PARSE(p, "--runs=1", "--out", "a", "-n", "2", "--out=b"));
    assert_int_equal(p.runs, 2);
    assert_string_equal(p.out, "b");
}

static void operands_may_stand_anywhere(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    OK(PARSE(p, "one", "--runs", "2", "two", "-j", "", "-", "three"));
    assert_int_equal(p.n_operands, 5);
    assert_string_equal(p.argv[0], "one");
    assert_string_equal(p.argv[1], "two");
    assert_string_equal(p.argv[2], "");
    assert_string_equal(p.argv[3], "-"); /* the usual name of standard input */
    assert_string_equal(p.argv[4], "three");
    assert_int_equal(p.runs, 2);
}

static void two_dashes_end_the_options(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    OK(PARSE(p, "a", "--json", "--", "--quiet", "--", "--help", "-5"));
    assert_true(p.json && !p.quiet && !p.help);
    assert_int_equal(p.n_operands, 5);
    assert_string_equal(p.argv[1], "--quiet");
    assert_string_equal(p.argv[2], "--");
    assert_string_equal(p.argv[3], "--help");
    struct parsed q = {0};
    OK(PARSE(q, "--out", "--")); /* here it is a value */
    assert_string_equal(q.out, "--");
}

static void a_value_may_look_like_an_option(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    OK(PARSE(p, "--runs", "-12", "--scale", "-.5", "--out", "--json"));
    assert_int_equal(p.runs, -12);
    assert_true(p.scale == -.5);
    assert_string_equal(p.out, "--json");
    assert_false(p.json);
}

#define HELP " (see: edge-eval help bench)"

static void wrong_options_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *a, *b, *msg;
    } rows[] = {
        {"--what", NULL, "unknown option --what" HELP},
        {"--what=1", NULL, "unknown option --what=1" HELP},
        {"--run", NULL, "unknown option --run" HELP}, /* no abbreviations */
        {"--runsx", "1", "unknown option --runsx" HELP},
        {"--", "--json", NULL},
        {"---", NULL, "unknown option ---" HELP},
        {"--=3", NULL, "unknown option --=3" HELP},
        {"-x", NULL, "unknown option -x" HELP},
        {"-jn", NULL, "unknown option -jn" HELP}, /* no bundles */
        {"-n3", NULL, "unknown option -n3" HELP},
        {"-5", NULL, "unknown option -5" HELP},
        {"--JSON", NULL, "unknown option --JSON" HELP},
        {"--help=x", NULL, "unknown option --help=x" HELP},
        {"--json=1", NULL, "--json takes no value" HELP},
        {"--json=", NULL, "--json takes no value" HELP},
        {"--runs", NULL, "--runs needs a value: --runs N" HELP},
        {"-n", NULL, "--runs needs a value: --runs N" HELP},
        {"--out", NULL, "--out needs a value: --out DIR" HELP},
        {"--runs", "x", "--runs should be a whole number and is \"x\"" HELP},
        {"--runs", "1.5", "--runs should be a whole number and is \"1.5\"" HELP},
        {"--runs", "", "--runs should be a whole number and is \"\"" HELP},
        {"--runs=", NULL, "--runs should be a whole number and is \"\"" HELP},
        {"--runs", "3x", "--runs should be a whole number and is \"3x\"" HELP},
        {"--runs", "9223372036854775808",
         "--runs should be a whole number and is \"9223372036854775808\"" HELP},
        {"--scale", "fast", "--scale should be a number and is \"fast\"" HELP},
        {"--scale", "1,5", "--scale should be a number and is \"1,5\"" HELP},
        {"--scale", "nan", "--scale should be a number and is \"nan\"" HELP},
        {"--scale", "-inf", "--scale should be a number and is \"-inf\"" HELP},
        {"--scale", "1e999", "--scale should be a number and is \"1e999\"" HELP},
        {"--out", "", "--out is empty" HELP},
        {"--out=", NULL, "--out is empty" HELP},
        {"--format", "xml", "--format is \"xml\"; allowed: text, csv, json" HELP},
        {"--format", "TEXT", "--format is \"TEXT\"; allowed: text, csv, json" HELP},
        {"--format=", NULL, "--format is \"\"; allowed: text, csv, json" HELP},
        {"--format", "tex", "--format is \"tex\"; allowed: text, csv, json" HELP},
        {"--%s%n", NULL, "unknown option --%s%n" HELP},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err e = ERR_INIT;
        struct parsed p = {.runs = 7, .scale = 1.5, .out = "o", .format = "text"};
        const char *const args[] = {rows[i].a, rows[i].b, NULL};
        int rc = parse_into(&p, 0, -1, &e, args);
        if (rows[i].msg) {
            REFUSED(rc, EE_USAGE, rows[i].msg);
        } else {
            OK(rc);
        }
        assert_true(p.runs == 7 && p.scale == 1.5);
        assert_string_equal(p.out, "o");
        assert_string_equal(p.format, "text");
    }
}

static void very_long_arguments_are_cut_in_the_message(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    char longish[5000];
    memset(longish, 'x', sizeof(longish) - 1);
    memcpy(longish, "--", 2);
    longish[sizeof(longish) - 1] = '\0';
    assert_int_equal(PARSE(p, longish), EE_USAGE);
    assert_true(strlen(e.msg) < 200);
    assert_non_null(strstr(e.msg, HELP));
    assert_int_equal(PARSE(p, "--runs", longish), EE_USAGE);
    assert_non_null(strstr(e.msg, HELP));
    assert_int_equal(PARSE(p, "--format", longish), EE_USAGE);
    assert_non_null(strstr(e.msg, HELP));
}

static void operands_are_counted(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    REFUSED(parse_into(&p, 1, 2, &e, (const char *const[]){NULL}), EE_USAGE,
            "usage: edge-eval bench TARGET... [--out DIR]" HELP);
    OK(parse_into(&p, 1, 2, &e, (const char *const[]){"a", NULL}));
    OK(parse_into(&p, 1, 2, &e, (const char *const[]){"a", "b", NULL}));
    REFUSED(parse_into(&p, 1, 2, &e, (const char *const[]){"a", "b", "c", "d", NULL}), EE_USAGE,
            "unexpected argument \"c\"" HELP);
    REFUSED(parse_into(&p, 0, 0, &e, (const char *const[]){"a", NULL}), EE_USAGE,
            "unexpected argument \"a\"" HELP);
    OK(parse_into(&p, 0, 0, &e, (const char *const[]){NULL}));
    assert_int_equal(p.n_operands, 0);
}

static void help_stops_the_parse(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct parsed p = {0};
    /* Neither the missing operand nor what follows matters to one who asks for help. */
    OK(parse_into(&p, 1, 1, &e, (const char *const[]){"--json", "-h", "--nonsense", NULL}));
    assert_true(p.help && p.json);
    struct parsed q = {0};
    OK(parse_into(&q, 1, 1, &e, (const char *const[]){"--help", NULL}));
    assert_true(q.help);
    struct parsed r = {0};
    OK(PARSE(r, "--out", "--help")); /* a value here */
    assert_false(r.help);
    assert_int_equal(PARSE(r, "--nonsense", "--help"), EE_USAGE);
}

static void help_is_made_from_the_table(void **state) {
    (void)state;
    const struct opt options[] = {
        {OPT_FLAG, 'j', "json", NULL, NULL, "print JSON", NULL},
        {OPT_INT, 0, "runs", NULL, "N", "how many runs", NULL},
        {OPT_CHOICE, 'f', "format", NULL, "FORMAT", "text, csv or json", formats},
        {OPT_STR, 0, "a-name-wider-than-its-column", NULL, "VALUE", "still two spaces off", NULL},
        {OPT_END, 0, NULL, NULL, NULL, NULL, NULL},
    };
    const struct opt_command cmd = {.name = "bench",
                                    .usage = usage,
                                    .summary = "Measures 100% of it.",
                                    .details = "A paragraph.\n\nAnother.",
                                    .options = options};
    struct buf b;
    buf_init(&b);
    opt_help(&cmd, &b);
    assert_string_equal(b.data, "usage: edge-eval bench TARGET... [--out DIR]\n"
                                "       edge-eval bench --list\n"
                                "\n"
                                "Measures 100% of it.\n"
                                "\n"
                                "  -j, --json                    print JSON\n"
                                "      --runs N                  how many runs\n"
                                "  -f, --format FORMAT           text, csv or json\n"
                                "      --a-name-wider-than-its-column VALUE  still two spaces off\n"
                                "\n"
                                "A paragraph.\n\nAnother.\n");
    buf_release(&b);
}

static void help_of_a_command_without_options_is_short(void **state) {
    (void)state;
    static const char *const one[] = {"doctor", NULL};
    const struct opt options[] = {{OPT_END, 0, NULL, NULL, NULL, NULL, NULL}};
    const struct opt_command cmd = {
        .name = "doctor", .usage = one, .summary = "Looks.", .options = options};
    struct buf b;
    buf_init(&b);
    opt_help(&cmd, &b);
    assert_string_equal(b.data, "usage: edge-eval doctor\n\nLooks.\n");
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_takes_its_value_in_every_spelling),
        cmocka_unit_test(a_pair_takes_two_arguments),
        cmocka_unit_test(what_is_not_given_keeps_its_default),
        cmocka_unit_test(the_last_of_two_counts),
        cmocka_unit_test(operands_may_stand_anywhere),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(a_value_may_look_like_an_option),
        cmocka_unit_test(wrong_options_are_refused_by_name),
        cmocka_unit_test(very_long_arguments_are_cut_in_the_message),
        cmocka_unit_test(operands_are_counted),
        cmocka_unit_test(help_stops_the_parse),
        cmocka_unit_test(help_is_made_from_the_table),
        cmocka_unit_test(help_of_a_command_without_options_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
