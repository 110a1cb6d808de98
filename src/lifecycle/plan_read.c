#include "lifecycle/plan_read.h"

#include "base/fs.h"

#include <stdlib.h>

int plan_no_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "reading the plan: out of memory");
}

int plan_read_text(struct ynode n, const char *what, struct arena *a, const char **out,
                   struct err *e) {
    const char *text = NULL;
    int rc = ynode_str(n, what, &text, e);
    if (rc || !text) {
        return rc;
    }
    *out = arena_strdup(a, text);
    return *out ? 0 : plan_no_memory(e);
}

int plan_read_command(struct ynode n, int (*check)(struct ynode n, const char *word, struct err *e),
                      struct arena *a, const char *const **out, struct err *e) {
    if (!ynode_present(n)) {
        return 0;
    }
    size_t len = yseq_len(n);
    if (len == 0) {
        return ynode_fail(n, e, "command should be a list: [program, argument, ...]");
    }
    const char **argv = arena_array(a, len + 1, sizeof(*argv));
    int rc = argv ? 0 : plan_no_memory(e);
    for (size_t i = 0; i < len && !rc; i++) {
        rc = plan_read_text(yseq_at(n, i), "an argument", a, &argv[i], e);
        rc = rc || !check ? rc : check(yseq_at(n, i), argv[i], e);
    }
    *out = argv;
    return rc;
}

int plan_read_file(struct ynode n, const char *what, const char *plan_dir, struct arena *a,
                   const char **out, struct err *e) {
    const char *path = NULL;
    int rc = ynode_str(n, what, &path, e);
    if (rc || !path) {
        return rc;
    }
    *out = plan_path(plan_dir, path, a);
    if (!*out) {
        return plan_no_memory(e);
    }
    return fs_exists(*out) ? 0 : ynode_fail(n, e, "no file at %s", *out);
}

const char *plan_path(const char *dir, const char *name, struct arena *a) {
    char *joined = fs_join(dir, name);
    const char *kept = joined ? arena_strdup(a, joined) : NULL;
    free(joined);
    return kept;
}
