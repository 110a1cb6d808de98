/* Engine settings as a job's argument, and back. */
#ifndef LIFECYCLE_ENGINE_ARGS_H
#define LIFECYCLE_ENGINE_ARGS_H

#include "engine/engine.h"

#include <jansson.h>

/* {"threads", "gpu_layers", "batch", "kv_unified", "device_sampling"} into opts. */
void engine_args_read(const json_t *args, struct engine_opts *opts);

#endif
