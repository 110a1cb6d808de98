/* Thermal design power of CPUs, for the modelled CPU. */
#ifndef ENERGY_CPU_TDP_H
#define ENERGY_CPU_TDP_H

struct cpu_tdp {
    const char *model; /* part of "model name" in /proc/cpuinfo */
    double tdp_w;      /* of one package */
    int threads;       /* hardware threads of one package */
    const char *source;
};

/* The first row whose model is in model_name, or NULL. */
const struct cpu_tdp *cpu_tdp_find(const char *model_name);

#endif
