/* edge-eval: the table of subcommands, and what they share. */
#include "cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "metrics/prices.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct {
    const char *name;
    command_fn *run;
    const char *summary; /* NULL: not for people */
} commands[] = {
    {"run", cmd_run, "measure a plan: adapt, quantize, load, serve, score, report"},
    {"metrics", cmd_metrics, "what a run's deployment is worth: break-even, cost, carbon"},
    {"report", cmd_report, "print or write the report of finished runs"},
    {"compare", cmd_compare, "variants side by side, and the ones worth having"},
    {"audit", cmd_audit, "what is weak in measurements, and what to do about it"},
    {"reproduce", cmd_reproduce, "the published variants, recomputed, and what they show"},
    {"project", cmd_project, "what a run would take on another device, by roofline"},
    {"adapt", cmd_adapt, "fine-tune a model on a task (LoRA, QLoRA)"},
    {"merge", cmd_merge, "make a model and its adapter one model"},
    {"bench", cmd_bench, "load on a server: latencies, throughput, goodput"},
    {"fidelity", cmd_fidelity, "compare what two models predict for the same tokens"},
    {"import", cmd_import, "make a GGUF file from a Hugging Face checkpoint or adapter"},
    {"quantize", cmd_quantize, "write a GGUF file in another precision"},
    {"synth", cmd_synth, "write a checkpoint of a known shape with random weights"},
    {"models", cmd_models, "list known checkpoints and where they are"},
    {"meter", cmd_meter, "joules of a command, a process, or the machine"},
    {"null-server", cmd_null_server, "scripted server to calibrate and test clients"},
    {"doctor", cmd_doctor, "what this machine can measure, and how to make it more"},
    {"worker", cmd_worker, NULL},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_overview(FILE *out) {
    fprintf(out, "usage: edge-eval COMMAND [ARGUMENTS]\n\n"
                 "Is this language-model deployment worth it? Measures a model's life on this\n"
                 "machine and computes cost, energy and quality metrics with their sources.\n\n");
    for (int i = 0; i < N_COMMANDS; i++) {
        if (commands[i].summary) {
            fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
        }
    }
    fprintf(out, "\nedge-eval help COMMAND tells more; edge-eval --version the version.\n");
}

static command_fn *find_command(const char *name) {
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return commands[i].run;
        }
    }
    return NULL;
}

static int unknown_command(const char *name) {
    fprintf(stderr, "edge-eval: unknown command \"%.60s\"; known:", name);
    for (int i = 0; i < N_COMMANDS; i++) {
        if (commands[i].summary) {
            fprintf(stderr, " %s", commands[i].name);
        }
    }
    fprintf(stderr, "\n");
    return EXIT_USAGE;
}

static int help(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stdout);
        return EXIT_OK;
    }
    command_fn *run = find_command(argv[1]);
    if (!run) {
        return unknown_command(argv[1]);
    }
    char help_flag[] = "--help";
    char *args[] = {argv[1], help_flag, NULL};
    return run(2, args);
}

bool cmd_parse(const struct opt_command *cmd, int argc, char **argv, int *n_operands, int *status) {
    struct err e = ERR_INIT;
    bool wants_help = false;
    if (opt_parse(cmd, argc, argv, n_operands, &wants_help, &e)) {
        *status = cmd_fail(&e);
        return false;
    }
    if (wants_help) {
        struct buf text;
        buf_init(&text);
        opt_help(cmd, &text);
        fputs(text.data, stdout);
        buf_release(&text);
        *status = EXIT_OK;
        return false;
    }
    return true;
}

int cmd_fail(const struct err *e) {
    fprintf(stderr, "edge-eval: %s\n", e->msg);
    return e->code == EE_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

size_t cmd_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

int cmd_print(const struct buf *text, struct err *e) {
    if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0) {
        return err_errno(e, errno, "cannot write to standard output");
    }
    return 0;
}

int cmd_print_json(json_t *value, struct err *e) {
    struct buf text;
    buf_init(&text);
    int rc = json_write(value, &text, e);
    buf_addch(&text, '\n');
    rc = rc ? rc : buf_check(&text, "JSON", e);
    rc = rc ? rc : cmd_print(&text, e);
    buf_release(&text);
    json_decref(value);
    return rc;
}

void cmd_warn(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("edge-eval: warning: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

int cmd_data_dir(char **out, struct err *e) {
    static const char *const places[] = {"data", "../data", "../share/edge-eval/data"};
    const char *given = getenv("EDGE_EVAL_DATA");
    *out = NULL;
    if (given && *given) {
        *out = strdup(given);
        return *out ? 0 : err_set(e, EE_NOMEM, "out of memory");
    }
    char *exe = fs_exe_path();
    char *dir = exe ? fs_dirname(exe) : NULL;
    for (size_t i = 0; dir && i < sizeof(places) / sizeof(places[0]) && !*out; i++) {
        char *candidate = fs_join(dir, places[i]);
        char *proof = candidate ? fs_join(candidate, "models.yaml") : NULL;
        if (proof && fs_exists(proof)) {
            *out = realpath(candidate, NULL);
        }
        free(proof);
        free(candidate);
    }
    int rc = *out ? 0
                  : err_set(e, EE_MISSING,
                            "no data directory near %s; set EDGE_EVAL_DATA to the folder with "
                            "models.yaml and tasks/",
                            dir ? dir : "the program");
    free(dir);
    free(exe);
    return rc;
}

int cmd_shipped_prices(struct arena *a, struct price_book *book, struct err *e) {
    char *data_dir = NULL;
    int rc = cmd_data_dir(&data_dir, e);
    char *path = rc ? NULL : fs_join(data_dir, "prices");
    if (!rc && !path) {
        rc = err_set(e, EE_NOMEM, "out of memory");
    }
    rc = rc || !fs_exists(path) ? rc : prices_load(path, a, book, e);
    free(path);
    free(data_dir);
    return rc;
}

static void log_to_stderr(enum log_level level, const char *line, void *ctx) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)ctx;
    fprintf(stderr, "edge-eval: %s: %s\n", names[level], line);
}

static enum log_level log_level_wanted(void) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *wanted = getenv("EDGE_EVAL_LOG");
    for (int i = 0; wanted && i < 4; i++) {
        if (strcmp(wanted, names[i]) == 0) {
            return (enum log_level)i;
        }
    }
    return LOG_WARN;
}

static void on_file_too_large(int sig) {
    (void)sig;
}

/* A file at the user's size limit is then an error of the write like any other. A handler, because
 * commands that are run start with the default again, which they would not after SIG_IGN. */
static void survive_file_size_limit(void) {
    struct sigaction act = {.sa_handler = on_file_too_large};
    struct sigaction old;
    if (sigaction(SIGXFSZ, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        sigaction(SIGXFSZ, &act, NULL);
    }
}

int main(int argc, char **argv) {
    survive_file_size_limit();
    log_set_sink(log_to_stderr, NULL, log_level_wanted());
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
        return help(argc - 1, argv + 1);
    }
    if (!strcmp(name, "--version")) {
        printf("edge-eval %s\n", EDGE_EVAL_VERSION);
        return EXIT_OK;
    }
    command_fn *run = find_command(name);
    return run ? run(argc - 1, argv + 1) : unknown_command(name);
}
