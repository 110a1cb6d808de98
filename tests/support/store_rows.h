/* For tests of the store: a run with a machine, a variant and a stage that rows can hang on. */
#ifndef TESTS_SUPPORT_STORE_ROWS_H
#define TESTS_SUPPORT_STORE_ROWS_H

#include "store/store.h"

/* One of each, valid; a test changes what it is about. */
extern const struct store_variant a_variant;
extern const struct store_stage a_stage;
extern const struct store_energy an_energy;
extern const struct store_request a_request;
extern const struct store_cold_start a_cold_start;
extern const struct store_memory a_memory;
extern const struct store_artifact an_artifact;
extern const struct store_score a_score;

/* Creates a store at path with the machine "m1" and the variant a_variant. */
struct store *rows_new_store(const char *path);
struct store *rows_open(const char *path, bool read_only);
/* Puts a_stage with this key, in a transaction that the caller has open or not. */
int64_t rows_put_stage(struct store *s, const char *key);
/* Puts one row of each measured table. */
int rows_put_all(struct store *s, int64_t stage_id, struct err *e) EE_MUST_CHECK;
/* How many rows the stage has in all measured tables together. */
size_t rows_count(struct store *s, int64_t stage_id);
size_t rows_count_stages(struct store *s);

/* Text that ends a statement, a string, a line or a format where it is not bound. */
enum { N_HOSTILE = 11 };
extern const char *const hostile[N_HOSTILE];

/* NULL equals NULL alone. */
void check_text(const char *got, const char *want);
/* Bit for bit, NAN with NAN. */
void check_num(double got, double want);

/* For cmocka: *state is a new store with the stage "k1", and an arena for what is loaded. */
struct store_fixture {
    void *scratch; /* struct scratch */
    struct store *s;
    struct arena a;
    int64_t stage;
};
int store_fixture_setup(void **state);
int store_fixture_teardown(void **state);

#endif
