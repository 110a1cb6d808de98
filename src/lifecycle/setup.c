/* Before the first stage: the meter, what machine this is, and its idle power. */
#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "lifecycle/run_internal.h"

#include <stdio.h>
#include <string.h>

static json_t *components_json(struct meter *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < meter_n_components(m); i++) {
        struct meter_component c;
        meter_component_info(m, i, &c);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:f}", "name", c.name, "scope",
                                        c.scope, "source", c.source, "detail", c.detail, "device",
                                        c.device_name, "gain_tolerance", c.gain));
    }
    return list;
}

/*
 * A machine is its kind, not its name: runs that go on on another box of the same CPU, memory and
 * GPUs are one run; anything else is measured again.
 */
static json_t *machine_json(const struct run *r) {
    json_t *gpus = json_array();
    for (size_t i = 0; i < meter_n_components(r->meter); i++) {
        struct meter_component c;
        meter_component_info(r->meter, i, &c);
        if (c.device_name[0]) {
            json_array_append_new(gpus, json_string(c.device_name));
        }
    }
    /* Installed memory differs by a few pages from boot to boot. */
    const uint64_t gib = UINT64_C(1) << 30;
    return json_pack("{s:s, s:i, s:I, s:o}", "cpu", r->machine.cpu_model, "hw_threads",
                     r->machine.hw_threads, "memory_gib",
                     (json_int_t)((r->machine.memory_bytes + gib / 2) / gib), "gpus", gpus);
}

/* Whose stages count as done here: this machine's, or on the user's word those of the one the run began
 * on. Rows keep the machine they were measured on. */
static int choose_key_machine(struct run *r, struct err *e) {
    struct arena a = ARENA_INIT;
    char *first = NULL;
    char *device = NULL;
    const char *as = r->machine_id;
    int rc = store_meta_get(r->store, "key_machine_id", &a, &first, e);
    rc = rc ? rc : store_meta_get(r->store, "key_device", &a, &device, e);
    if (!rc && device && r->opts->same_machine && strcmp(device, r->device) != 0) {
        rc = err_set(e, EE_USAGE,
                     "the run began on %s and this machine has %s: it cannot count as the same; "
                     "without --same-machine everything is measured anew here",
                     device, r->device);
    }
    if (!rc && first && r->opts->same_machine) {
        if (strcmp(first, r->machine_id) != 0) {
            run_note(r,
                     "this machine is not quite the one the run began on; it counts as that one");
        }
        as = first;
    }
    snprintf(r->key_machine_id, sizeof(r->key_machine_id), "%s", as);
    rc = rc || first ? rc : store_meta_set(r->store, "key_machine_id", r->machine_id, e);
    rc = rc || device ? rc : store_meta_set(r->store, "key_device", r->device, e);
    arena_release(&a);
    return rc;
}

static int store_machine(struct run *r, struct err *e) {
    json_t *m = machine_json(r);
    struct buf text;
    buf_init(&text);
    int rc = json_write(m, &text, e);
    if (!rc) {
        hash_bytes(text.data, text.len, r->machine_id);
        json_object_set_new(m, "kernel", json_string(r->machine.kernel));
        json_object_set_new(m, "device", json_string(r->device));
        json_object_set_new(m, "energy_components", components_json(r->meter));
        buf_clear(&text);
        rc = json_write(m, &text, e);
    }
    rc = rc ? rc : store_machine_put(r->store, r->machine_id, text.data, e);
    rc = rc ? rc : choose_key_machine(r, e);
    rc = rc ? rc : store_meta_set(r->store, "machine_id", r->machine_id, e);
    json_decref(m);
    buf_release(&text);
    return rc;
}

/* The client must not be slower than the servers that it measures. Before the meter's thread: this
 * makes a process of its own. */
static int calibrate_client(struct run *r, struct err *e) {
    const struct plan *p = &r->plan;
    if (!p->server.is_used) {
        return 0;
    }
    const struct calibrate_opts o = {.open_loop = p->serve.rate_per_s > 0,
                                     .rate = p->serve.rate_per_s,
                                     .concurrency = (size_t)p->serve.concurrency,
                                     .n_loops = 1,
                                     .seconds = 1,
                                     .ttft_ms = 10,
                                     .itl_ms = 10,
                                     .tokens = 10,
                                     .seed = (uint64_t)p->seed,
                                     .stop = r->opts->stop};
    return calibrate(&o, &r->client, e);
}

int measure_setup(struct run *r, struct err *e) {
    const struct meter_opts opts = {
        .source = r->plan.energy.source, .gpus = r->plan.energy.gpus, .stop = r->opts->stop};
    int rc = calibrate_client(r, e);
    rc = rc ? rc : meter_start(&r->meter, &opts, e);
    rc = rc ? rc : store_machine(r, e);
    return rc ? rc : idle_measure_bare(r, e);
}
