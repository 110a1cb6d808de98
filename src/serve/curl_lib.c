#include "serve/curl_lib.h"

#include <dlfcn.h>
#include <string.h>

static const char soname[] = "libcurl.so.4";

/* Written once, by curl_lib_load. */
static struct curl_lib loaded;

/* ISO C has no conversion from void * to a function pointer; POSIX requires it to work. */
#define LOAD(name)                                                                                 \
    found = dlsym(lib.handle, "curl_" #name);                                                      \
    memcpy(&lib.name, &found, sizeof(found));                                                      \
    missing = found ? missing : "curl_" #name;

int curl_lib_load(struct err *e) {
    if (loaded.handle) {
        return 0;
    }
    struct curl_lib lib;
    lib.handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (!lib.handle) {
        return err_set(e, EE_UNSUPPORTED,
                       "TLS, HTTP/2 and a judge that is a service need libcurl (Debian: libcurl4), "
                       "which cannot be loaded: %s",
                       dlerror());
    }
    void *found;
    const char *missing = NULL;
    CURL_LIB_FUNCTIONS(LOAD)
    int rc = 0;
    if (missing) {
        rc = err_set(e, EE_UNSUPPORTED, "%s has no %s: it is too old", soname, missing);
    } else if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        rc = err_set(e, EE_FAIL, "libcurl cannot be initialised");
    }
    if (rc) {
        dlclose(lib.handle);
        return rc;
    }
    loaded = lib;
    return 0;
}

const struct curl_lib *libcurl(void) {
    return &loaded;
}
