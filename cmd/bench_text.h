/* The bench command's text: what a person reads. */
#ifndef CMD_BENCH_TEXT_H
#define CMD_BENCH_TEXT_H

#include "serve/bench.h"

/* The whole result on stdout. */
void bench_print(const struct bench *b);

#endif
