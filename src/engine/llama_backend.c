#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "engine/llama_internal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <ggml-backend.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The engine reports why a call failed only through its log, so the last errors are kept here. */
static struct {
    char text[512];
    size_t len;
    bool caught;
    bool started;
    enum ggml_log_level level; /* of the line being continued */
} engine_log;

static void keep_error(const char *text) {
    size_t room = sizeof(engine_log.text) - 1 - engine_log.len;
    size_t n = strlen(text);
    n = n < room ? n : room;
    memcpy(engine_log.text + engine_log.len, text, n);
    engine_log.len += n;
    engine_log.text[engine_log.len] = '\0';
}

static void on_log(enum ggml_log_level level, const char *text, void *ctx) {
    (void)ctx;
    if (level != GGML_LOG_LEVEL_CONT) {
        engine_log.level = level;
    }
    if (engine_log.level == GGML_LOG_LEVEL_ERROR) {
        keep_error(text);
    }
    log_debug("llama: %.*s", (int)strcspn(text, "\n"), text);
}

void llama_catch_log(void) {
    if (!engine_log.caught) {
        llama_log_set(on_log, NULL);
        engine_log.caught = true;
    }
}

void llama_forget_errors(void) {
    engine_log.len = 0;
    engine_log.text[0] = '\0';
}

int llama_fail(struct err *e, int code, const char *what) {
    for (char *c = engine_log.text; *c; c++) {
        if (*c == '\n') {
            *c = c[1] ? ';' : '\0';
        }
    }
    const char *why = engine_log.len ? engine_log.text : "the engine gave no reason";
    err_set(e, code, "%s: %s", what, why);
    llama_forget_errors();
    return code;
}

/* "libggml-cuda.so": a backend that a user put there; not the CPU's variants, of which all but one
 * are meant to stay unused. */
static bool is_dropped_backend(const char *name) {
    static const char *const ours[] = {"libggml-cpu", "libggml-base", "libggml."};
    const char *dot = strrchr(name, '.');
    if (strncmp(name, "libggml", strlen("libggml")) != 0 || !dot || strcmp(dot, ".so") != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (strncmp(name, ours[i], strlen(ours[i])) == 0) {
            return false;
        }
    }
    return true;
}

/* The directory libllama lies in, for the caller to free. */
static char *library_dir(struct err *e) {
    Dl_info where;
    if (!dladdr((const void *)(uintptr_t)llama_backend_init, &where) || !where.dli_fname) {
        err_set(e, EE_FAIL, "cannot tell where libllama lies");
        return NULL;
    }
    char *dir = fs_dirname(where.dli_fname);
    if (!dir) {
        err_set(e, EE_NOMEM, "starting the engine: out of memory");
    }
    return dir;
}

/* ggml is silent about a backend whose own libraries are missing; its user must not be. */
int engine_unusable_backend(char *buf, size_t size, struct err *e) {
    buf[0] = '\0';
    char *dir = library_dir(e);
    if (!dir) {
        return e ? e->code : EE_FAIL;
    }
    DIR *d = opendir(dir);
    const struct dirent *entry;
    while (d && (entry = readdir(d))) {
        char *path = is_dropped_backend(entry->d_name) ? fs_join(dir, entry->d_name) : NULL;
        void *handle = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
        if (handle) {
            dlclose(handle); /* ggml holds it */
        } else if (path) {
            snprintf(buf, size, "the engine's backend %.80s is there but cannot be loaded: %.380s",
                     entry->d_name, dlerror());
        }
        free(path);
    }
    if (d) {
        closedir(d);
    }
    free(dir);
    return 0;
}

int llama_start_backends(struct err *e) {
    if (engine_log.started) {
        return 0;
    }
    llama_catch_log();
    char *dir = library_dir(e);
    if (!dir) {
        return e ? e->code : EE_FAIL;
    }
    ggml_backend_load_all_from_path(dir);
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)) {
        /* An installed llama.cpp may keep its backends elsewhere: let it look where it was told. */
        ggml_backend_load_all();
    }
    int rc = 0;
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)) {
        rc = err_set(e, EE_MISSING,
                     "no CPU backend of the engine (libggml-cpu*.so) lies in %s; run \"make deps\" "
                     "again or copy the whole lib folder",
                     dir);
    }
    free(dir);
    if (!rc) {
        llama_backend_init();
        engine_log.started = true;
    }
    return rc;
}
