/*
 * Weight conversion of a whole GGUF file, by libllama.
 */
#ifndef ENGINE_QUANTIZE_H
#define ENGINE_QUANTIZE_H

#include "base/err.h"

#include <stdbool.h>

/* Names accepted as a target type, NULL-terminated: F16, BF16, Q8_0, Q4_0, Q4_K_M, ... */
extern const char *const quantize_type_names[];

/*
 * Writes a copy of in_path with its matrices in type to out_path. Vectors stay F32, and libllama
 * keeps or raises single tensors that lose too much (docs name the histogram). n_threads 0: one a
 * hardware thread. A source that is quantized already is dequantized first. The result is read
 * back: 0 means out_path is whole.
 */
int quantize_file(const char *in_path, const char *out_path, const char *type, int n_threads,
                  struct err *e) EE_MUST_CHECK;

#endif
