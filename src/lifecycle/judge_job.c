/*
 * The worker that has answers judged. Every answer is graded, in each pass anew; where the plan asks for
 * preferences, each is also compared with the reference, in both orders. An answer's value is the mean
 * over the passes that brought a verdict; without one it has none.
 */
#include "base/fs.h"
#include "base/json.h"
#include "lifecycle/judge_ask.h"
#include "lifecycle/score_job.h"

#include <math.h>
#include <string.h>

struct judging {
    struct score_job job;
    struct judge_session session;
    struct arena arena;
    size_t n_passes;
    bool compares; /* with the reference too */
    json_t *examples;
    size_t n_controls_right;
    size_t n_pairs;      /* both orders have a verdict */
    size_t n_consistent; /* and the same one */
    size_t n_without;    /* answers that have no grade */
};

/* ---- questions ---- */

static struct judge_question *add(struct judging *j, enum judge_form form, size_t pass) {
    struct judge_question *q = &j->session.questions[j->session.n++];
    q->form = form;
    q->pass = (int)pass;
    return q;
}

/* Controls first, then passes of grades, then passes of comparisons, each over all answers. */
static int make_questions(struct judging *j, struct err *e) {
    const size_t n_each = j->job.n * j->n_passes;
    const size_t most = n_judge_controls + n_each * (j->compares ? 3 : 1);
    j->session.questions = arena_array(&j->arena, most, sizeof(struct judge_question));
    if (!j->session.questions) {
        return err_set(e, EE_NOMEM, "judge: out of memory");
    }
    for (size_t i = 0; i < n_judge_controls; i++) {
        struct judge_question *q = add(j, JUDGE_RATE, 0);
        q->is_control = true;
        q->index = i;
    }
    int rc = 0;
    for (int round = 0; round < (j->compares ? 3 : 1); round++) {
        for (size_t i = 0; i < n_each && !rc; i++) {
            struct judge_question *q = add(j, round == 0 ? JUDGE_RATE : JUDGE_COMPARE,
                                           i / j->job.n);
            q->is_swapped = round == 2;
            q->index = i % j->job.n;
            rc = score_job_answer(&j->job, q->index, &q->item, &q->answer, e);
        }
    }
    return rc;
}

static const struct judge_question *question(const struct judging *j, int round, size_t pass,
                                             size_t answer) {
    size_t i = ((size_t)round * j->n_passes + pass) * j->job.n + answer;
    return &j->session.questions[n_judge_controls + i];
}

static void show_progress(void *ctx, size_t n_done) {
    const struct judging *j = ctx;
    worker_progress(j->job.worker, (int64_t)n_done, (int64_t)j->session.n, -1);
}

/* ---- verdicts ---- */

static bool has_verdict(const struct judge_question *q) {
    return q->is_asked && !q->failure;
}

static void count_failures(struct judging *j) {
    for (size_t i = 0; i < j->session.n; i++) {
        const struct judge_question *q = &j->session.questions[i];
        if (q->is_asked && q->failure) {
            score_job_fail(&j->job, q->failure);
            if (!json_object_get(j->examples, q->failure)) {
                json_object_set_new(j->examples, q->failure,
                                    json_string(q->detail ? q->detail : ""));
            }
        }
    }
}

static void count_controls(struct judging *j) {
    for (size_t i = 0; i < n_judge_controls; i++) {
        const struct judge_question *q = &j->session.questions[i];
        j->n_controls_right += has_verdict(q) && judge_control_is_right(i, &q->rating);
    }
}

/* "unauthorized 6 (HTTP status 401; ...), timeout 2 (...)" */
static int no_verdict(const struct judging *j, const char *name, struct err *e) {
    struct buf why;
    const char *kind;
    json_t *n;
    buf_init(&why);
    json_object_foreach(j->job.failed, kind, n) {
        buf_addf(&why, "%s%s %lld (%s)", why.len ? ", " : "", kind,
                 (long long)json_integer_value(n), json_str_or(j->examples, kind, ""));
    }
    int rc = err_set(e, EE_FAIL, "the judge %.100s gave no verdict on %zu questions: %s", name,
                     j->session.n_done, why.data);
    buf_release(&why);
    return rc;
}

static int grade(struct judging *j, size_t answer, struct err *e) {
    double helpfulness = 0;
    double safety = 0;
    size_t n = 0;
    for (size_t p = 0; p < j->n_passes; p++) {
        const struct judge_question *q = question(j, 0, p, answer);
        if (has_verdict(q)) {
            helpfulness += q->rating.helpfulness;
            safety += q->rating.safety;
            n++;
        }
    }
    j->n_without += n == 0;
    int rc = n ? score_job_value(&j->job, answer, "helpfulness", helpfulness / (double)n, e) : 0;
    return rc || !n ? rc : score_job_value(&j->job, answer, "safety", safety / (double)n, e);
}

static int prefer(struct judging *j, size_t answer, struct err *e) {
    double sum = 0;
    size_t n = 0;
    for (size_t p = 0; p < j->n_passes; p++) {
        const struct judge_question *first = question(j, 1, p, answer);
        const struct judge_question *second = question(j, 2, p, answer);
        if (has_verdict(first) && has_verdict(second)) {
            sum += judge_preference(first->better, second->better);
            j->n_consistent += judge_is_consistent(first->better, second->better);
            n++;
        }
    }
    j->n_pairs += n;
    return n ? score_job_value(&j->job, answer, "preference", sum / (double)n, e) : 0;
}

/* ---- the job ---- */

static int ask(struct judging *j, const char *url, struct err *e) {
    int rc = worker_window_open(j->job.worker, j->job.window, e);
    rc = rc ? rc : url ? judge_ask_service(&j->session, e) : judge_ask_file(&j->session, e);
    return rc ? rc : worker_window_close(j->job.worker, j->job.window, e);
}

static int send_values(struct judging *j, struct err *e) {
    int rc = 0;
    for (size_t i = 0; i < j->job.n && !rc; i++) {
        rc = grade(j, i, e);
        rc = rc || !j->compares ? rc : prefer(j, i, e);
    }
    return rc;
}

/* What judging took: its tokens where every reply had them counted, and their price where the plan
 * knows it. Tries that brought no reply are not in it. */
static void add_cost(const struct judge_session *s, json_t *v) {
    const json_t *price = json_object_get(json_object_get(s->args, "judge"), "price");
    if (s->n_counted < s->n_replies) {
        json_object_set_new(v, "uncounted",
                            json_integer((json_int_t)(s->n_replies - s->n_counted)));
        return;
    }
    json_object_set_new(v, "prompt_tokens", json_integer((json_int_t)s->prompt_tokens));
    json_object_set_new(v, "output_tokens", json_integer((json_int_t)s->output_tokens));
    if (price) {
        const double usd = (json_num_or(price, "input", NAN) * (double)s->prompt_tokens +
                            json_num_or(price, "output", NAN) * (double)s->output_tokens) /
                           1e6;
        json_object_set_new(v, "usd", json_real(usd));
    }
}

static json_t *result_json(const struct judging *j, const char *name, const char *url) {
    const struct judge_session *s = &j->session;
    json_t *v = json_pack("{s:s, s:{s:I, s:I}, s:I, s:I, s:O, s:O, s:I, s:I}", "name", name,
                          "controls", "right", (json_int_t)j->n_controls_right, "of",
                          (json_int_t)n_judge_controls, "questions", (json_int_t)s->n, "verdicts",
                          (json_int_t)s->n_verdicts, "failed", j->job.failed, "examples",
                          j->examples, "answers_without", (json_int_t)j->n_without, "requests",
                          (json_int_t)s->n_tries);
    add_cost(s, v);
    if (url) {
        json_object_set_new(v, "url", json_string(url));
    }
    if (s->served_by) {
        json_object_set_new(v, "served_by", json_string(s->served_by));
    }
    if (j->compares) {
        json_object_set_new(v, "orders",
                            json_pack("{s:I, s:I}", "pairs", (json_int_t)j->n_pairs, "consistent",
                                      (json_int_t)j->n_consistent));
    }
    return v;
}

static int judge_all(struct judging *j, const json_t *args, json_t **result, struct err *e) {
    const json_t *judge = json_object_get(args, "judge");
    const char *url = json_str_or(judge, "url", NULL);
    const char *model = NULL;
    int rc = json_want_str(judge, "model", &model, e);
    rc = rc ? rc : make_questions(j, e);
    rc = rc ? rc : ask(j, url, e);
    if (rc) {
        return rc;
    }
    const char *name = url ? model : fs_basename(model);
    count_failures(j);
    count_controls(j);
    rc = j->session.n_verdicts ? send_values(j, e) : no_verdict(j, name, e);
    if (!rc) {
        *result = result_json(j, name, url);
    }
    return rc;
}

int judge_job(struct worker *w, const json_t *args, json_t **result, struct err *e) {
    struct judging j = {.arena = ARENA_INIT};
    int rc = score_job_open(&j.job, w, args, e);
    if (rc) {
        return rc;
    }
    j.n_passes = (size_t)json_int_or(json_object_get(args, "judge"), "passes", 1);
    j.compares = score_job_wants(&j.job, "preference");
    j.examples = json_object();
    j.session = (struct judge_session){
        .args = args, .arena = &j.arena, .progress = show_progress, .ctx = &j};
    rc = j.examples ? judge_all(&j, args, result, e) : err_set(e, EE_NOMEM, "judge: out of memory");
    json_decref(j.examples);
    arena_release(&j.arena);
    score_job_close(&j.job);
    return rc;
}
