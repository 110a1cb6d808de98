/* The kernels for whatever the compiler targets anyway: SSE2, NEON, ... */
#include "adapt/cpu_kernels.h"

#include <math.h>

#ifdef __aarch64__
enum { MR = 6, MR_MID = 2, NV = 1 };
#else
enum { MR = 3, MR_MID = 2, NV = 1 };
#endif
#include "adapt/cpu_simd.inc.h"
#include "adapt/cpu_gemm.inc.h"
#include "adapt/cpu_attention.inc.h"
#include "adapt/cpu_rows.inc.h"

static bool usable(void) {
    return true;
}
#define KERNEL_SET cpu_kernels_any
#define KERNEL_SET_NAME "portable"
#include "adapt/cpu_kernel_set.inc.h"
