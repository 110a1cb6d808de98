/* Memory of ops_cpu's kernels, one part a thread. */
#ifndef ADAPT_OPS_CPU_H
#define ADAPT_OPS_CPU_H

#include "adapt/base_model.h"

int ops_cpu_work_create(int n_threads, const struct model_shape *s, int max_segment, void **out,
                        struct err *e) EE_MUST_CHECK;
void ops_cpu_work_free(void *work);
/* Bytes that ops_cpu_work_create allocates. */
uint64_t ops_cpu_work_bytes(int n_threads, const struct model_shape *s, int max_segment);

#endif
