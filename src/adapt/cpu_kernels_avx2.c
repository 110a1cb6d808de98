/* The kernels for AVX2 and FMA: 16 registers of 8 floats. */
#include "adapt/cpu_kernels.h"

#include <math.h>

#ifdef __x86_64__
#pragma GCC target("avx2,fma,f16c")
enum { MR = 6, MR_MID = 2, NV = 1 };
#include "adapt/cpu_simd.inc.h"
#include "adapt/cpu_gemm.inc.h"
#include "adapt/cpu_attention.inc.h"
#include "adapt/cpu_rows.inc.h"

static bool usable(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#define KERNEL_SET cpu_kernels_avx2
#define KERNEL_SET_NAME "avx2"
#include "adapt/cpu_kernel_set.inc.h"
#endif
