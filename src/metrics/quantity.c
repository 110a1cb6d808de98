#include "metrics/quantity.h"

#include "base/buf.h"

#include <math.h>

static const struct {
    unsigned flag;
    const char *text;
} flag_texts[] = {
    {QUANTITY_MODELLED, "modelled"},
    {QUANTITY_SYNTHETIC, "random weights: power may differ by up to 40 % from real ones"},
    {QUANTITY_EXTRAPOLATED, "adaptation extrapolated from two counts of rows"},
    {QUANTITY_PUBLISHED, "quality of a published row, not measured"},
    {QUANTITY_SHORT, "short window"},
    {QUANTITY_SOME_FAILED, "some requests failed"},
    {QUANTITY_UNSCORED, "without the answers that have no score"},
    {QUANTITY_FORCED, "forced output lengths"},
    {QUANTITY_WARM_CACHE, "warm page cache"},
    {QUANTITY_FEW_STARTS, "fewer than 5 starts"},
    {QUANTITY_NO_ADAPTATION, "no adaptation: counts quantizing only"},
    {QUANTITY_NOTHING_SPENT, "no adaptation and no quantizing: nothing spent before serving"},
    {QUANTITY_ITEMS_DIFFER, "fp16 was scored on another number of items"},
    {QUANTITY_LABEL_SIZE, "number of weights from the size label"},
    {QUANTITY_STALE_PRICE, "stale price"},
    {QUANTITY_UNCHECKED_PRICE, "unchecked price"},
    {QUANTITY_GIVEN_IDLE, "idle power as given, not measured"},
    {QUANTITY_NOT_EQUIVALENT, "not equivalent"},
    {QUANTITY_INSTRUMENT, "interval: instrument error only"},
    {QUANTITY_T_INTERVAL, "interval: 95 % Student t"},
    {QUANTITY_IN_RANGE, "interval: 95 %, of a mean within the score's range"},
    {QUANTITY_AT_LEAST, "at least: the largest seen, too few to bound this percentile"},
};

struct quantity quantity_of(double value, size_t n) {
    return (struct quantity){.present = true, .value = value, .low = NAN, .high = NAN, .n = n};
}

struct quantity quantity_missing(const char *reason) {
    return (struct quantity){.value = NAN, .low = NAN, .high = NAN, .reason = reason};
}

static void add_part(struct buf *b, const char *prefix, const char *text) {
    buf_addf(b, "%s%s%s", b->len ? "; " : "", prefix, text);
}

bool quantity_label(unsigned flags, const char *scope, const char *note, struct arena *a,
                    const char **out) {
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < sizeof(flag_texts) / sizeof(flag_texts[0]); i++) {
        if (flags & flag_texts[i].flag) {
            add_part(&b, "", flag_texts[i].text);
        }
    }
    if (scope) {
        add_part(&b, "scope ", scope);
    }
    if (note) {
        add_part(&b, "", note);
    }
    *out = NULL;
    if (b.len) {
        *out = arena_strdup(a, b.data);
    }
    bool ok = !b.failed && (b.len == 0 || *out);
    buf_release(&b);
    return ok;
}
