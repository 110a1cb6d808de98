/* The kernels for AVX-512: 32 registers of 16 floats. */
#include "adapt/cpu_kernels.h"

#include <math.h>

#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
enum { MR = 12, MR_MID = 4, NV = 2 };
#include "adapt/cpu_simd.inc.h"
#include "adapt/cpu_gemm.inc.h"
#include "adapt/cpu_attention.inc.h"
#include "adapt/cpu_rows.inc.h"

static bool usable(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#define KERNEL_SET cpu_kernels_avx512
#define KERNEL_SET_NAME "avx512"
#include "adapt/cpu_kernel_set.inc.h"
#endif
