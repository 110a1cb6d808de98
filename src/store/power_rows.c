/* Power over a stage, one BLOB a component: 12 bytes a point, little-endian. */
#include "store/store_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* uint32 start and length in units of 0.1 ms, float32 watts. */
enum { POINT_BYTES = 12 };
#define UNITS_PER_S 1e4

static void put_u32(unsigned char *out, uint32_t x) {
    for (int k = 0; k < 4; k++) {
        out[k] = (unsigned char)(x >> (8 * k));
    }
}

static uint32_t get_u32(const unsigned char *in) {
    uint32_t x = 0;
    for (int k = 0; k < 4; k++) {
        x |= (uint32_t)in[k] << (8 * k);
    }
    return x;
}

static uint32_t to_units(double seconds) {
    double units = seconds * UNITS_PER_S + 0.5;
    return units <= 0 ? 0 : units >= UINT32_MAX ? UINT32_MAX : (uint32_t)units;
}

int store_power_put(struct store *s, int64_t stage_id, const struct store_power *r, struct err *e) {
    unsigned char *blob = malloc(r->n * POINT_BYTES + 1);
    if (!blob) {
        return err_set(e, EE_NOMEM, "power: out of memory");
    }
    for (size_t i = 0; i < r->n; i++) {
        float watts = (float)r->points[i].watts;
        uint32_t bits;
        memcpy(&bits, &watts, sizeof(bits));
        put_u32(blob + i * POINT_BYTES, to_units(r->points[i].start_s));
        put_u32(blob + i * POINT_BYTES + 4, to_units(r->points[i].length_s));
        put_u32(blob + i * POINT_BYTES + 8, bits);
    }
    int rc = store_run(s, e, "INSERT INTO power VALUES (?, ?, ?, ?)", "isiz", stage_id,
                       r->component, r->start_ns, (const void *)blob, r->n * POINT_BYTES);
    free(blob);
    return rc;
}

static void read_power(sqlite3_stmt *st, void *row, struct arena *a) {
    struct store_power *r = row;
    r->component = store_col_text(st, 0, a);
    r->start_ns = sqlite3_column_int64(st, 1);
    const unsigned char *blob = sqlite3_column_blob(st, 2);
    r->n = blob ? (size_t)sqlite3_column_bytes(st, 2) / POINT_BYTES : 0;
    r->points = arena_array(a, r->n, sizeof(*r->points));
    for (size_t i = 0; r->points && i < r->n; i++) {
        const unsigned char *in = blob + i * POINT_BYTES;
        uint32_t bits = get_u32(in + 8);
        float watts;
        memcpy(&watts, &bits, sizeof(watts));
        r->points[i] = (struct store_power_point){.start_s = get_u32(in) / UNITS_PER_S,
                                                  .length_s = get_u32(in + 4) / UNITS_PER_S,
                                                  .watts = (double)watts};
    }
}

int store_powers(struct store *s, int64_t stage_id, struct arena *a, struct store_power **out,
                 size_t *n, struct err *e) {
    sqlite3_stmt *st = NULL;
    int rc = store_prepare(s, &st, e,
                           "SELECT component, start_ns, points FROM power WHERE stage_id = ?"
                           " ORDER BY rowid",
                           "i", stage_id);
    return rc ? rc : store_collect(s, st, a, sizeof(**out), read_power, (void **)out, n, e);
}
