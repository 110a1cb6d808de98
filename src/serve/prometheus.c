#include "serve/prometheus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERIES = 20000, MAX_NAME = 400 };

void prometheus_init(struct prometheus *p) {
    *p = (struct prometheus){0};
}

void prometheus_release(struct prometheus *p) {
    free(p->series);
    arena_release(&p->names);
    prometheus_init(p);
}

/* The type that the last "# TYPE name type" line gave, while lines of that name follow. */
struct context {
    char name[MAX_NAME];
    bool is_counter, is_histogram;
};

static bool begins(const char *s, size_t len, const char *word) {
    size_t n = strlen(word);
    return len >= n && memcmp(s, word, n) == 0;
}

static void take_type(struct context *c, const char *line, size_t len) {
    if (!begins(line, len, "# TYPE ")) {
        return;
    }
    const char *name = line + 7;
    const char *space = memchr(name, ' ', len - 7);
    if (!space || (size_t)(space - name) >= sizeof(c->name)) {
        return;
    }
    memcpy(c->name, name, (size_t)(space - name));
    c->name[space - name] = '\0';
    const char *type = space + 1;
    size_t type_len = (size_t)(line + len - type);
    c->is_counter = begins(type, type_len, "counter");
    c->is_histogram = begins(type, type_len, "histogram") || begins(type, type_len, "summary");
}

static bool ends(const char *s, size_t len, const char *word) {
    size_t n = strlen(word);
    return len >= n && memcmp(s + len - n, word, n) == 0;
}

static struct prom_series *find(struct prometheus *p, const char *name, size_t len) {
    for (size_t i = 0; i < p->n; i++) {
        if (strncmp(p->series[i].name, name, len) == 0 && p->series[i].name[len] == '\0') {
            return &p->series[i];
        }
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 128;
        struct prom_series *grown = cap > MAX_SERIES ? NULL
                                                     : realloc(p->series, cap * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        p->series = grown;
        p->cap = cap;
    }
    char *copy = arena_strndup(&p->names, name, len);
    if (!copy) {
        return NULL;
    }
    p->series[p->n] = (struct prom_series){.name = copy};
    return &p->series[p->n++];
}

static void add_value(struct prom_series *s, double v) {
    s->first = s->n ? s->first : v;
    s->min = s->n && s->min < v ? s->min : v;
    s->max = s->n && s->max > v ? s->max : v;
    s->last = v;
    s->sum += v;
    s->n++;
}

/* Length of "name" or "name{labels}"; 0 when the line does not begin with one. */
static size_t series_len(const char *line, size_t len) {
    size_t n = 0;
    while (n < len && line[n] != ' ' && line[n] != '\t' && line[n] != '{') {
        n++;
    }
    if (n < len && line[n] == '{') {
        bool quoted = false;
        for (; n < len && (quoted || line[n] != '}'); n++) {
            if (line[n] == '\\' && quoted) {
                n++;
            } else if (line[n] == '"') {
                quoted = !quoted;
            }
        }
        n++;
    }
    return n < len ? n : 0;
}

static int take_sample(struct prometheus *p, const struct context *c, const char *line, size_t len,
                       struct err *e) {
    size_t n = series_len(line, len);
    char number[64];
    size_t at = n;
    while (at < len && (line[at] == ' ' || line[at] == '\t')) {
        at++;
    }
    size_t number_len = 0;
    while (at + number_len < len && line[at + number_len] != ' ' && line[at + number_len] != '\r') {
        number_len++;
    }
    if (n == 0 || number_len == 0 || number_len >= sizeof(number)) {
        return err_set(e, EE_FORMAT, "metrics: \"%.*s\" is no sample", (int)(len < 60 ? len : 60),
                       line);
    }
    memcpy(number, line + at, number_len);
    number[number_len] = '\0';
    char *end = NULL;
    double v = strtod(number, &end);
    if (*end) {
        return err_set(e, EE_FORMAT, "metrics: \"%s\" is no number", number);
    }
    size_t name_len = strcspn(line, "{ \t");
    if (!isfinite(v) || ends(line, name_len, "_bucket") || n >= MAX_NAME) {
        return 0;
    }
    bool of_histogram = c->is_histogram && begins(line, name_len, c->name);
    if (of_histogram && !ends(line, name_len, "_sum") && !ends(line, name_len, "_count")) {
        return 0; /* a summary's quantiles */
    }
    struct prom_series *s = find(p, line, n);
    if (!s) {
        return err_set(e, EE_NOMEM, "metrics: too many series");
    }
    s->is_counter = of_histogram || (c->is_counter && begins(line, name_len, c->name));
    add_value(s, v);
    return 0;
}

int prometheus_take(struct prometheus *p, const char *text, size_t len, struct err *e) {
    struct context c = {0};
    const char *end = text + len;
    int rc = 0;
    while (text < end && !rc) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((eol ? eol : end) - text);
        if (n > 0 && *text == '#') {
            take_type(&c, text, n);
        } else if (n > 0 && *text != '\r') {
            rc = take_sample(p, &c, text, n, e);
        }
        text = eol ? eol + 1 : end;
    }
    p->n_scrapes += rc == 0;
    p->n_failed += rc != 0;
    return rc;
}

json_t *prometheus_json(const struct prometheus *p) {
    json_t *counters = json_object();
    json_t *gauges = json_object();
    for (size_t i = 0; i < p->n; i++) {
        const struct prom_series *s = &p->series[i];
        if (s->is_counter) {
            json_object_set_new(counters, s->name, json_real(s->last - s->first));
        } else {
            json_object_set_new(gauges, s->name,
                                json_pack("{s:f, s:f, s:f, s:f}", "min", s->min, "mean",
                                          s->sum / (double)s->n, "max", s->max, "last", s->last));
        }
    }
    return json_pack("{s:I, s:I, s:o, s:o}", "scrapes", (json_int_t)p->n_scrapes, "failed",
                     (json_int_t)p->n_failed, "counters", counters, "gauges", gauges);
}
