/* --dry-run: what a plan would do here, before anything is done. */
#include "base/buf.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/machine.h"
#include "lifecycle/model_files.h"
#include "lifecycle/run_internal.h"
#include "lifecycle/score_source.h"

#include <stdlib.h>

/* Adds a stage's disk once; counts stages by kind. */
static int count_stage(struct run *r, const struct stage_kind *k, const struct variant *v,
                       struct key_set *seen, size_t *n, uint64_t *disk, struct err *e) {
    char key[HASH_HEX_SIZE];
    struct buf text;
    bool added = false;
    buf_init(&text);
    int rc = stage_key(r, k, v, key, &text, e);
    rc = rc ? rc : key_set_add(seen, key, &added, e);
    if (!rc && added) {
        (*n)++;
    }
    if (!rc && added && !variant_is_of_shape(v)) {
        *disk += k == &stage_quantize ? quantize_disk_bytes(r, v) : 0;
        *disk += k == &stage_merge ? merge_disk_bytes(r, v) : 0;
    }
    buf_release(&text);
    return rc;
}

static int describe_kinds(struct run *r, struct buf *out, uint64_t *disk, struct err *e) {
    struct key_set seen = {0};
    int rc = 0;
    size_t total = 0;
    for (size_t k = 0; stage_kinds[k] && !rc; k++) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_variants && !rc; i++) {
            struct variant source = r->variants[i];
            if (run_model(r, &source)->failed || !stage_applies(stage_kinds[k], &source)) {
                continue;
            }
            rc = count_stage(r, stage_kinds[k], &source, &seen, &n, disk, e);
            source.precision = PRECISION_FP16;
            if (!rc && stage_kinds[k] == &stage_quantize &&
                quantize_needs_fp16(r, &r->variants[i])) {
                rc = count_stage(r, stage_kinds[k], &source, &seen, &n, disk, e);
            }
        }
        if (n > 0 || !stage_kinds[k]->applies) { /* adapting only where the plan does */
            buf_addf(out, "  %-9s %4zu\n", stage_kinds[k]->name, n);
        }
        total += n;
    }
    buf_addf(out, "  %-9s %4zu stages\n", "total", total);
    free(seen.keys);
    return rc;
}

static void describe_variants(struct run *r, struct buf *out) {
    buf_addf(out, "variants (%zu):\n", r->n_variants);
    for (size_t i = 0; i < r->n_variants; i++) {
        const struct variant *v = &r->variants[i];
        const struct model_facts *m = run_model(r, v);
        if (m->failed) {
            buf_addf(out, "  %-50s cannot run: %s\n", v->id, m->error);
            continue;
        }
        buf_addf(out, "  %-50s %4zu items, ", v->id, r->tasks[v->task->kind].n_items);
        if (variant_has_file(v)) {
            buf_addf(out, "prompts to %lld tokens, ",
                     (long long)m->max_prompt_tokens[v->task->kind]);
        }
        buf_addf(out, "answers to %lld\n", (long long)v->task->max_tokens);
    }
}

int describe_stages(struct run *r, struct buf *out, struct err *e) {
    uint64_t disk = 0;
    uint64_t have = 0;
    buf_addf(out, "plan %s: %s\n", r->plan.name, r->plan.path);
    describe_variants(r, out);
    score_gaps(r, out);
    buf_addstr(out, "stages, equal ones shared:\n");
    int rc = describe_kinds(r, out, &disk, e);
    disk += model_files_disk_bytes(r);
    rc = rc ? rc : fs_free_bytes(".", &have, e);
    if (r->plan.serve.rate_per_s > 0) {
        buf_addf(out, "serving: %g requests a second", r->plan.serve.rate_per_s);
    } else {
        buf_addf(out, "serving: %lld requests in flight", (long long)r->plan.serve.concurrency);
    }
    buf_addf(out,
             ", %lld repeats, %s lengths, by %s on %s\n"
             "disk for model files: about %.2f GB (%.2f GB free here)\n"
             "memory free: %.1f GiB\n",
             (long long)r->plan.serve.repeats, lengths_names[r->plan.serve.lengths],
             run_engine_name(r), r->device, (double)disk / 1e9, (double)have / 1e9,
             (double)machine_available_memory_bytes() / (double)(1 << 30));
    return rc ? rc : buf_check(out, "description", e);
}
