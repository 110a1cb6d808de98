#include "report/reproduce.h"

#include "report/claims.h"
#include "report/fmt.h"
#include "report/jobj.h"
#include "report/published.h"
#include "report/reproduce_page.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 100 };

/* The five metrics of the paper, as its tables show them. */
static const struct {
    const char *id;
    const char *title;
    int width;
    int decimals;
} columns[] = {
    {"n_break", "N_break", 7, 2}, {"ipw_paper", "IPW", 6, 4}, {"rho_sys", "rho_sys", 7, 0},
    {"c_tax", "C_tax", 5, 1},     {"q_ret", "Q_ret", 6, 2},
};
enum { N_COLUMNS = sizeof(columns) / sizeof(columns[0]) };

/* fp16 keeps 100 % of itself by definition: that is no result. */
static bool is_result(const struct published_variant *v, size_t column) {
    bool is_own_base = strcmp(columns[column].id, "q_ret") == 0 &&
                       strcmp(v->precision, "fp16") == 0;
    return !is_own_base && !isnan(published_value(v, columns[column].id));
}

static int write_csv(const struct published *p, const char *data_dir, struct buf *out,
                     struct err *e) {
    (void)data_dir;
    (void)e;
    buf_addstr(out, "family,size,method,task,precision,metric,value\n");
    for (size_t i = 0; i < p->n_variants; i++) {
        const struct published_variant *v = &p->variants[i];
        for (size_t c = 0; c < N_COLUMNS; c++) {
            if (is_result(v, c)) {
                const char *const keys[] = {v->family, v->size,      v->method,
                                            v->task,   v->precision, columns[c].id};
                for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
                    fmt_csv(out, keys[k]);
                    buf_addch(out, ',');
                }
                fmt_full(out, published_value(v, columns[c].id));
                buf_addch(out, '\n');
            }
        }
    }
    return 0;
}

/* --- Text --------------------------------------------------------------------------------------- */

static bool same_line(const struct published_variant *x, const struct published_variant *y) {
    return strcmp(x->size, y->size) == 0 && strcmp(x->method, y->method) == 0 &&
           strcmp(x->task, y->task) == 0 && strcmp(x->precision, y->precision) == 0;
}

static const struct published_variant *find_like(const struct published *p,
                                                 const struct published_variant *like,
                                                 const char *family) {
    for (size_t i = 0; i < p->n_variants; i++) {
        const struct published_variant *v = &p->variants[i];
        if (same_line(v, like) && strcmp(v->family, family) == 0) {
            return v;
        }
    }
    return NULL;
}

static void add_keys(const char *size, const char *method, const char *task, const char *precision,
                     struct buf *out) {
    buf_addf(out, "%-4s %-5s %-4s %-4s", size, method, task, precision);
}

static void add_titles(struct buf *out) {
    buf_addstr(out, " |");
    for (size_t c = 0; c < N_COLUMNS; c++) {
        buf_addf(out, " %*s", columns[c].width, columns[c].title);
    }
}

static void add_figures(const struct published_variant *v, struct buf *out) {
    buf_addstr(out, " |");
    for (size_t c = 0; c < N_COLUMNS; c++) {
        if (v && is_result(v, c)) {
            buf_addf(out, " %*.*f", columns[c].width, columns[c].decimals,
                     published_value(v, columns[c].id));
        } else {
            buf_addf(out, " %*s", columns[c].width, "-");
        }
    }
}

/* Both families side by side: the variants of the first one name the lines. */
static void add_table(const struct published *p, struct buf *out) {
    const char *left = p->variants[0].family;
    const char *right = p->variants[p->n_variants - 1].family;
    buf_addf(out, "%20s | %-35s | %s\n", "", left, right);
    add_keys("size", "meth.", "task", "prec", out);
    add_titles(out);
    add_titles(out);
    buf_addch(out, '\n');
    for (size_t i = 0; i < p->n_variants && strcmp(p->variants[i].family, left) == 0; i++) {
        const struct published_variant *v = &p->variants[i];
        add_keys(v->size, v->method, v->task, v->precision, out);
        add_figures(v, out);
        add_figures(find_like(p, v, right), out);
        buf_addch(out, '\n');
    }
}

static void add_legend(struct buf *out) {
    static const char *const lines[] = {
        "N_break: requests until the training's electricity is repaid; the API asks $0.00125 each",
        "IPW: score per joule of a request, published as per watt",
        "rho_sys: output tokens/s for each nominal GB of weights",
        "C_tax: requests whose energy one load would take at serving power",
        "Q_ret: % of the fp16 score; qlora was published as int4 alone and has none",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        fmt_wrap(out, "- ", lines[i], WIDTH);
    }
}

static void add_claim(const struct claim *c, struct buf *out) {
    struct buf line;
    buf_init(&line);
    buf_addf(&line, "%s %s: ", c->claim, verdict_name(c->verdict));
    buf_addstr(&line, c->detail);
    buf_addch(&line, '.');
    fmt_wrap_buf(out, "- ", &line, WIDTH);
    buf_release(&line);
}

static int write_text(const struct published *p, const char *data_dir, struct buf *out,
                      struct err *e) {
    (void)data_dir;
    struct arena a = ARENA_INIT;
    struct claim *claims = NULL;
    size_t n = 0;
    int rc = claims_check(p, &a, &claims, &n, e);
    if (!rc) {
        buf_addf(out,
                 "The %zu published variants, recomputed from the published measurements "
                 "(profile paper)\n\n",
                 p->n_variants);
        add_table(p, out);
        buf_addch(out, '\n');
        add_legend(out);
        buf_addstr(out, "\nWhat the paper says, and what its rows give\n\n");
        for (size_t i = 0; i < n; i++) {
            add_claim(&claims[i], out);
        }
        buf_addstr(out, "\nWhat is weak in these measurements: edge-eval audit --published\n");
    }
    arena_release(&a);
    return rc;
}

/* --- JSON --------------------------------------------------------------------------------------- */

static struct jobj variant_object(const struct published_variant *v) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "family", v->family);
    jobj_put_str(&o, "size", v->size);
    jobj_put_str(&o, "method", v->method);
    jobj_put_str(&o, "task", v->task);
    jobj_put_str(&o, "precision", v->precision);
    struct jobj metrics = jobj_new();
    for (size_t c = 0; c < N_COLUMNS; c++) {
        jobj_put_num(&metrics, columns[c].id,
                     is_result(v, c) ? published_value(v, columns[c].id) : (double)NAN);
    }
    jobj_put_object(&o, "metrics", metrics);
    return o;
}

static struct jobj claim_object(const struct claim *c) {
    struct jobj o = jobj_new();
    jobj_put_str(&o, "id", c->id);
    jobj_put_str(&o, "claim", c->claim);
    jobj_put_num(&o, "stated", c->stated);
    jobj_put_num(&o, "found", c->found);
    jobj_put_str(&o, "unit", c->unit);
    jobj_put_str(&o, "verdict", verdict_name(c->verdict));
    jobj_put_str(&o, "detail", c->detail);
    return o;
}

static int write_json(const struct published *p, const char *data_dir, struct buf *out,
                      struct err *e) {
    (void)data_dir;
    struct arena a = ARENA_INIT;
    struct claim *claims = NULL;
    size_t n = 0;
    int rc = claims_check(p, &a, &claims, &n, e);
    if (!rc) {
        struct jobj doc = jobj_new();
        jobj_put_str(&doc, "format", "edge-eval reproduce");
        jobj_put(&doc, "format_version", json_integer(1));
        json_t *variants = json_array();
        for (size_t i = 0; i < p->n_variants; i++) {
            jobj_append(&doc, variants, variant_object(&p->variants[i]));
        }
        jobj_put(&doc, "variants", variants);
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++) {
            jobj_append(&doc, list, claim_object(&claims[i]));
        }
        jobj_put(&doc, "claims", list);
        rc = jobj_write(&doc, "reproduce", out, e);
    }
    arena_release(&a);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int (*write)(const struct published *p, const char *data_dir, struct buf *out, struct err *e);
} formats[] = {
    {"text", write_text}, {"csv", write_csv}, {"json", write_json}, {"html", reproduce_page}};
enum { N_FORMATS = sizeof(formats) / sizeof(formats[0]) };

const char *const reproduce_format_names[] = {"text", "csv", "json", "html", NULL};
_Static_assert(sizeof(reproduce_format_names) / sizeof(reproduce_format_names[0]) == N_FORMATS + 1,
               "one name a format");

int reproduce_format(const char *data_dir, const char *format, struct buf *out, struct err *e) {
    size_t f = 0;
    while (f < N_FORMATS && strcmp(formats[f].name, format) != 0) {
        f++;
    }
    if (f == N_FORMATS) {
        return err_set(e, EE_USAGE, "there is no format \"%.40s\"", format);
    }
    struct published *p = NULL;
    int rc = published_load(data_dir, &p, e);
    rc = rc ? rc : formats[f].write(p, data_dir, out, e);
    published_free(p);
    return rc ? rc : buf_check(out, "reproduce", e);
}
