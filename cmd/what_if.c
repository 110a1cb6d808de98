#include "what_if.h"

#include "cmd.h"

#include "metrics/prices.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

int cmd_what_if_take(int *argc, char **argv, struct cmd_what_if *w, struct err *e) {
    static const char name[] = "--set";
    const size_t len = sizeof(name) - 1;
    int kept = 0;
    w->sets = calloc((size_t)*argc, sizeof(*w->sets));
    if (!w->sets) {
        return err_set(e, EE_NOMEM, "out of memory");
    }
    for (int i = 0; i < *argc; i++) {
        if (strncmp(argv[i], name, len) != 0 || (argv[i][len] && argv[i][len] != '=')) {
            argv[kept++] = argv[i];
        } else if (argv[i][len] == '=') {
            w->sets[w->n_sets++] = argv[i] + len + 1;
        } else if (i + 1 < *argc) {
            w->sets[w->n_sets++] = argv[++i];
        } else {
            return err_set(e, EE_USAGE, "--set needs KEY=VALUE, such as traffic=500/h");
        }
    }
    *argc = kept;
    argv[kept] = NULL;
    return 0;
}

int cmd_what_if_load(struct cmd_what_if *w, struct err *e) {
    clock_wall_iso8601(w->today, sizeof(w->today));
    int rc = cmd_shipped_prices(&w->arena, &w->shipped, e);
    rc = rc || !w->prices ? rc : prices_load(w->prices, &w->arena, &w->own, e);
    w->what_if = (struct report_what_if){.sets = w->sets,
                                         .n_sets = w->n_sets,
                                         .prices = &w->own,
                                         .fallback = &w->shipped,
                                         .as_of = w->today};
    return rc;
}

void cmd_what_if_release(struct cmd_what_if *w) {
    free(w->sets);
    arena_release(&w->arena);
}
