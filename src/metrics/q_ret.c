/* q_ret, quantization fidelity: the share of the fp16 model's score that is left. */
#include "metrics/formulas.h"

#include <string.h>

/* paper: a ratio of two means, without an interval; 100 for fp16 itself. */
void q_ret_paper(struct calc *c) {
    const struct quantity *score = &c->in->score;
    const struct quantity *fp16 = &c->in->score_fp16;
    if (!calc_take(c, fp16, "fp16 score", CALC_POSITIVE) ||
        !calc_take(c, score, "score", CALC_NOT_NEGATIVE)) {
        return;
    }
    if (score->note && fp16->note && strcmp(score->note, fp16->note) != 0) {
        calc_refuse(c, "scored by another scorer than fp16 (%s, %s)", score->note, fp16->note);
        return;
    }
    if (score->n != fp16->n) {
        c->row->flags |= QUANTITY_ITEMS_DIFFER;
    }
    /* By definition: 100 * S / S need not round to 100. */
    bool is_fp16 = strcmp(c->in->precision, "fp16") == 0;
    c->row->value = is_fp16 ? 100 : 100 * score->value / fp16->value;
}
