/* The verdict in three sentences, each over all tasks. */
#include "report/verdict_impl.h"

#include "report/fmt.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { MAX_TASKS = 64 }; /* far more than there are */

/* "rag", "rag and summ", "rag, summ and chat": the tasks of those that are marked. */
static void add_tasks(const struct choice *choices, const bool *is_in, size_t n, struct buf *out) {
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        left += is_in[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (is_in[i]) {
            left--;
            buf_addf(out, "%s%s", choices[i].g->task, left > 1 ? ", " : left ? " and " : "");
        }
    }
}

static bool are_all(const bool *is_in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!is_in[i]) {
            return false;
        }
    }
    return true;
}

static bool same_name(const struct choice *a, const struct choice *b) {
    return a->taken && b->taken ? strcmp(a->taken->name, b->taken->name) == 0
                                : a->taken == b->taken;
}

/* "take X for rag and chat", for those whose choice is the same as the i-th's. */
static void add_which(const struct choice *choices, size_t i, size_t n, struct buf *out) {
    bool is_in[MAX_TASKS];
    for (size_t j = 0; j < n; j++) {
        is_in[j] = same_name(&choices[i], &choices[j]);
    }
    if (choices[i].taken) {
        buf_addf(out, "take %s", choices[i].taken->name);
    } else {
        buf_addstr(out, "no variant can be named");
    }
    if (n > 1 && are_all(is_in, n)) {
        buf_addstr(out, choices[i].taken ? " for every task" : " for any task");
    } else if (n > 1) {
        buf_addstr(out, " for ");
        add_tasks(choices, is_in, n, out);
    }
}

static void say_which(const struct choice *choices, size_t n, struct buf *out) {
    for (size_t i = 0; i < n; i++) {
        bool is_said = false;
        for (size_t j = 0; j < i; j++) {
            is_said = is_said || same_name(&choices[i], &choices[j]);
        }
        if (!is_said) {
            buf_addstr(out, i ? "; " : "");
            add_which(choices, i, n, out);
        }
    }
}

/* "0.0231 to 0.0258", over the marked tasks; nothing where one of them has no such figure. */
static bool add_range(const struct choice *choices, const bool *is_in, size_t n, const char *metric,
                      struct buf *out) {
    double low = INFINITY;
    double high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (is_in[i]) {
            const struct metric_row *row = verdict_full(verdict_asked(&choices[i]), metric);
            if (metric_refused(row) || !isfinite(row->value)) {
                return false;
            }
            low = fmin(low, row->value);
            high = fmax(high, row->value);
        }
    }
    fmt_num(out, low);
    if (high > low) {
        buf_addstr(out, " to ");
        fmt_num(out, high);
    }
    return true;
}

/* What is asked about: what was named, or the cheapest where nothing could be. */
static const char *subject(const struct choice *choices, const bool *is_in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (is_in[i] && choices[i].taken) {
            return "it";
        }
    }
    return "the cheapest by estimate";
}

static void add_payment(const struct choice *choices, const bool *is_in, size_t n,
                        enum payment payment, struct buf *out) {
    static const char *const words[PAYMENTS] = {
        [PAYS] = "pays",
        [PAYS_BY_ESTIMATE] = "pays by estimate, unproven",
        [PAYS_NEVER] = "does not pay at the plan's traffic",
        [PAYS_INCOMPARABLE] = "cannot be set against the API, whose answers are better",
    };
    struct buf figure;
    if (payment == PAYS_UNKNOWN) {
        buf_addstr(out, "it cannot be said whether it pays");
        return;
    }
    buf_init(&figure);
    buf_addf(out, "%s %s", subject(choices, is_in, n), words[payment]);
    if (payment == PAYS_NEVER && add_range(choices, is_in, n, "pays_from_per_h", &figure)) {
        buf_addf(out, " but from %s requests an hour on", figure.data);
    } else if (payment <= PAYS_BY_ESTIMATE &&
               add_range(choices, is_in, n, "saving_usd_per_h", &figure)) {
        buf_addf(out, ": $%s saved an hour", figure.data);
    }
    out->failed = out->failed || figure.failed;
    buf_release(&figure);
}

static void say_pays(const struct choice *choices, size_t n, struct buf *out) {
    const char *separator = "";
    for (int p = 0; p < PAYMENTS; p++) {
        bool is_in[MAX_TASKS];
        bool is_any = false;
        for (size_t i = 0; i < n; i++) {
            is_in[i] = verdict_payment(&choices[i]) == (enum payment)p;
            is_any = is_any || is_in[i];
        }
        if (!is_any) {
            continue;
        }
        buf_addstr(out, separator);
        separator = "; ";
        if (!are_all(is_in, n)) {
            buf_addstr(out, "for ");
            add_tasks(choices, is_in, n, out);
            buf_addch(out, ' ');
        }
        add_payment(choices, is_in, n, (enum payment)p, out);
    }
}

static void say_sure(const struct compare_set *s, const struct choice *choices, struct buf *out) {
    bool is_untested = false;
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct compare_variant *c = verdict_asked(&choices[i]);
        is_untested = is_untested || (c && verdict_is_untested(verdict_full(c, "n_break")));
    }
    if (s->n_runs == 1) {
        buf_addstr(out, "energy is ");
        summary_energy(s->runs[0], out);
        buf_addstr(out, is_untested ? ", " : " and ");
    }
    verdict_say_scores(s, out);
    buf_addstr(out, is_untested ? ", and whether the answers are as good as the API's is not tested"
                                : "");
}

void verdict_brief(const struct compare_set *s, const struct choice *choices,
                   enum verdict_part part, struct buf *out) {
    size_t n = s->n_groups < MAX_TASKS ? s->n_groups : MAX_TASKS;
    switch (part) {
    case VERDICT_WHICH:
        say_which(choices, n, out);
        break;
    case VERDICT_PAYS:
        say_pays(choices, n, out);
        break;
    case VERDICT_SURE:
    case VERDICT_PARTS:
        say_sure(s, choices, out);
        break;
    }
    if (!out->failed && out->len) {
        out->data[0] = (char)toupper((unsigned char)out->data[0]);
    }
    buf_addch(out, '.');
}
