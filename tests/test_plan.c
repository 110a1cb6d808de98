/* Plans: defaults, every value, and for each mistake the words, the position and what is allowed. */
#include "lifecycle/plan.h"

#include "support/scratch.h"

#include "base/buf.h"
#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

static char home[512]; /* where the tests were started */

/* A directory with a data directory, a cache and model files, and made the current one. */
static int setup(void **state) {
    if (!getcwd(home, sizeof(home)) || scratch_setup(state) != 0) {
        return -1;
    }
    struct scratch *s = *state;
    static const char models[] = "models:\n"
                                 "  - {id: here, family: Fam, size: 1B, file: here.gguf,\n"
                                 "     note: Mind this.}\n"
                                 "  - {id: away, family: Fam, size: 2B, file: away.gguf}\n";
    static const char *const dirs[] = {
        "data",  "data/tasks",   "data/tasks/rag", "data/tasks/summ", "data/tasks/chat",
        "cache", "cache/models", "plans"};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (mkdir(scratch_path(s, dirs[i]), 0755) != 0) {
            return -1;
        }
    }
    scratch_write(s, "data/models.yaml", models, sizeof(models) - 1);
    scratch_write(s, "data/tasks/rag/eval.jsonl", "", 0);
    scratch_write(s, "data/tasks/summ/eval.jsonl", "", 0);
    scratch_write(s, "data/tasks/chat/eval.jsonl", "", 0);
    scratch_write(s, "cache/models/here.gguf", "", 0);
    scratch_write(s, "plans/Own model (v2).F16.gguf", "", 0);
    scratch_write(s, "own.gguf", "", 0);
    scratch_write(s, "own.jsonl", "", 0);
    return setenv("EDGE_EVAL_CACHE", scratch_path(s, "cache"), 1) == 0 && chdir(s->dir) == 0 ? 0
                                                                                             : -1;
}

static int teardown(void **state) {
    return chdir(home) == 0 ? scratch_teardown(state) : -1;
}

static int parse(const char *text, struct arena *a, struct plan *p, struct err *e) {
    return plan_parse(text, strlen(text), "p.yaml", "data", a, p, e);
}

#define START "models: [here]\ntasks: {rag: {}}\n"

static void little_is_enough(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    OK(parse(START, &a, &p, &e));
    assert_string_equal(p.name, "run");
    assert_string_equal(p.path, "p.yaml");
    assert_string_equal(p.text, START);
    assert_int_equal(p.seed, 1);
    assert_int_equal(p.n_methods, 1);
    assert_int_equal(p.methods[0], METHOD_NONE);
    assert_int_equal(p.n_precisions, 3);
    for (int i = 0; i < PRECISION_COUNT; i++) {
        assert_int_equal(p.precisions[i], i);
    }
    assert_int_equal(p.serve.concurrency, 8);
    assert_int_equal(p.serve.repeats, 1);
    assert_int_equal(p.serve.context, 0);
    assert_int_equal(p.serve.lengths, LENGTHS_NATURAL);
    assert_int_equal(p.load.warm, 5);
    assert_int_equal(p.load.cold, 5);
    assert_true(p.sampling.temperature == 0 && p.sampling.top_p == 0);
    assert_int_equal(p.sampling.top_k, 0);
    assert_int_equal(p.sampling.seed, 1);
    assert_int_equal(p.engine.threads, 0);
    assert_int_equal(p.engine.gpu_layers, ENGINE_ALL_GPU_LAYERS);
    assert_int_equal(p.engine.batch, 512);
    assert_false(p.engine.kv_unified);
    assert_int_equal(p.engine.device_sampling, ENGINE_AUTO);
    assert_string_equal(p.energy.source, "auto");
    assert_true(p.energy.idle_s == 10);
    assert_int_equal(p.stage_timeout_s, 6 * 3600);
    arena_release(&a);
}

static void every_value_can_be_set(void **state) {
    (void)state;
    static const char text[] =
        "name: a-b_c.1\n"
        "seed: 4294967295\n"
        "models: [here, {path: own.gguf, id: mine, family: Ours, size: 7B}]\n"
        "methods: [none]\n"
        "precisions: [int4, fp16]\n"
        "tasks:\n"
        "  chat: {items: 7, max_tokens: 9, data: own.jsonl}\n"
        "  rag: {}\n"
        "serve: {concurrency: 256, repeats: 1000, context: 10000000, "
        "lengths: forced}\n"
        "load: {warm: 0, cold: 1}\n"
        "sampling: {temperature: 0.7, top_p: 0.9, top_k: 40}\n"
        "engine: {threads: 3, gpu_layers: 20, batch: 64, kv: unified, "
        "device_sampling: off}\n"
        "energy: {source: 'replay:x.csv', idle_s: 0}\n"
        "stage_timeout_s: 60\n";
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    OK(parse(text, &a, &p, &e));
    assert_string_equal(p.name, "a-b_c.1");
    assert_int_equal(p.seed, 4294967295);
    assert_int_equal(p.sampling.seed, UINT32_MAX);
    assert_int_equal(p.n_models, 2);
    assert_string_equal(p.models[1].id, "mine");
    assert_string_equal(p.models[1].family, "Ours");
    assert_string_equal(p.models[1].size, "7B");
    assert_null(p.models[1].note);
    assert_int_equal(p.n_precisions, 2);
    assert_int_equal(p.precisions[0], PRECISION_INT4);
    assert_int_equal(p.precisions[1], PRECISION_FP16);
    assert_int_equal(p.n_tasks, 2);
    assert_int_equal(p.tasks[0].kind, TASK_CHAT);
    assert_int_equal(p.tasks[0].items, 7);
    assert_int_equal(p.tasks[0].max_tokens, 9);
    assert_int_equal(p.tasks[1].kind, TASK_RAG);
    assert_int_equal(p.serve.concurrency, 256);
    assert_int_equal(p.serve.repeats, 1000);
    assert_int_equal(p.serve.context, 10000000);
    assert_int_equal(p.serve.lengths, LENGTHS_FORCED);
    assert_int_equal(p.load.warm, 0);
    assert_int_equal(p.load.cold, 1);
    assert_true(p.sampling.temperature == 0.7 && p.sampling.top_p == 0.9);
    assert_int_equal(p.sampling.top_k, 40);
    assert_int_equal(p.engine.threads, 3);
    assert_int_equal(p.engine.gpu_layers, 20);
    assert_int_equal(p.engine.batch, 64);
    assert_true(p.engine.kv_unified);
    assert_int_equal(p.engine.device_sampling, ENGINE_OFF);
    assert_string_equal(p.energy.source, "replay:x.csv");
    assert_true(p.energy.idle_s == 0);
    assert_int_equal(p.stage_timeout_s, 60);
    arena_release(&a);
}

static void answers_have_a_longest_length_by_task(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    OK(parse("models: [here]\ntasks: {rag: {}, summ: {}, chat: {}}\n", &a, &p, &e));
    static const struct {
        const char *name, *path;
        int64_t max_tokens;
    } due[] = {{"rag", "data/tasks/rag/eval.jsonl", 150},
               {"summ", "data/tasks/summ/eval.jsonl", 200},
               {"chat", "data/tasks/chat/eval.jsonl", 100}};
    assert_int_equal(p.n_tasks, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(p.tasks[i].name, due[i].name);
        assert_string_equal(p.tasks[i].path, due[i].path);
        assert_int_equal(p.tasks[i].items, 0);
        assert_int_equal(p.tasks[i].max_tokens, due[i].max_tokens);
    }
    arena_release(&a);
}

static void known_models_bring_their_facts(void **state) {
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    OK(parse(START, &a, &p, &e));
    assert_string_equal(p.models[0].id, "here");
    assert_string_equal(p.models[0].family, "Fam");
    assert_string_equal(p.models[0].size, "1B");
    assert_string_equal(p.models[0].path, scratch_path(*state, "cache/models/here.gguf"));
    assert_string_equal(p.models[0].note, "Mind this.");
    arena_release(&a);
}

/* The same plan means the same files from wherever it is started. */
static void paths_start_at_the_plan(void **state) {
    static const char text[] =
        "models: [{path: \"Own model (v2).F16.gguf\"}, {path: ../own.gguf}]\n"
        "tasks: {rag: {data: ../own.jsonl}}\n";
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    const char *path = scratch_write(*state, "plans/p.yaml", text, sizeof(text) - 1);
    OK(plan_load("plans/p.yaml", "data", &a, &p, &e));
    assert_string_equal(p.path, "plans/p.yaml");
    assert_string_equal(p.models[0].path, "plans/Own model (v2).F16.gguf");
    assert_string_equal(p.models[1].path, "plans/../own.gguf");
    assert_string_equal(p.tasks[0].path, "plans/../own.jsonl");
    /* An id names files, so what a file name may hold and an id may not becomes '-'. */
    assert_string_equal(p.models[0].id, "Own-model--v2-.F16");
    assert_string_equal(p.models[0].family, p.models[0].id);
    assert_string_equal(p.models[0].size, "");
    assert_string_equal(p.models[1].id, "own");
    OK(plan_load(path, "data", &a, &p, &e));
    struct buf absolute;
    buf_init(&absolute);
    buf_addf(&absolute, "models: [{path: %s}]\ntasks: {rag: {}}\n",
             scratch_path(*state, "own.gguf"));
    OK(plan_parse(absolute.data, absolute.len, "plans/p.yaml", "data", &a, &p, &e));
    assert_string_equal(p.models[0].path, scratch_path(*state, "own.gguf"));
    buf_release(&absolute);
    arena_release(&a);
}

struct mistake {
    const char *text;
    const char *msg; /* after "p.yaml:" */
};

static void check_mistakes(const struct mistake *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct err e = ERR_INIT;
        struct arena a = ARENA_INIT;
        struct plan p;
        struct buf msg;
        buf_init(&msg);
        buf_addf(&msg, "p.yaml:%s", rows[i].msg);
        REFUSED(parse(rows[i].text, &a, &p, &e), EE_FORMAT, msg.data);
        buf_release(&msg);
        arena_release(&a);
    }
}
#define CHECK_MISTAKES(rows) check_mistakes((rows), sizeof(rows) / sizeof((rows)[0]))

#define ROOT_KEYS                                                                                  \
    "allowed: name, seed, models, methods, precisions, tasks, serve, load, sampling, engine, "     \
    "energy, score, stage_timeout_s, cost, adapt, shapes, quantize, quality"

static void mistakes_at_the_top(void **state) {
    (void)state;
    static const struct mistake rows[] = {
        {"", "1:1: the file is empty"},
        {"- a\n", "1:1: the plan should be a mapping (key: value); " ROOT_KEYS},
        {"demo\n", "1:1: the plan should be a mapping (key: value); " ROOT_KEYS},
        {START "precision: [int4]\n", "3:1: unknown key \"precision\" in the plan; " ROOT_KEYS},
        {"models: [here]\n", "1:1: a plan needs at least models: and tasks:"},
        {"tasks: {rag: {}}\n", "1:1: a plan needs at least models: and tasks:"},
        {START "seed: 1\nseed: 2\n", "4:1: \"seed\" is given twice"},
        {START "name: a/b\n", "3:7: name \"a/b\" becomes a directory: letters, digits, '-', '_' "
                              "and '.' only, and no '.' first"},
        {START "name: ..\n", "3:7: name \"..\" becomes a directory: letters, digits, '-', '_' and "
                             "'.' only, and no '.' first"},
        {START "name:\n", "3:6: name is empty"},
        {START "name: [a]\n", "3:7: name should be text and is a list"},
        {START "name: {a: b}\n", "3:7: name should be text and is a mapping"},
        {START "seed: -1\n",
         "3:7: seed is \"-1\"; it should be a whole number from 0 to 4294967295"},
        {START "seed: 1.5\n",
         "3:7: seed is \"1.5\"; it should be a whole number from 0 to 4294967295"},
        {START "stage_timeout_s: 0\n",
         "3:18: stage_timeout_s is \"0\"; it should be a whole number from 1 to 2592000"},
    };
    CHECK_MISTAKES(rows);
}

#define TASKS "\ntasks: {rag: {}}\n"

static void mistakes_in_models(void **state) {
    (void)state;
    static const struct mistake rows[] = {
        {"models: here" TASKS, "1:9: models should be a list of known ids or {path: FILE.gguf}"},
        {"models: []" TASKS, "1:9: models should be a list of known ids or {path: FILE.gguf}"},
        {"models: {path: own.gguf}" TASKS,
         "1:9: models should be a list of known ids or {path: FILE.gguf}"},
        {"models: [gpt-4]" TASKS,
         "1:10: unknown model \"gpt-4\"; known: here, away; or give {path: FILE.gguf}"},
        {"models: [away]" TASKS, "1:10: model \"away\" is known but its file away.gguf is not "
                                 "here; fetch it with \"scripts/fetch-model.py away\", or give "
                                 "{path: FILE.gguf}"},
        {"models: [[here]]" TASKS,
         "1:10: a model should be a mapping (key: value); allowed: path, name, id, family, size, "
         "synth, adapt_rows"},
        {"models: [{file: own.gguf}]" TASKS,
         "1:11: unknown key \"file\" in a model; allowed: path, name, id, family, size, "
         "synth, adapt_rows"},
        {"models: [{id: mine}]" TASKS,
         "1:10: a model needs a path (or write just the id of a known model)"},
        {"models: [{path: own.gguf, synth: toy}]" TASKS,
         "1:10: a model is a path or a synth, not both"},
        {"models: [{path: own.gguf, adapt_rows: [8, 16]}]" TASKS,
         "1:39: adapt_rows is for shapes (synth:)"},
        {"models: [{path: no.gguf}]" TASKS, "1:17: no file at ./no.gguf"},
        {"models: [{path: [own.gguf]}]" TASKS, "1:17: path should be text and is a list"},
        {"models: [{path: ''}]" TASKS, "1:17: path is empty"},
        {"models: [here, here]" TASKS, "1:16: model id \"here\" is given twice; set id:"},
        {"models:\n  - path: own.gguf\n    id: here\n  - here" TASKS,
         "4:5: model id \"here\" is given twice; set id:"},
        {"models: [{path: own.gguf, id: ../../up}]" TASKS,
         "1:31: model id \"../../up\" becomes a file name: letters, digits, '-', '_' and '.' only, "
         "and no '.' first; set id:"},
        {"models: [{path: own.gguf, id: .hidden}]" TASKS,
         "1:31: model id \".hidden\" becomes a file name: letters, digits, '-', '_' and '.' only, "
         "and no '.' first; set id:"},
    };
    CHECK_MISTAKES(rows);
}

static void mistakes_in_axes(void **state) {
    (void)state;
    static const struct mistake rows[] = {
        {START "methods: none\n", "3:10: methods should be a list such as [none]"},
        {START "methods: [finetune]\n",
         "3:11: methods is \"finetune\"; allowed: none, lora, qlora"},
        {START "methods: [none, none]\n", "3:17: \"none\" is listed twice in methods"},
        {START "methods: {lora: int4}\n",
         "3:17: lora should be a list of precisions such as [int4]"},
        {START "methods: {lora: [int5]}\n", "3:18: lora is \"int5\"; allowed: fp16, int8, int4"},
        {START "methods: {dora: [int4]}\n",
         "3:11: unknown key \"dora\" in methods; allowed: none, lora, qlora"},
        {START "methods: {}\n", "3:10: methods is empty"},
        {START "precisions: [int8]\nmethods: {lora: [int4]}\n",
         "4:18: int4 is not among the plan's precisions"},
        {START "methods: [lora]\nadapt: {compute: tf32}\n",
         "4:18: compute is \"tf32\"; allowed: auto, f32, bf16, f16"},
        {START "precisions: []\n", "3:13: precisions should be a list such as [fp16]"},
        {START "precisions:\n", "3:12: precisions should be a list such as [fp16]"},
        {START "precisions: [int4, q8]\n", "3:20: precisions is \"q8\"; allowed: fp16, int8, int4"},
        {START "precisions: [int4, int8, int4]\n", "3:26: \"int4\" is listed twice in precisions"},
        {START "precisions: [[int4]]\n", "3:14: precisions should be one word and is a list"},
    };
    CHECK_MISTAKES(rows);
}

#define MODELS "models: [here]\ntasks: "

static void mistakes_in_tasks(void **state) {
    (void)state;
    static const struct mistake rows[] = {
        {MODELS "[rag]\n",
         "2:8: tasks should be a mapping (key: value); allowed: rag, summ, chat, choice"},
        {MODELS "{}\n", "2:8: tasks is empty; allowed: rag, summ, chat, choice"},
        {MODELS "{code: {}}\n",
         "2:9: unknown key \"code\" in tasks; allowed: rag, summ, chat, choice"},
        {MODELS "{rag: 20}\n",
         "2:14: a task should be a mapping (key: value); allowed: items, max_tokens, data"},
        {MODELS "{rag: {item: 2}}\n",
         "2:15: unknown key \"item\" in a task; allowed: items, max_tokens, data"},
        {MODELS "{rag: {items: 0}}\n",
         "2:22: items is \"0\"; it should be a whole number from 1 to 1000000"},
        {MODELS "{rag: {items: all}}\n",
         "2:22: items is \"all\"; it should be a whole number from 1 to 1000000"},
        {MODELS "{rag: {max_tokens: -5}}\n",
         "2:27: max_tokens is \"-5\"; it should be a whole number from 1 to 1000000"},
        {MODELS "{rag: {data: no.jsonl}}\n", "2:14: no task file at ./no.jsonl"},
    };
    CHECK_MISTAKES(rows);
}

static void adapting_is_read(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    OK(parse(START "seed: 9\n", &a, &p, &e));
    assert_int_equal(p.adapt.opts.rank, 16);
    assert_int_equal(p.adapt.opts.seed, 9);
    assert_string_equal(p.adapt.data[TASK_RAG], "data/tasks/rag/train.jsonl");
    assert_null(p.adapt.data[TASK_CHAT]);
    assert_null(p.adapt.command);
    OK(parse(START
             "methods: [qlora, none]\n"
             "adapt: {data: {rag: own.jsonl}, rank: 8, lr: 1e-3, modules: 'q,v', pack: true,\n"
             "  validation: 0.1, max_steps: 7, seed: 3, device: gpu, qlora_base: q4_0,\n"
             "  command: [train, '{out}']}\n",
             &a, &p, &e));
    assert_int_equal(p.n_methods, 2);
    assert_int_equal(p.methods[0], METHOD_QLORA);
    assert_false(p.left_out[METHOD_QLORA][PRECISION_FP16]);
    const struct plan_adapt *t = &p.adapt;
    assert_int_equal(t->opts.rank, 8);
    assert_true(t->opts.rate == 1e-3 && t->opts.validation == 0.1);
    assert_string_equal(t->opts.modules, "q,v");
    assert_true(t->opts.pack);
    assert_int_equal(t->opts.max_steps, 7);
    assert_int_equal(t->opts.seed, 3);
    assert_string_equal(t->opts.device, "gpu");
    assert_string_equal(t->qlora_base, "q4_0");
    assert_null(t->lora_base);
    assert_string_equal(t->data[TASK_RAG], "./own.jsonl");
    assert_string_equal(t->command[0], "train");
    assert_string_equal(t->command[1], "{out}");
    assert_null(t->command[2]);
    arena_release(&a);
}

static void each_method_may_have_precisions_of_its_own(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    OK(parse(START "methods: {none: [int4, fp16]}\n"
                   "adapt: {rows: [8, 24], extrapolate: {rag: 900}}\n",
             &a, &p, &e));
    assert_int_equal(p.n_methods, 1);
    assert_false(p.left_out[METHOD_NONE][PRECISION_INT4]);
    assert_true(p.left_out[METHOD_NONE][PRECISION_INT8]);
    assert_int_equal(p.adapt.rows[1], 24);
    assert_int_equal(p.adapt.extrapolate[TASK_RAG], 900);
    assert_int_equal(p.adapt.extrapolate[TASK_CHAT], 0);
    arena_release(&a);
}

static void mistakes_in_adapting(void **state) {
    (void)state;
    static const struct mistake rows[] = {
        {START "methods: [lora]\n", "3:10: no training rows for rag at data/tasks/rag/train.jsonl; "
                                    "give adapt: {data: {rag: FILE}}"},
        {START "methods: [lora]\nadapt: {data: {rag: gone.jsonl}}\n",
         "4:8: no training rows for rag at ./gone.jsonl; give adapt: {data: {rag: FILE}}"},
        {START "adapt: {data: {sum: own.jsonl}}\n",
         "3:16: unknown key \"sum\" in adapt.data; allowed: rag, summ, chat, choice"},
        {START "adapt: {rank: 0}\n",
         "3:15: rank is \"0\"; it should be a whole number from 1 to 65536"},
        {START "adapt: {pack: maybe}\n", "3:15: pack is \"maybe\"; allowed: false, true"},
        {START "adapt: {lora_base: q2}\n",
         "3:20: lora_base is \"q2\"; allowed: f32, f16, bf16, q8_0, q4_0, q4_1, q4_k, iq4_nl"},
        {START "adapt: {command: train}\n",
         "3:18: command should be a list: [program, argument, ...]"},
        {START "adapt: {rows: 8}\n", "3:15: rows should be two counts of rows: [few, more]"},
        {START "adapt: {rows: [16, 8]}\n", "3:15: rows should begin with the smaller"},
        {START "adapt: {rows: [8, 20]}\n",
         "3:15: adapt.rows [8, 20]: both should be multiples of batch x accumulate, 8"},
        {START "adapt: {rows: [8, 16], pack: true}\n",
         "3:15: adapt.rows goes with one epoch and none of pack, max_steps, validation, items, "
         "skip_long: a step must be so many rows"},
        {START "adapt: {extrapolate: 100}\n",
         "3:22: extrapolate needs rows: [few, more], what it concludes from"},
        {START "adapt: {rows: [8, 16], extrapolate: {rag: 0}}\n",
         "3:43: extrapolate is \"0\"; it should be a whole number from 1 to 100000000"},
        {START "adapt: {rows: [8, 16], command: [train]}\n",
         "3:15: rows needs the trainer of edge-eval, not a command"},
    };
    CHECK_MISTAKES(rows);
}

#define SERVER START "engine: {server: "

static void a_server_is_read(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    OK(parse(START, &a, &p, &e));
    assert_false(p.server.is_used);
    OK(parse(SERVER "{command: [/opt/bin/serve, '{port}', '{\"a\": 1}']}}\n", &a, &p, &e));
    assert_true(p.server.is_used);
    assert_string_equal(p.server.name, "serve");
    assert_string_equal(p.server.device, "unknown");
    assert_string_equal(p.server.ready, "/health");
    assert_int_equal(p.server.api, API_CHAT);
    assert_true(plan_server_uses(&p.server, "{port}"));
    assert_false(plan_server_uses(&p.server, "{model}"));
    OK(parse(
        "models: [{name: {fp16: org/m, int4: org/m-awq}, id: m}]\ntasks: {rag: {}}\n"
        "precisions: [int4, fp16]\n"
        "engine: {server: {url: 'http://127.0.0.1:9/v1', name: vllm, device: H100, api: text,\n"
        "  auth_env: KEY, extra: '{\"top_k\": 1}', ready_timeout_s: 900}}\n"
        "serve: {rate: 2.5, arrival: gamma, cv: 2}\n",
        &a, &p, &e));
    assert_null(p.models[0].path);
    assert_string_equal(p.models[0].served[PRECISION_FP16], "org/m");
    assert_string_equal(p.models[0].served[PRECISION_INT4], "org/m-awq");
    assert_null(p.models[0].served[PRECISION_INT8]);
    assert_string_equal(p.server.name, "vllm");
    assert_string_equal(p.server.device, "H100");
    assert_int_equal(p.server.api, API_TEXT);
    assert_string_equal(p.server.auth_env, "KEY");
    assert_true(p.server.ready_timeout_s == 900);
    assert_true(p.serve.rate_per_s == 2.5 && p.serve.arrival.cv == 2);
    assert_int_equal(p.serve.arrival.kind, ARRIVAL_GAMMA);
    arena_release(&a);
}

static void mistakes_in_servers(void **state) {
    (void)state;
    static const struct mistake rows[] = {
        {SERVER "{}}\n", "3:18: a server needs a command to start it, or the url where it runs"},
        {SERVER "{command: serve}}\n", "3:28: command should be a list: [program, argument, ...]"},
        {SERVER "{command: [serve]}}\n",
         "3:18: put {port} where the command takes its port, or say url"},
        {SERVER "{command: [serve, '{port}', '{slots}']}}\n",
         "3:46: nothing is filled in for \"{slots}\"; known: {model}, {port}, {concurrency}, "
         "{context}, {cells}"},
        {SERVER "{url: 'ftp://here'}}\n", "3:24: \"ftp://here\" is no address of a server: it must "
                                          "begin with http:// or https://; give one such as "
                                          "http://127.0.0.1:8080/v1"},
        {START "serve: {rate: 5}\n",
         "3:15: a rate needs engine: {server: ...}; without one the loop is closed"},
        {"models: [{name: m, id: m}]" TASKS,
         "1:10: a model by its name is served by engine: {server: ...}, which the plan does not "
         "have; or give path: FILE.gguf"},
        {"models: [{name: m, path: own.gguf}]" TASKS,
         "1:17: a model has a path or a name: the name of a file that a server serves is "
         "engine.server.model"},
    };
    CHECK_MISTAKES(rows);
}

static void mistakes_in_settings(void **state) {
    (void)state;
    static const struct mistake rows[] = {
        {START "serve: 8\n", "3:8: serve should be a mapping (key: value); allowed: concurrency, "
                             "repeats, context, lengths, rate, arrival, cv, burst, window_s"},
        {START "serve: {users: 8}\n",
         "3:9: unknown key \"users\" in serve; allowed: concurrency, "
         "repeats, context, lengths, rate, arrival, cv, burst, window_s"},
        {START "serve: {concurrency: 257}\n",
         "3:22: concurrency is \"257\"; it should be a whole number from 1 to 256"},
        {START "serve: {repeats: 0}\n",
         "3:18: repeats is \"0\"; it should be a whole number from 1 to 1000"},
        {START "serve: {context: 8}\n",
         "3:18: context is \"8\"; it should be a whole number from 16 to 10000000"},
        {START "serve: {lengths: fixed}\n", "3:18: lengths is \"fixed\"; allowed: natural, forced"},
        {START "serve: {window_s: -1}\n",
         "3:19: window_s is \"-1\"; it should be a number from 0 to 3600"},
        {START "quantize: {int4: Q5}\n", "3:18: int4 is \"Q5\"; allowed: auto, Q4_0"},
        {START "quality: made-up\n", "3:10: quality is \"made-up\"; allowed: measured, reference"},
        {START "quality: reference\n",
         "3:10: quality: reference is for shapes (models: [{synth: ...}]); the answers of here are "
         "scored"},
        {START "load: {hot: 1}\n", "3:8: unknown key \"hot\" in load; allowed: warm, cold"},
        {START "load: {warm: -1}\n",
         "3:14: warm is \"-1\"; it should be a whole number from 0 to 1000"},
        {START "load: {cold: 1e2}\n",
         "3:14: cold is \"1e2\"; it should be a whole number from 0 to 1000"},
        {START "load: {warm: 0, cold: 0}\n", "3:7: load needs at least one warm or cold start"},
        {START "sampling: {min_p: 1}\n",
         "3:12: unknown key \"min_p\" in sampling; allowed: temperature, top_p, top_k"},
        {START "sampling: {temperature: hot}\n",
         "3:25: temperature is \"hot\"; it should be a number from 0 to 10"},
        {START "sampling: {temperature: 11}\n",
         "3:25: temperature is \"11\"; it should be a number from 0 to 10"},
        {START "sampling: {top_p: nan}\n",
         "3:19: top_p is \"nan\"; it should be a number from 0 to 1"},
        {START "sampling: {top_k: 0.5}\n",
         "3:19: top_k is \"0.5\"; it should be a whole number from 0 to 1000000"},
        {START "engine: {layers: 1}\n", "3:10: unknown key \"layers\" in engine; allowed: threads, "
                                        "gpu_layers, batch, kv, device_sampling, server"},
        {START "engine: {threads: 0}\n",
         "3:19: threads is \"0\"; it should be a whole number from 1 to 1024"},
        {START "engine: {gpu_layers: some}\n", "3:22: gpu_layers (a number, or all) is \"some\"; "
                                               "it should be a whole number from 0 to 10000"},
        {START "engine: {gpu_layers: -1}\n", "3:22: gpu_layers (a number, or all) is \"-1\"; it "
                                             "should be a whole number from 0 to 10000"},
        {START "engine: {batch: 0}\n",
         "3:17: batch is \"0\"; it should be a whole number from 1 to 65536"},
        {START "engine: {kv: shared}\n", "3:14: kv is \"shared\"; allowed: per_sequence, unified"},
        {START "engine: {device_sampling: yes}\n",
         "3:27: device_sampling is \"yes\"; allowed: auto, on, off"},
        {START "energy: {sensor: nvml}\n",
         "3:10: unknown key \"sensor\" in energy; allowed: source, gpus, idle_s, phases_s"},
        {START "energy: {source: }\n", "3:18: source is empty"},
        {START "energy: {idle_s: 3601}\n",
         "3:18: idle_s is \"3601\"; it should be a number from 0 to 3600"},
    };
    CHECK_MISTAKES(rows);
}

static void files_that_are_not_there_are_named(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct plan p;
    REFUSED(plan_load("no/plan.yaml", "data", &a, &p, &e), EE_MISSING,
            "cannot open no/plan.yaml: No such file or directory");
    REFUSED(plan_parse(START, strlen(START), "p.yaml", "no/data", &a, &p, &e), EE_MISSING,
            "cannot open no/data/models.yaml: No such file or directory");
    arena_release(&a);
}

/* What a person may write into a plan to try the program: none of it may do more than fail. */
static void cut_off_plans_are_refused(void **state) {
    (void)state;
    static const char whole[] = "name: a\nmodels: [here, {path: own.gguf}]\nprecisions: [int4]\n"
                                "tasks: {rag: {items: 2}}\nserve: {lengths: forced}\n";
    size_t n_fine = 0;
    for (size_t len = 0; len < sizeof(whole); len++) {
        struct err e = ERR_INIT;
        struct arena a = ARENA_INIT;
        struct plan p;
        int rc = plan_parse(whole, len, "p.yaml", "data", &a, &p, &e);
        assert_true(rc == 0 || (rc == EE_FORMAT && strncmp(e.msg, "p.yaml:", 7) == 0));
        n_fine += rc == 0;
        arena_release(&a);
    }
    assert_in_range(n_fine, 1, 4); /* with and without newlines, and before serve: */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_is_enough),
        cmocka_unit_test(every_value_can_be_set),
        cmocka_unit_test(answers_have_a_longest_length_by_task),
        cmocka_unit_test(known_models_bring_their_facts),
        cmocka_unit_test(paths_start_at_the_plan),
        cmocka_unit_test(mistakes_at_the_top),
        cmocka_unit_test(mistakes_in_models),
        cmocka_unit_test(mistakes_in_axes),
        cmocka_unit_test(mistakes_in_tasks),
        cmocka_unit_test(adapting_is_read),
        cmocka_unit_test(each_method_may_have_precisions_of_its_own),
        cmocka_unit_test(mistakes_in_adapting),
        cmocka_unit_test(a_server_is_read),
        cmocka_unit_test(mistakes_in_servers),
        cmocka_unit_test(mistakes_in_settings),
        cmocka_unit_test(files_that_are_not_there_are_named),
        cmocka_unit_test(cut_off_plans_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
