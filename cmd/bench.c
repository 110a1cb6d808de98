/* edge-eval bench: load on a server, and figures that can be believed. */
#include "bench_around.h"
#include "bench_cmd.h"
#include "cmd.h"

#include "base/clock.h"
#include "base/machine.h"
#include "serve/compat.h"
#include "stop.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const usage[] = {
    "bench URL [--rate R | --concurrency N] [--task NAME | --input N] ...",
    "bench MODEL.gguf [--rate R | --concurrency N] [--task NAME | --input N] ...",
    "bench --from FILE [--compat TOOL] [--slo LIMITS] [--csv FILE]",
    NULL,
};

enum { OWN_DESCRIPTORS = 64 }; /* of this process, beside its connections */

/* So many connections at once need as many descriptors: better said now than counted as failures. */
static int check_descriptors(const struct setup *s, struct err *e) {
    uint64_t limit = machine_raise_descriptors();
    uint64_t need = (uint64_t)levels_max(&s->o.levels) + OWN_DESCRIPTORS;
    return s->o.open_loop || !limit || need <= limit
               ? 0
               : err_set(e, EE_USAGE,
                         "%llu connections need %llu descriptors and this process may open %llu: "
                         "raise the limit (ulimit -n), or let several processes share the load",
                         (unsigned long long)need - OWN_DESCRIPTORS, (unsigned long long)need,
                         (unsigned long long)limit);
}

void bench_show_progress(void *ctx, double elapsed_s, uint64_t begun, uint64_t ended,
                         uint64_t failed) {
    const struct ticker *t = ctx;
    if (t->is_terminal) {
        fprintf(stderr, "\r%7.1f s  %llu sent, %llu in flight, %llu failed \033[K", elapsed_s,
                (unsigned long long)begun, (unsigned long long)(begun - ended),
                (unsigned long long)failed);
    }
}

bool bench_is_terminal(void) {
    return isatty(STDERR_FILENO);
}

void bench_end_progress(const struct ticker *t) {
    if (t->is_terminal) {
        fprintf(stderr, "\r\033[K");
    }
}

int bench_calibrate(const struct setup *s, struct calibration *out, struct err *e) {
    const struct bench_opts *o = &s->o;
    double level = levels_max(&o->levels);
    const struct calibrate_opts c = {
        .open_loop = o->open_loop,
        .rate = o->workload.trace ? 20 : level,
        .concurrency = o->open_loop ? 16 : (size_t)level,
        .n_loops = o->n_loops,
        .cpus = o->cpus,
        .n_cpus = o->n_cpus,
        .seconds = 1.5,
        .ttft_ms = 10,
        .itl_ms = 10,
        .tokens = 10,
        .seed = o->seed,
        .read_times = o->transport.read_times || !o->ops->has_kernel_times,
        .stop = &stop_requested,
    };
    return calibrate(&c, out, e);
}

struct progress_ctx {
    struct ticker ticker;
    struct around *around;
};

static void on_progress(void *ctx, double elapsed_s, uint64_t begun, uint64_t ended,
                        uint64_t failed) {
    struct progress_ctx *p = ctx;
    bench_show_progress(&p->ticker, elapsed_s, begun, ended, failed);
    around_tick(p->around);
}

/* Load, measure, keep, show. */
static int measure_once(const struct bench_args *a, struct setup *s, struct around *around,
                        const char *dir, const struct calibration *c, struct err *e) {
    struct progress_ctx p = {.ticker = {.is_terminal = !a->quiet && bench_is_terminal()},
                             .around = around};
    struct bench b = {0};
    s->o.progress = on_progress;
    s->o.progress_ctx = &p;
    s->o.edge = around_edge;
    s->o.edge_ctx = around;
    int rc = bench_run(&b, &s->o, &s->workload, c, e);
    bench_end_progress(&p.ticker);
    if (rc) {
        return rc;
    }
    json_t *result = bench_json(&b);
    around_add(around, &b.measures, result);
    rc = dir ? bench_keep(dir, "requests", result, &b.result, e) : 0;
    int shown = bench_show(a, result, &b.result, &b.measures, rc ? NULL : e);
    rc = rc ? rc : shown;
    if (!rc && dir && !a->quiet) {
        fprintf(stderr, "Kept in %s: requests.json, requests.eebench (bench --from reads it)\n",
                dir);
    }
    if (!rc && b.measures.outcomes[OUTCOME_OK] == 0) {
        rc = err_set(e, EE_FAIL, "no request was answered");
    }
    json_decref(result);
    bench_release(&b);
    return rc;
}

static int run(const struct bench_args *a, struct setup *s, struct err *e) {
    struct calibration c = {.reason = "not asked to"};
    struct around around = {.args = a};
    char started[24];
    char *dir = NULL;
    clock_wall_iso8601(started, sizeof(started));
    int rc = bench_out_dir(a, started, &dir, e);
    rc = rc || a->no_calibration ? rc : bench_calibrate(s, &c, e);
    rc = rc ? rc : around_begin(&around, a, &s->o.target, s->auth, dir, e);
    rc = rc ? rc : bench_set_up_prompts(a, s, e);
    rc = rc ? rc : around_first_token(&around, s->model, e);
    if (!rc && a->sweep) {
        rc = bench_sweep(a, s, dir, e);
    } else if (!rc) {
        rc = measure_once(a, s, &around, dir, &c, e);
    }
    around_end(&around);
    free(dir);
    return rc;
}

/* Figures of a file of records. */
static int reread(const struct bench_args *a, struct err *e) {
    struct slo_set slos = {0};
    json_t *result = NULL;
    struct load_result load;
    struct measures m;
    int rc = a->slo ? slo_parse(a->slo, &slos, e) : 0;
    rc = rc ? rc : bench_reread(a->from, &slos, &result, &load, &m, e);
    if (!rc) {
        rc = bench_show(a, result, &load, &m, e);
        measures_release(&m);
        load_result_release(&load);
        json_decref(result);
    }
    return rc;
}

int cmd_bench(int argc, char **argv) {
    static const char *const apis[] = {"chat", "text", NULL};
    static const char *const arrivals[] = {"constant", "poisson", "gamma", "bursty", NULL};
    static const char *const stamps[] = {"kernel", "read", NULL};
    struct bench_args a = {.api = "chat",
                           .arrival = "poisson",
                           .timestamps = "kernel",
                           .cv = 1,
                           .burst = 8,
                           .seed = 1,
                           .trace_speed = 1,
                           .prefix_groups = 1,
                           .turns = 1,
                           .connect_timeout_s = 5,
                           .stall_s = 120,
                           .timeout_s = 600,
                           .loops = 1,
                           .attain = 0.95,
                           .ready_timeout_s = 300};
    const struct opt options[] = {
        {OPT_STR, 'c', "concurrency", &a.concurrency, "N",
         "closed loop: so many in flight (1); "
         "1,2,4 are steps, 1..8 a ramp",
         NULL},
        {OPT_STR, 'r', "rate", &a.rate, "R", "open loop: requests a second; steps and ramps too",
         NULL},
        {OPT_CHOICE, 0, "arrival", &a.arrival, "KIND", "constant, poisson (default), gamma, bursty",
         arrivals},
        {OPT_NUM, 0, "cv", &a.cv, "X", "gamma: coefficient of variation of the gaps (1)", NULL},
        {OPT_INT, 0, "burst", &a.burst, "N", "bursty: requests at one moment (8)", NULL},
        {OPT_NUM, 0, "step", &a.step_s, "S", "seconds of each step", NULL},
        {OPT_INT, 'n', "count", &a.count, "N", "requests in all", NULL},
        {OPT_NUM, 'd', "duration", &a.duration_s, "S", "seconds, the warm-up not counted", NULL},
        {OPT_NUM, 0, "warmup", &a.warmup_s, "S", "seconds of load before measuring (0)", NULL},
        {OPT_NUM, 0, "drain", &a.drain_s, "S",
         "after --duration: seconds for what is in flight (60)", NULL},
        {OPT_INT, 0, "seed", &a.seed, "N", "of schedule and prompts (1)", NULL},
        {OPT_STR, 0, "task", &a.task, "NAME", "prompts of the task set rag, summ or chat", NULL},
        {OPT_STR, 0, "prompts", &a.prompts, "FILE", "prompts of a JSONL file", NULL},
        {OPT_STR, 0, "trace", &a.trace, "FILE", "times and lengths of a Mooncake or Azure trace",
         NULL},
        {OPT_NUM, 0, "trace-speed", &a.trace_speed, "X", "play it so many times as fast (1)", NULL},
        {OPT_STR, 0, "input", &a.input, "N", "synthetic prompts of N tokens (or N..M)", NULL},
        {OPT_STR, 0, "output", &a.output, "N", "max_tokens of an answer (or N..M)", NULL},
        {OPT_INT, 0, "prefix", &a.prefix, "N", "synthetic: so many tokens shared by prompts", NULL},
        {OPT_INT, 0, "prefix-groups", &a.prefix_groups, "N", "different prefixes (1)", NULL},
        {OPT_INT, 0, "prompt-count", &a.n_prompts, "N", "prompts to make, or to take of a file",
         NULL},
        {OPT_INT, 0, "turns", &a.turns, "N", "synthetic conversations of N user turns (1)", NULL},
        {OPT_STR, 0, "turn-input", &a.turn_input, "N", "words of each further turn (32)", NULL},
        {OPT_NUM, 0, "think", &a.think_s, "S", "seconds before each further turn (0)", NULL},
        {OPT_FLAG, 0, "ignore-eos", &a.force_length, NULL, "ask for answers of full length", NULL},
        {OPT_FLAG, 0, "send-ids", &a.send_ids, NULL, "text completions: send token ids", NULL},
        {OPT_NUM, 0, "temperature", &a.temperature, "T", "sampling (0)", NULL},
        {OPT_STR, 0, "extra", &a.extra, "JSON", "members added to every request", NULL},
        {OPT_STR, 0, "tokenizer", &a.tokenizer, "GGUF",
         "its vocabulary: exact lengths, the server's counts checked", NULL},
        {OPT_STR, 0, "slo", &a.slo, "LIMITS", "goodput: ttft=200ms,tpot=25ms,e2e=5s", NULL},
        {OPT_FLAG, 0, "sweep", &a.sweep, NULL,
         "search the highest good load, from --rate or --concurrency on", NULL},
        {OPT_NUM, 0, "attain", &a.attain, "X", "sweep: share that must meet --slo (0.95)", NULL},
        {OPT_STR, 0, "server", &a.server, "COMMAND", "start this server, and stop it at the end",
         NULL},
        {OPT_STR, 0, "ready", &a.ready, "PATH", "answers 200 once it is ready (/health)", NULL},
        {OPT_NUM, 0, "ready-timeout", &a.ready_timeout_s, "S", "longest start (300)", NULL},
        {OPT_FLAG, 0, "energy", &a.energy, NULL, "measure this machine's energy (on with --server)",
         NULL},
        {OPT_STR, 0, "energy-source", &a.energy_source, "NAME", "of edge-eval meter (auto)", NULL},
        {OPT_NUM, 0, "idle", &a.idle_s, "S", "measure idle power first (0: no)", NULL},
        {OPT_STR, 0, "metrics", &a.metrics, "PATH",
         "scrape Prometheus metrics there (/metrics with "
         "--server)",
         NULL},
        {OPT_CHOICE, 0, "api", &a.api, "KIND", "chat (default) or text completions", apis},
        {OPT_STR, 'm', "model", &a.model, "NAME", "in requests (the first the server lists)", NULL},
        {OPT_STR, 0, "auth-env", &a.auth_env, "NAME", "variable that holds the API key", NULL},
        {OPT_FLAG, 0, "http2", &a.http2, NULL, "HTTP/2", NULL},
        {OPT_STR, 0, "ca-file", &a.ca_file, "FILE", "TLS: certificates to trust", NULL},
        {OPT_FLAG, 0, "insecure", &a.insecure, NULL, "TLS: do not check certificates", NULL},
        {OPT_NUM, 0, "connect-timeout", &a.connect_timeout_s, "S", "(5)", NULL},
        {OPT_NUM, 0, "stall", &a.stall_s, "S", "longest silence of a request (120)", NULL},
        {OPT_NUM, 0, "timeout", &a.timeout_s, "S", "longest request (600)", NULL},
        {OPT_INT, 0, "connections", &a.connections, "N", "opened before the load begins", NULL},
        {OPT_INT, 0, "max-connections", &a.max_connections, "N", "(4096, or the concurrency)",
         NULL},
        {OPT_STR, 0, "source", &a.sources, "ADDR,...", "addresses to connect from, in turn", NULL},
        {OPT_INT, 0, "parallel", &a.parallel, "N", "model file: requests worked on at once", NULL},
        {OPT_INT, 0, "threads", &a.threads, "N", "model file: of the engine (all)", NULL},
        {OPT_INT, 0, "gpu-layers", &a.gpu_layers, "N", "model file: layers on a GPU, -1 all (0)",
         NULL},
        {OPT_INT, 0, "batch", &a.batch, "N", "model file: tokens a step (512)", NULL},
        {OPT_INT, 0, "context", &a.context, "N", "model file: tokens a request may have", NULL},
        {OPT_CHOICE, 0, "timestamps", &a.timestamps, "WHOSE",
         "of arrivals: kernel (default), or read, the moment after", stamps},
        {OPT_INT, 0, "loops", &a.loops, "N", "event loops, each a thread (1)", NULL},
        {OPT_STR, 0, "cpus", &a.cpus, "N,...", "CPUs the loops are bound to", NULL},
        {OPT_FLAG, 0, "no-calibration", &a.no_calibration, NULL, "do not measure the client first",
         NULL},
        {OPT_STR, 'o', "out", &a.out, "DIR", "keep results in DIR (runs/bench-TIME)", NULL},
        {OPT_FLAG, 0, "no-out", &a.no_out, NULL, "keep nothing", NULL},
        {OPT_STR, 0, "prompts-out", &a.prompts_out, "FILE",
         "write the prompts, with token ids where they are known", NULL},
        {OPT_STR, 0, "csv", &a.csv, "FILE", "write one line a request", NULL},
        {OPT_STR, 0, "from", &a.from, "FILE", "figures of records that were kept", NULL},
        {OPT_CHOICE, 0, "compat", &a.compat, "TOOL", "also as vllm, guidellm or aiperf define them",
         compat_names},
        {OPT_FLAG, 0, "json", &a.as_json, NULL, "print JSON", NULL},
        {OPT_FLAG, 'q', "quiet", &a.quiet, NULL, "no progress", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "bench",
        .usage = usage,
        .summary = "Load on an OpenAI-compatible server: latencies, throughput, goodput.",
        .details = "Definitions: docs/serving.md. Without --count and --duration, a task or file\n"
                   "is asked once and synthetic load lasts 30 s. Ctrl-C prints what was measured.",
        .options = options,
        .max_operands = 1};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    if (a.from && n_operands == 0) {
        return reread(&a, &e) ? cmd_fail(&e) : EXIT_OK;
    }
    if (n_operands == 0 || a.from) {
        err_set(&e, EE_USAGE,
                "give the address of a server, such as http://127.0.0.1:8080/v1, or "
                "--from FILE (see: edge-eval help bench)");
        return cmd_fail(&e);
    }
    a.target = argv[0];
    stop_on_signals();
    if (bench_is_model(&a)) {
        return bench_model(&a, &e) ? cmd_fail(&e) : EXIT_OK;
    }
    struct setup s = {0};
    int rc = bench_set_up(&a, &s, &e);
    rc = rc ? rc : check_descriptors(&s, &e);
    rc = rc ? rc : run(&a, &s, &e);
    bench_setup_release(&s);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
