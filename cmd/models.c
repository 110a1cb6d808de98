/* edge-eval models: known checkpoints, and which of them are here. */
#include "cmd.h"

#include "base/json.h"
#include "lifecycle/models.h"

#include <stdlib.h>

static const char *const usage[] = {"models [--json]", NULL};

static void print_table(const struct model *models, size_t n) {
    printf("%-26s %-10s %-6s %-12s %s\n", "id", "family", "size", "license", "file");
    for (size_t i = 0; i < n; i++) {
        const struct model *m = &models[i];
        printf("%-26s %-10s %-6s %-12s %s\n", m->id, m->family, m->size,
               m->license ? m->license : "-", m->path ? m->path : "(not here)");
    }
    printf("\nscripts/fetch-model.py ID fetches one; a plan may also name any file: "
           "{path: FILE.gguf}\n");
}

static int print_json(const struct model *models, size_t n, struct err *e) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct model *m = &models[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s?, s:s?}", "id", m->id,
                                        "family", m->family, "size", m->size, "license", m->license,
                                        "file", m->file, "path", m->path, "note", m->note));
    }
    return cmd_print_json(list, e);
}

int cmd_models(int argc, char **argv) {
    bool as_json = false;
    const struct opt options[] = {
        {OPT_FLAG, 0, "json", &as_json, NULL, "print JSON", NULL},
        {.kind = OPT_END},
    };
    const struct opt_command cmd = {.name = "models",
                                    .usage = usage,
                                    .summary = "List known checkpoints and where they are.",
                                    .options = options};
    int n_operands;
    int status;
    if (!cmd_parse(&cmd, argc, argv, &n_operands, &status)) {
        return status;
    }
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct model *models = NULL;
    size_t n = 0;
    char *data_dir = NULL;
    int rc = cmd_data_dir(&data_dir, &e);
    rc = rc ? rc : models_load(data_dir, &a, &models, &n, &e);
    if (!rc && as_json) {
        rc = print_json(models, n, &e);
    } else if (!rc) {
        print_table(models, n);
    }
    free(data_dir);
    arena_release(&a);
    return rc ? cmd_fail(&e) : EXIT_OK;
}
