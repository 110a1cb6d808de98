#include "adapt/cpu_kernels.h"

extern const struct cpu_kernels cpu_kernels_avx512;
extern const struct cpu_kernels cpu_kernels_avx2;
extern const struct cpu_kernels cpu_kernels_any;

const struct cpu_kernels *const cpu_kernel_sets[] = {
#ifdef __x86_64__
    &cpu_kernels_avx512,
    &cpu_kernels_avx2,
#endif
    &cpu_kernels_any,
    NULL,
};

const struct cpu_kernels *cpu_kernels_best(void) {
    for (const struct cpu_kernels *const *k = cpu_kernel_sets; *k; k++) {
        if ((*k)->usable()) {
            return *k;
        }
    }
    return &cpu_kernels_any;
}

size_t cpu_attention_floats(int max_len, int head_dim) {
    const size_t pad = GEMM_MAX_PANEL;
    const size_t most_queries = 64; /* at least any set's QUERY_BLOCK */
    size_t row = ((size_t)max_len + pad - 1) / pad * pad;
    size_t dim = ((size_t)head_dim + pad - 1) / pad * pad;
    return 4 * row * dim + 2 * most_queries * (row + dim);
}
