/* data/devices.yaml: what accelerators can do at most, for projections. */
#ifndef REPORT_DEVICES_H
#define REPORT_DEVICES_H

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>

struct known_device {
    const char *id;
    const char *const *names; /* of drivers, NULL-terminated */
    double memory_bytes;
    double bytes_per_s;
    double flops;
    double power_limit_w;
    double idle_w; /* an eighth of the limit where the file does not say */
};

/* Everything lies in a. Errors name file:line:column. */
int devices_load(const char *data_dir, struct arena *a, struct known_device **out, size_t *n,
                 struct err *e) EE_MUST_CHECK;
/* By id or by a driver's name, in any case; NULL when there is none. */
const struct known_device *devices_find(const struct known_device *devices, size_t n,
                                        const char *name);

#endif
