/*
 * libcurl, loaded when it is needed first: HTTP/2, documents over TLS, a judge that is a service. It brings
 * two dozen libraries along, whose pages are a quarter of a plain benchmark's memory.
 */
#ifndef SERVE_CURL_LIB_H
#define SERVE_CURL_LIB_H

#include "base/err.h"

#include <curl/curl.h>

/* What we use of it: X(name), libcurl's name without its curl_. */
#define CURL_LIB_FUNCTIONS(X)                                                                      \
    X(easy_cleanup)                                                                                \
    X(easy_getinfo)                                                                                \
    X(easy_init)                                                                                   \
    X(easy_perform)                                                                                \
    X(easy_setopt)                                                                                 \
    X(easy_strerror)                                                                               \
    X(global_init)                                                                                 \
    X(multi_add_handle)                                                                            \
    X(multi_assign)                                                                                \
    X(multi_cleanup)                                                                               \
    X(multi_info_read)                                                                             \
    X(multi_init)                                                                                  \
    X(multi_perform)                                                                               \
    X(multi_poll)                                                                                  \
    X(multi_remove_handle)                                                                         \
    X(multi_setopt)                                                                                \
    X(multi_socket_action)                                                                         \
    X(slist_append)                                                                                \
    X(slist_free_all)

#define CURL_LIB_MEMBER(name) __typeof__(&(curl_##name)) name;
struct curl_lib {
    void *handle; /* stays for as long as the process */
    CURL_LIB_FUNCTIONS(CURL_LIB_MEMBER)
};
#undef CURL_LIB_MEMBER

/* Loads and initialises it, once; before other threads exist. */
int curl_lib_load(struct err *e) EE_MUST_CHECK;
/* Its functions, after curl_lib_load. */
const struct curl_lib *libcurl(void);

#endif
