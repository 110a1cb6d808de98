/*
 * What a client needs before it can ask a server: the API key, and a model's name that the server
 * knows.
 */
#ifndef SERVE_ACCESS_H
#define SERVE_ACCESS_H

#include "serve/fetch.h"

/*
 * The header line "Authorization: Bearer ..." from an environment variable; named_by says in messages
 * who named it ("--auth-env"). The caller frees *out, and neither shows nor stores it.
 */
int access_auth(const char *variable, const char *named_by, char **out,
                struct err *e) EE_MUST_CHECK;

/*
 * The first model that the server lists, into *out, which the caller frees. say_how is what to do
 * where it lists none ("say which with --model").
 */
int access_first_model(const struct target *t, const struct fetch_opts *fo, const char *say_how,
                       char **out, struct err *e) EE_MUST_CHECK;
/*
 * Fails when the server lists models and name is not among them: it would answer with another model,
 * or refuse each request. A server that lists none is believed.
 */
int access_check_model(const struct target *t, const struct fetch_opts *fo, const char *name,
                       struct err *e) EE_MUST_CHECK;

#endif
