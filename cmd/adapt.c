/* edge-eval adapt: LoRA and QLoRA fine-tuning of a model on a task. */
#include "cmd.h"

#include "adapt/device.h"
#include "adapt/train.h"
#include "adapt/train_rows.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "engine/gguf_info.h"
#include "stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const usage[] = {
    "adapt MODEL.gguf --task rag|summ|chat --data FILE.jsonl --out ADAPTER.gguf [...]", NULL};

static const char *const task_choices[] = {"rag", "summ", "chat", NULL};
static const char *const method_choices[] = {"lora", "qlora", NULL};
static const char *const schedule_choices[] = {"constant", "linear", "cosine", NULL};
static const char *const loss_choices[] = {"answer", "all", NULL};

/* What the command line says, in the option table's types. */
struct adapt_args {
    struct train_opts o;
    const char *task;
    const char *method;
    const char *loss;
    const char *eval;
    int64_t rank;
    int64_t epochs;
    int64_t batch;
    int64_t accumulate;
    int64_t max_tokens;
    int64_t patience;
    int64_t threads;
    bool no_recompute;
    bool force;
    bool as_json;
    bool quiet;
};

/* --- Progress -------------------------------------------------------------------------------- */

struct screen {
    bool is_terminal;
    bool quiet;
    bool line_open;
    int64_t last_ns;
};

static void on_started(void *ctx, const struct train_start *s) {
    const struct screen *screen = ctx;
    if (s->n_left_out > 0) {
        cmd_warn("%lld rows are longer than allowed and were left out", (long long)s->n_left_out);
    }
    if (!screen->quiet) {
        fprintf(stderr, "%lld rows", (long long)s->n_rows);
        if (s->n_validation > 0) {
            fprintf(stderr, " (%lld more held out)", (long long)s->n_validation);
        }
        fprintf(stderr, ", %lld steps, %.2f M parameters, base %s on %s, about %.0f MiB\n",
                (long long)s->n_steps, (double)s->n_params / 1e6, s->base_type, s->device,
                s->forecast_bytes / (1 << 20));
        if (s->first_step > 1) {
            fprintf(stderr, "going on at step %lld\n", (long long)s->first_step);
        }
    }
}

static void on_stepped(void *ctx, const struct train_progress *p) {
    struct screen *screen = ctx;
    const int64_t now_ns = clock_mono_ns();
    const bool last = p->point.step == p->n_steps;
    const bool validated = isfinite(p->point.validation_loss);
    /* A terminal shows the newest step; a log gets one line every ten seconds. */
    const int64_t interval_ns = (screen->is_terminal ? 200 : 10000) * NS_PER_MS;
    if (screen->quiet || (!last && !validated && now_ns - screen->last_ns < interval_ns)) {
        return;
    }
    screen->last_ns = now_ns;
    char held_out[48] = "";
    if (validated) {
        snprintf(held_out, sizeof(held_out), "  held out %.4f", p->point.validation_loss);
    }
    int left = (int)(p->eta_s + 0.5);
    fprintf(stderr, "%sstep %lld/%lld  loss %.4f%s  %.0f tok/s  ETA %d:%02d%s",
            screen->is_terminal ? "\r\033[K" : "", (long long)p->point.step, (long long)p->n_steps,
            p->point.loss, held_out, (double)p->n_tokens / p->elapsed_s, left / 60, left % 60,
            screen->is_terminal && !last && !validated ? "" : "\n");
    screen->line_open = screen->is_terminal && !last && !validated;
}

static void end_line(struct screen *s) {
    if (s->line_open) {
        fputc('\n', stderr);
        s->line_open = false;
    }
}

/* --- Result ---------------------------------------------------------------------------------- */

static int print_json(const struct train_result *r, const struct train_opts *o, struct err *e) {
    json_t *result = train_result_json(r, true);
    json_object_set_new(result, "out", json_string(o->out_path));
    json_object_set_new(result, "settings", train_settings_json(o));
    char *text = json_dumps(result, JSON_REAL_PRECISION(8));
    json_decref(result);
    if (!text) {
        return err_set(e, EE_NOMEM, "out of memory");
    }
    printf("%s\n", text);
    free(text);
    return 0;
}

static int print_text(const struct train_result *r, const struct train_opts *o, struct err *e) {
    uint64_t bytes = 0;
    int rc = fs_size(o->out_path, &bytes, e);
    if (rc) {
        return rc;
    }
    printf("adapter  %s, %.1f MB, rank %d, %.2f M parameters\n", o->out_path, (double)bytes / 1e6,
           o->rank, (double)r->n_params / 1e6);
    printf("trained  %lld steps, %lld tokens, %.0f tok/s on %s, base %s, %s%s\n",
           (long long)r->n_steps, (long long)r->n_tokens, r->tokens_per_s, r->device, r->base_type,
           r->compute, r->stopped_early ? ", stopped early" : "");
    printf("loss     %.4f in the first step, %.4f in the last", r->first_loss, r->last_loss);
    if (isfinite(r->best_validation)) {
        printf("; held out %.4f before, %.4f after", r->first_validation, r->best_validation);
    }
    printf("\nmemory   %.0f MiB at most, %.0f forecast for training itself\n",
           r->peak_bytes / (1 << 20), r->forecast_bytes / (1 << 20));
    return 0;
}

/* --- Arguments ------------------------------------------------------------------------------- */

static struct adapt_args defaults(void) {
    struct adapt_args a = {.o = train_defaults(), .method = "lora", .loss = "answer"};
    a.rank = a.o.rank;
    a.epochs = a.o.epochs;
    a.batch = a.o.batch;
    a.accumulate = a.o.accumulate;
    return a;
}

static int to_int(const char *name, int64_t value, int *out, struct err *e) {
    if (value < 0 || value > INT32_MAX) {
        return err_set(e, EE_USAGE, "--%s is out of range", name);
    }
    *out = (int)value;
    return 0;
}

static int copy_integers(struct adapt_args *a, struct err *e) {
    const struct {
        const char *name;
        int64_t value;
        int *out;
    } all[] = {
        {"rank", a->rank, &a->o.rank},
        {"epochs", a->epochs, &a->o.epochs},
        {"batch", a->batch, &a->o.batch},
        {"accumulate", a->accumulate, &a->o.accumulate},
        {"max-tokens", a->max_tokens, &a->o.max_tokens},
        {"patience", a->patience, &a->o.patience},
        {"threads", a->threads, &a->o.n_threads},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && !rc; i++) {
        rc = to_int(all[i].name, all[i].value, all[i].out, e);
    }
    return rc;
}

/* QLoRA freezes four bits a weight: the file's own, or else the ones nearest to NF4. */
static int choose_base(struct adapt_args *a, struct err *e) {
    struct gguf_info info;
    if (a->o.base_type || strcmp(a->method, "qlora") != 0) {
        return 0;
    }
    int rc = gguf_info_read_model(a->o.model_path, &info, e);
    bool has_four_bits = !rc && (strncmp(info.file_type, "Q4", 2) == 0 ||
                                 strncmp(info.file_type, "IQ4", 3) == 0);
    a->o.base_type = has_four_bits ? NULL : "iq4_nl";
    return rc;
}

static int check_args(struct adapt_args *a, struct err *e) {
    if (!a->task || !a->o.data_path || !a->o.out_path) {
        return err_set(e, EE_USAGE, "--%s is needed (see: edge-eval help adapt)",
                       !a->task          ? "task"
                       : !a->o.data_path ? "data"
                                         : "out");
    }
    if (fs_exists(a->o.out_path) && !a->force) {
        return err_set(e, EE_USAGE, "%s exists already; --force replaces it", a->o.out_path);
    }
    a->o.all_tokens = strcmp(a->loss, "all") == 0;
    a->o.recompute = !a->no_recompute;
    int rc = task_kind_from_name(a->task, &a->o.task, e);
    rc = rc ? rc : copy_integers(a, e);
    return rc ? rc : choose_base(a, e);
}

/* Rows that the model is later scored on must not be among those it has learned. */
static int warn_of_overlap(const struct adapt_args *a, struct err *e) {
    char *data_dir = NULL;
    char *path = NULL;
    size_t n = 0;
    int rc = 0;
    if (!a->eval) {
        struct buf own;
        rc = cmd_data_dir(&data_dir, e);
        buf_init(&own);
        buf_addf(&own, "%s/tasks/%s/eval.jsonl", data_dir ? data_dir : "", a->task);
        path = buf_detach(&own);
        free(data_dir);
        if (!rc && !path) {
            rc = err_set(e, EE_NOMEM, "out of memory");
        }
    }
    const char *eval = a->eval ? a->eval : path;
    if (!rc && (a->eval || fs_exists(eval))) {
        rc = train_overlap(a->o.task, a->o.data_path, eval, &n, e);
    }
    if (n > 0) {
        cmd_warn("%zu training rows are also in %s: scores on it will be too good", n, eval);
    }
    free(path);
    return rc;
}

static int train(struct adapt_args *a, struct err *e) {
    const char *term = getenv("TERM");
    struct screen screen = {.is_terminal = isatty(STDERR_FILENO) && term &&
                                           strcmp(term, "dumb") != 0,
                            .quiet = a->quiet};
    const struct train_observer observer = {
        .ctx = &screen, .started = on_started, .stepped = on_stepped};
    struct arena arena = ARENA_INIT;
    struct train_result result;
    a->o.observer = &observer;
    a->o.stop = &stop_requested;
    int rc = check_args(a, e);
    rc = rc ? rc : warn_of_overlap(a, e);
    stop_on_signals();
    rc = rc ? rc : train_run(&a->o, &arena, &result, e);
    a->o.observer = NULL;
    end_line(&screen);
    if (!rc) {
        rc = a->as_json ? print_json(&result, &a->o, e) : print_text(&result, &a->o, e);
    }
    arena_release(&arena);
    return rc;
}

int cmd_adapt(int argc, char **argv) {
    struct adapt_args a = defaults();
    struct train_opts *o = &a.o;
    const struct opt options[] = {
        {OPT_CHOICE, 0, "task", &a.task, "TASK", "rag, summ or chat: the rows' shape and prompts",
         task_choices},
        {OPT_STR, 0, "data", &o->data_path, "FILE", "training rows, JSON lines as in data/tasks",
         NULL},
        {OPT_STR, 'o', "out", &o->out_path, "FILE", "the adapter to write", NULL},
        {OPT_CHOICE, 0, "method", &a.method, "NAME",
         "lora (default): the file's weights; qlora: four bits", method_choices},
        {OPT_CHOICE, 0, "base", &o->base_type, "TYPE",
         "hold frozen matrices as f32, f16, bf16, q8_0, q4_0, ...", train_base_names},
        {OPT_CHOICE, 0, "compute", &o->compute, "TYPE",
         "multiply frozen matrices in f32, bf16 or f16 (docs/adapt.md)", compute_names},
        {OPT_INT, 0, "rank", &a.rank, "N", "of the adapter (16)", NULL},
        {OPT_NUM, 0, "alpha", &o->alpha, "X", "its scale is alpha / rank (16)", NULL},
        {OPT_NUM, 0, "dropout", &o->dropout, "X", "of the adapter's input (0.05)", NULL},
        {OPT_STR, 0, "modules", &o->modules, "LIST", "q,k,v,o,gate,up,down or some of them", NULL},
        {OPT_NUM, 0, "lr", &o->rate, "X", "highest learning rate (2e-4)", NULL},
        {OPT_CHOICE, 0, "schedule", &o->schedule, "NAME", "constant, linear or cosine (default)",
         schedule_choices},
        {OPT_NUM, 0, "warmup", &o->warmup, "X", "share of steps that warm up (0.03)", NULL},
        {OPT_NUM, 0, "weight-decay", &o->weight_decay, "X", "AdamW's (0)", NULL},
        {OPT_NUM, 0, "clip", &o->clip, "X", "largest gradient norm (1); 0: none", NULL},
        {OPT_INT, 0, "epochs", &a.epochs, "N", "times over the rows (1)", NULL},
        {OPT_INT, 0, "max-steps", &o->max_steps, "N", "stop after so many steps", NULL},
        {OPT_INT, 0, "batch", &a.batch, "N", "rows computed together (4)", NULL},
        {OPT_INT, 0, "accumulate", &a.accumulate, "N", "batches to a step (2)", NULL},
        {OPT_FLAG, 0, "pack", &o->pack, NULL, "fill batches by tokens instead of rows", NULL},
        {OPT_CHOICE, 0, "loss", &a.loss, "ON", "answer (default) or all tokens", loss_choices},
        {OPT_INT, 0, "items", &o->items, "N", "the first so many rows (all)", NULL},
        {OPT_INT, 0, "max-tokens", &a.max_tokens, "N", "longest row (the model's context)", NULL},
        {OPT_FLAG, 0, "skip-long", &o->skip_long, NULL, "leave longer rows out", NULL},
        {OPT_NUM, 0, "validation", &o->validation, "X", "share of rows held out (0)", NULL},
        {OPT_INT, 0, "validate-every", &o->validate_every, "N", "steps (default: each epoch)",
         NULL},
        {OPT_INT, 0, "patience", &a.patience, "N", "stop after so many worse validations", NULL},
        {OPT_STR, 0, "eval", &a.eval, "FILE", "warn of rows that are also in it (the task's own)",
         NULL},
        {OPT_INT, 0, "save-every", &o->save_every, "N", "steps between checkpoints", NULL},
        {OPT_STR, 0, "checkpoint", &o->checkpoint_path, "FILE", "(OUT.checkpoint)", NULL},
        {OPT_FLAG, 0, "resume", &o->resume, NULL, "go on from the checkpoint", NULL},
        {OPT_FLAG, 0, "no-recompute", &a.no_recompute, NULL,
         "keep all activations: faster, much more memory", NULL},
        {OPT_INT, 0, "seed", &o->seed, "N", "of everything random (1)", NULL},
        {OPT_STR, 0, "device", &o->device, "NAME", "cpu (default), gpu, or a device's name", NULL},
        {OPT_INT, 0, "threads", &a.threads, "N", "of the CPU (all)", NULL},
        {OPT_FLAG, 0, "plain-ops", &o->plain_ops, NULL,
         "ggml's own operations on the CPU too, to compare", NULL},
        {OPT_FLAG, 0, "force", &a.force, NULL, "replace OUT", NULL},
        {OPT_FLAG, 0, "json", &a.as_json, NULL, "print the result and the loss curve as JSON",
         NULL},
        {OPT_FLAG, 'q', "quiet", &a.quiet, NULL, "no progress", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {
        .name = "adapt",
        .usage = usage,
        .summary = "Fine-tune a llama or qwen2 model on a task and write the adapter.",
        .details =
            "Rows are put into the prompts and the chat template that edge-eval serves the task\n"
            "with. Ctrl-C keeps a checkpoint; the same command with --resume goes on, to the same\n"
            "result. The adapter is a GGUF file that llama.cpp loads; edge-eval merge makes it part\n"
            "of the model.",
        .options = options,
        .min_operands = 1,
        .max_operands = 1};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    o->model_path = argv[0];
    return train(&a, &e) ? cmd_fail(&e) : EXIT_OK;
}
