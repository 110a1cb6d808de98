#include "serve/access.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int access_auth(const char *variable, const char *named_by, char **out, struct err *e) {
    const char *value = getenv(variable);
    if (!value || !*value) {
        return err_set(e, EE_MISSING, "the environment variable %.60s, named by %s, is not set",
                       variable, named_by);
    }
    for (const char *c = value; *c; c++) {
        if (*c < ' ' || *c == 0x7f) {
            return err_set(e, EE_USAGE, "the value of %.60s has a control character in it",
                           variable);
        }
    }
    struct buf b;
    buf_init(&b);
    buf_addf(&b, "Authorization: Bearer %s", value);
    *out = buf_detach(&b);
    return *out ? 0 : err_set(e, EE_NOMEM, "out of memory");
}

/* The server's list of models as {"data": [{"id"}, ...]}; NULL where it gives none. */
static int fetch_list(const struct target *t, const struct fetch_opts *fo, json_t **list,
                      int *status, struct err *e) {
    char path[600];
    struct buf body;
    buf_init(&body);
    *list = NULL;
    snprintf(path, sizeof(path), "%s/models", t->base);
    int rc = fetch(t, path, fo, &body, status, e);
    if (!rc && *status == 200 && json_parse(body.data, body.len, path, list, NULL) != 0) {
        *list = NULL;
    }
    buf_release(&body);
    return rc;
}

static const char *listed(const json_t *list, size_t i) {
    return json_str_or(json_array_get(json_object_get(list, "data"), i), "id", NULL);
}

int access_first_model(const struct target *t, const struct fetch_opts *fo, const char *say_how,
                       char **out, struct err *e) {
    json_t *list = NULL;
    int status = 0;
    *out = NULL;
    int rc = fetch_list(t, fo, &list, &status, e);
    const char *id = listed(list, 0);
    if (!rc && !id) {
        rc = err_set(e, EE_MISSING, "%s://%s:%s%s/models did not list a model (HTTP status %d): %s",
                     t->scheme, t->host, t->port, t->base, status, say_how);
    } else if (!rc) {
        *out = strdup(id);
        rc = *out ? 0 : err_set(e, EE_NOMEM, "out of memory");
    }
    json_decref(list);
    return rc;
}

int access_check_model(const struct target *t, const struct fetch_opts *fo, const char *name,
                       struct err *e) {
    json_t *list = NULL;
    int status = 0;
    int rc = fetch_list(t, fo, &list, &status, e);
    bool found = false;
    size_t n = 0;
    for (const char *id; !rc && (id = listed(list, n)) != NULL; n++) {
        found = found || strcmp(id, name) == 0;
    }
    if (!rc && n > 0 && !found) {
        rc = err_set(e, EE_MISSING,
                     "the server does not have the model \"%.100s\"; it lists \"%.100s\"%s", name,
                     listed(list, 0), n > 1 ? " and others" : "");
    }
    json_decref(list);
    return rc;
}
