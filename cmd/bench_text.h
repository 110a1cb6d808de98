/* The bench command's text, made of its JSON: what a person reads. */
#ifndef CMD_BENCH_TEXT_H
#define CMD_BENCH_TEXT_H

#include <jansson.h>

/* The whole result on stdout. */
void bench_print(const json_t *result);

#endif
