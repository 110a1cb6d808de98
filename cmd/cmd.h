/*
 * Subcommands. Each lives in a file of its own and is one row of the table in main.c. A command
 * prints results on stdout and everything else on stderr, and returns the exit status:
 * 0 done, 1 failed, 2 wrong usage.
 */
#ifndef CMD_H
#define CMD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef int command_fn(int argc, char **argv);
command_fn cmd_audit;
command_fn cmd_compare;
command_fn cmd_metrics;
command_fn cmd_doctor;
command_fn cmd_meter;
command_fn cmd_adapt;
command_fn cmd_merge;
command_fn cmd_bench;
command_fn cmd_fidelity;
command_fn cmd_import;
command_fn cmd_models;
command_fn cmd_null_server;
command_fn cmd_project;
command_fn cmd_quantize;
command_fn cmd_report;
command_fn cmd_reproduce;
command_fn cmd_run;
command_fn cmd_synth;
command_fn cmd_worker;

/*
 * opt_parse with the answers a person expects: prints help for --help, the error for bad usage.
 * Returns true when the command should go on, false with *status set when it is finished.
 */
bool cmd_parse(const struct opt_command *cmd, int argc, char **argv, int *n_operands, int *status);
/* Prints "edge-eval: message" on stderr; the exit status that belongs to the error. */
int cmd_fail(const struct err *e);
/* The whole text on stdout. */
int cmd_print(const struct buf *text, struct err *e) EE_MUST_CHECK;
/* A value, which it takes, as a line of JSON on stdout. */
int cmd_print_json(json_t *value, struct err *e) EE_MUST_CHECK;
/* Columns of the terminal that stdout is; 0 where it is none. */
size_t cmd_columns(void);
/* Prints "edge-eval: warning: ..." on stderr. */
void cmd_warn(const char *fmt, ...) EE_PRINTF(1, 2);

/*
 * The data directory (tasks, models, prices): $EDGE_EVAL_DATA, else beside the executable, else
 * beside its parent, else ../share/edge-eval/data. The caller frees *out.
 */
int cmd_data_dir(char **out, struct err *e) EE_MUST_CHECK;

struct arena;
struct price_book;
/* The price book that comes with the program; empty where the data directory has none. */
int cmd_shipped_prices(struct arena *a, struct price_book *book, struct err *e) EE_MUST_CHECK;

#endif
