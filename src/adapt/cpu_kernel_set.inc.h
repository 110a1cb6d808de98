/* What a cpu_kernels_*.c gives to the others. */
extern const struct cpu_kernels KERNEL_SET;
const struct cpu_kernels KERNEL_SET = {.name = KERNEL_SET_NAME,
                                       .usable = usable,
                                       .gemm = gemm,
                                       .attention = attention,
                                       .attention_back = attention_back,
                                       .cross_entropy = cross_entropy,
                                       .norm = norm,
                                       .norm_back = norm_back,
                                       .swiglu = swiglu,
                                       .swiglu_back = swiglu_back};
