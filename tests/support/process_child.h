/* What tests/test_process.c starts: itself, as `test_process child MODE ARGS...`. */
#ifndef TESTS_PROCESS_CHILD_H
#define TESTS_PROCESS_CHILD_H

#include "base/clock.h"

/* Longer than anything there takes on a busy machine; reached only by a test that fails. */
#define PATIENCE_NS (60 * NS_PER_S)

/* Does what argv[2] says; the exit code. */
int process_child(int argc, char **argv);

#endif
