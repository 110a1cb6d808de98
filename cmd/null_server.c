/* edge-eval null-server: scripted answers over HTTP, for calibrating and testing clients. */
#include "cmd.h"

#include "base/clock.h"
#include "base/machine.h"
#include "serve/null_server.h"
#include "stop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const usage[] = {
    "null-server [--port N] [--ttft-ms A] [--itl-ms B] [--tokens K] [--fault NAME,...]", NULL};

struct null_args {
    int64_t port, threads, tokens, reasoning, per_event, per_write, fault_every;
    double ttft_ms, itl_ms, for_s;
    const char *event_bytes, *shape, *faults, *model, *pem;
    bool awake;
};

static int read_sizes(const char *text, struct null_opts *o, struct err *e) {
    while (text && *text) {
        char *end = NULL;
        long v = strtol(text, &end, 10);
        if (end == text || (*end && *end != ',') || o->n_sizes == NULL_MAX_SIZES || v < 0 ||
            v > 65536) {
            return err_set(e, EE_USAGE,
                           "--event-bytes should be up to %d sizes from 0 to 65536 separated by "
                           "commas",
                           NULL_MAX_SIZES);
        }
        o->event_bytes[o->n_sizes++] = (int)v;
        text = *end ? end + 1 : end;
    }
    return 0;
}

static int read_faults(const char *text, struct null_opts *o, struct err *e) {
    while (text && *text) {
        size_t len = strcspn(text, ",");
        if (o->n_faults == NULL_MAX_FAULTS) {
            return err_set(e, EE_USAGE, "--fault takes at most %d names", NULL_MAX_FAULTS);
        }
        int rc = null_fault_from_name(text, len, &o->faults[o->n_faults++], e);
        if (rc) {
            return rc;
        }
        text += len + (text[len] == ',');
    }
    return 0;
}

/* Whole numbers of the command line; the script checks the ranges. */
static int to_int(int64_t v) {
    return v < 0 || v > 100000000 ? -1 : (int)v;
}

static int serve(const struct null_args *a, struct err *e) {
    struct null_opts o = {.port = to_int(a->port),
                          .n_threads = to_int(a->threads),
                          .ttft_ms = a->ttft_ms,
                          .itl_ms = a->itl_ms,
                          .tokens = to_int(a->tokens),
                          .reasoning_tokens = to_int(a->reasoning),
                          .tokens_per_event = to_int(a->per_event),
                          .events_per_write = to_int(a->per_write),
                          .fault_every = to_int(a->fault_every),
                          .model = a->model,
                          .pem = a->pem,
                          .awake = a->awake};
    struct null_server *s = NULL;
    machine_raise_descriptors();
    int rc = read_sizes(a->event_bytes, &o, e);
    rc = rc ? rc : read_faults(a->faults, &o, e);
    rc = rc || !a->shape ? rc : null_shapes_from_names(a->shape, &o.shape, e);
    rc = rc ? rc : null_server_start(&s, &o, e);
    if (rc) {
        return rc;
    }
    printf("%s://127.0.0.1:%d/v1\n", a->pem ? "https" : "http", null_server_port(s));
    fflush(stdout);
    int64_t end_ns = a->for_s > 0 ? clock_mono_ns() + (int64_t)(a->for_s * 1e9) : INT64_MAX;
    while (!stop_requested && clock_mono_ns() < end_ns) {
        int64_t next_ns = clock_mono_ns() + NS_PER_S;
        clock_sleep_until_ns(next_ns < end_ns ? next_ns : end_ns);
    }
    struct null_stats st;
    null_server_stats(s, &st);
    null_server_stop(s);
    fprintf(stderr,
            "%" PRIu64 " connections, %" PRIu64 " requests, %" PRIu64
            " token events, latest write %.3f ms after its moment\n",
            st.connections, st.requests, st.events, (double)st.worst_late_ns / 1e6);
    return 0;
}

int cmd_null_server(int argc, char **argv) {
    struct null_args a = {
        .threads = 1, .tokens = 16, .per_event = 1, .per_write = 1, .fault_every = 1};
    const struct opt options[] = {
        {OPT_INT, 'p', "port", &a.port, "N", "on 127.0.0.1; 0 takes a free one", NULL},
        {OPT_INT, 0, "threads", &a.threads, "N", "event loops (1)", NULL},
        {OPT_NUM, 0, "ttft-ms", &a.ttft_ms, "MS", "request to first token (0)", NULL},
        {OPT_NUM, 0, "itl-ms", &a.itl_ms, "MS", "from write to write (0: as fast as read)", NULL},
        {OPT_INT, 'n', "tokens", &a.tokens, "N", "of an answer; max_tokens may be less (16)", NULL},
        {OPT_INT, 0, "reasoning", &a.reasoning, "N", "so many of them first, as reasoning", NULL},
        {OPT_INT, 0, "tokens-per-event", &a.per_event, "N", "as in speculative decoding (1)", NULL},
        {OPT_INT, 0, "events-per-write", &a.per_write, "N", "events that share a write (1)", NULL},
        {OPT_STR, 0, "event-bytes", &a.event_bytes, "N,...", "sizes that events take in turn",
         NULL},
        {OPT_STR, 0, "shape", &a.shape, "NAME,...",
         "role, usage, no-usage, ping, crlf, "
         "early-head, split, close, tool",
         NULL},
        {OPT_STR, 0, "fault", &a.faults, "NAME,...", "faults, taken in turn (below)", NULL},
        {OPT_INT, 0, "fault-every", &a.fault_every, "N", "only every N-th request has one (1)",
         NULL},
        {OPT_STR, 0, "model", &a.model, "NAME", "requests for another model get 404", NULL},
        {OPT_STR, 0, "tls", &a.pem, "FILE", "TLS, with the certificate and key in FILE (PEM)",
         NULL},
        {OPT_FLAG, 0, "awake", &a.awake, NULL,
         "never sleep: writes at their moments, a core for each of --threads", NULL},
        {OPT_NUM, 0, "for", &a.for_s, "S", "stop after S seconds", NULL},
        {.kind = OPT_END},
    };
    struct buf details;
    buf_init(&details);
    buf_addstr(&details, "It answers OpenAI's chat and text completions by script, and computes "
                         "nothing. Its\naddress is the one line on stdout. Faults:");
    for (int f = NULL_FAULT_NONE + 1; f < NULL_FAULTS; f++) {
        buf_addf(&details, "%s %s", (f - 1) % 10 == 0 ? "\n " : ",",
                 null_fault_name((enum null_fault)f));
    }
    const struct opt_command cmd = {.name = "null-server",
                                    .usage = usage,
                                    .summary = "A scripted server to calibrate and test clients.",
                                    .details = details.data,
                                    .options = options};
    int n_operands;
    int status;
    bool go_on = cmd_parse(&cmd, argc, argv, &n_operands, &status);
    buf_release(&details);
    if (!go_on) {
        return status;
    }
    stop_on_signals();
    struct err e = ERR_INIT;
    return serve(&a, &e) ? cmd_fail(&e) : EXIT_OK;
}
