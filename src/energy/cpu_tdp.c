#include "energy/cpu_tdp.h"

#include <stddef.h>
#include <string.h>

#define AMD "amd.com product specifications"
#define ARK "intel.com product specifications (ARK)"

/*
 * Vendors' figures for whole packages: default TDP for AMD, TDP or processor base power for
 * Intel. A longer name stands before the shorter one that it contains. Adding a CPU is one row;
 * parts made for one cloud provider have no published figure and are left to the default.
 */
static const struct cpu_tdp table[] = {
    {"EPYC 7513 ", 200, 64, AMD},
    {"EPYC 7543 ", 225, 64, AMD},
    {"EPYC 7713 ", 225, 128, AMD},
    {"EPYC 7742 ", 225, 128, AMD},
    {"EPYC 7763 ", 280, 128, AMD},
    {"EPYC 9354 ", 280, 64, AMD},
    {"EPYC 9454 ", 290, 96, AMD},
    {"EPYC 9554 ", 360, 128, AMD},
    {"EPYC 9654 ", 360, 192, AMD},
    {"Threadripper 3970X", 280, 64, AMD},
    {"Threadripper PRO 5995WX", 280, 128, AMD},
    {"Ryzen 5 3600 ", 65, 12, AMD},
    {"Ryzen 5 5600X ", 65, 12, AMD},
    {"Ryzen 7 5800X ", 105, 16, AMD},
    {"Ryzen 7 7840U", 28, 16, AMD},
    {"Ryzen 9 5950X", 105, 32, AMD},
    {"Ryzen 9 7950X3D", 120, 32, AMD},
    {"Ryzen 9 7950X", 170, 32, AMD},
    {"Platinum 8280 ", 205, 56, ARK},
    {"Platinum 8380 ", 270, 80, ARK},
    {"Platinum 8480+", 350, 112, ARK},
    {"Gold 6248R ", 205, 48, ARK},
    {"Gold 6248 ", 150, 40, ARK},
    {"Gold 6338 ", 205, 64, ARK},
    {"E5-2680 v4", 120, 28, ARK},
    {"i5-8250U", 15, 8, ARK},
    {"i7-1165G7", 28, 8, ARK},
    {"i7-1185G7", 28, 8, ARK},
    {"i7-1260P", 28, 16, ARK},
    {"i7-8700K", 95, 12, ARK},
    {"i7-12700K", 125, 20, ARK},
    {"i9-13900K", 125, 32, ARK},
};

const struct cpu_tdp *cpu_tdp_find(const char *model_name) {
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strstr(model_name, table[i].model)) {
            return &table[i];
        }
    }
    return NULL;
}
