#include "lifecycle/plan_server.h"

#include "base/fs.h"
#include "base/json.h"
#include "lifecycle/plan_read.h"

#include <string.h>

/* A word's braces hold what we fill in; others are the server's own, such as JSON. */
static int check_word(struct ynode n, const char *word, struct err *e) {
    static const char *const known[] = {"{model}", "{port}", "{concurrency}", "{context}",
                                        "{cells}"};
    for (const char *at = strchr(word, '{'); at; at = strchr(at + 1, '{')) {
        size_t len = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_");
        bool is_name = len > 0 && at[len + 1] == '}';
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            found = found || strncmp(at, known[i], strlen(known[i])) == 0;
        }
        if (is_name && !found) {
            return ynode_fail(n, e,
                              "nothing is filled in for \"%.*s\"; known: {model}, {port}, "
                              "{concurrency}, {context}, {cells}",
                              (int)len + 2, at);
        }
    }
    return 0;
}

bool plan_server_uses(const struct plan_server *s, const char *placeholder) {
    for (size_t i = 0; s->command && s->command[i]; i++) {
        if (strstr(s->command[i], placeholder)) {
            return true;
        }
    }
    return false;
}

static int read_extra(struct ynode n, struct arena *a, const char **out, struct err *e) {
    json_t *v = NULL;
    int rc = plan_read_text(n, "extra (JSON in quotes)", a, out, e);
    if (!rc && *out &&
        (json_parse(*out, strlen(*out), "extra", &v, NULL) != 0 || !json_is_object(v))) {
        rc = ynode_fail(n, e, "extra should be a JSON object in quotes, such as '%s'",
                        "{\"cache_prompt\": false}");
    }
    json_decref(v);
    return rc;
}

static int check_url(struct ynode n, const struct plan_server *s, struct err *e) {
    struct target t;
    struct err why = ERR_INIT;
    struct ynode url = ymap_get(n, "url");
    if (s->url && target_parse(s->url, s->api, &t, &why) != 0) {
        return ynode_fail(url, e, "%s", why.msg);
    }
    if (!s->url && !s->command) {
        return ynode_fail(n, e, "a server needs a command to start it, or the url where it runs");
    }
    if (!s->url && !plan_server_uses(s, "{port}")) {
        return ynode_fail(n, e, "put {port} where the command takes its port, or say url");
    }
    return 0;
}

/* What nobody said; an engine is called by its program. */
static void set_defaults(struct plan_server *s) {
    s->device = s->device ? s->device : "unknown";
    s->ready = s->ready ? s->ready : "/health";
    if (!s->name) {
        s->name = s->command ? fs_basename(s->command[0]) : "server";
    }
}

int plan_server_read(struct ynode n, struct arena *a, struct plan_server *out, struct err *e) {
    static const char *const keys[] = {
        "name",     "device", "command", "url",       "ready", "ready_timeout_s", "model", "api",
        "auth_env", "extra",  "stall_s", "timeout_s", NULL};
    static const char *const apis[] = {"chat", "text", NULL};
    int api = API_CHAT;
    *out = (struct plan_server){.ready_timeout_s = 300, .stall_s = 120, .timeout_s = 600};
    if (!ynode_present(n)) {
        return 0;
    }
    out->is_used = true;
    int rc = ymap_check(n, "engine.server", keys, e);
    rc = rc ? rc : plan_read_text(ymap_get(n, "name"), "name", a, &out->name, e);
    rc = rc ? rc : plan_read_text(ymap_get(n, "device"), "device", a, &out->device, e);
    rc = rc ? rc : plan_read_command(ymap_get(n, "command"), check_word, a, &out->command, e);
    rc = rc ? rc : plan_read_text(ymap_get(n, "url"), "url", a, &out->url, e);
    rc = rc ? rc : plan_read_text(ymap_get(n, "ready"), "ready", a, &out->ready, e);
    rc = rc ? rc
            : ynode_num(ymap_get(n, "ready_timeout_s"), "ready_timeout_s", 0.1, 1e5,
                        &out->ready_timeout_s, e);
    rc = rc ? rc : plan_read_text(ymap_get(n, "model"), "model", a, &out->model, e);
    rc = rc ? rc : ynode_enum(ymap_get(n, "api"), "api", apis, &api, e);
    out->api = (enum api)api;
    rc = rc ? rc : plan_read_text(ymap_get(n, "auth_env"), "auth_env", a, &out->auth_env, e);
    rc = rc ? rc : read_extra(ymap_get(n, "extra"), a, &out->extra, e);
    rc = rc ? rc : ynode_num(ymap_get(n, "stall_s"), "stall_s", 1e-3, 1e6, &out->stall_s, e);
    rc = rc ? rc : ynode_num(ymap_get(n, "timeout_s"), "timeout_s", 1e-3, 1e6, &out->timeout_s, e);
    rc = rc ? rc : check_url(n, out, e);
    if (!rc) {
        set_defaults(out);
    }
    return rc;
}
