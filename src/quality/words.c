#include "quality/words.h"

#include <string.h>

bool words_init(struct words *w, size_t max_words, struct arena *a) {
    size_t room = 16;
    while (room < 2 * max_words) {
        room *= 2;
    }
    *w = (struct words){.slots = arena_array(a, room, sizeof(*w->slots)), .mask = room - 1};
    w->list = arena_array(a, max_words, sizeof(*w->list));
    return w->slots && w->list;
}

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 over the golden ratio */
    return h ^ (h >> 32);
}

static uint64_t load4(const char *at) {
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return v;
}

/* Four bytes at a time, the last ones overlapping: words are short, and a step a byte is slow. */
static uint64_t hash_word(const char *at, size_t len) {
    if (len < 4) {
        uint64_t ends = (uint64_t)(unsigned char)at[0] << 16 |
                        (uint64_t)(unsigned char)at[len / 2] << 8 | (unsigned char)at[len - 1];
        return mix(len, ends);
    }
    uint64_t h = mix(len, load4(at) << 32 | load4(at + len - 4));
    for (size_t i = 4; i + 4 < len; i += 4) {
        h = mix(h, load4(at + i));
    }
    return h;
}

uint32_t words_number(struct words *w, const char *at, size_t len) {
    uint32_t hash = (uint32_t)hash_word(at, len);
    size_t i = hash & w->mask;
    while (w->slots[i]) {
        uint32_t id = w->slots[i] - 1;
        if (w->list[id].hash == hash && w->list[id].len == len &&
            memcmp(w->list[id].at, at, len) == 0) {
            return id;
        }
        i = (i + 1) & w->mask;
    }
    w->list[w->n].at = at;
    w->list[w->n].len = (uint32_t)len;
    w->list[w->n].hash = hash;
    w->slots[i] = ++w->n;
    return w->n - 1;
}
