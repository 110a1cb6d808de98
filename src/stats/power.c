#include "stats/power.h"

#include "stats/dist.h"

#include <math.h>

double stats_detectable_loss(const struct stats_interval *i, double confidence, double power) {
    double z = stats_z(confidence);
    double arm = i->estimate - i->low;
    return isfinite(arm) ? arm * (z + stats_normal_quantile(power)) / z : NAN;
}

double stats_needed_n(const struct stats_interval *i, double half_width) {
    if (!stats_is_bounded(i) || !(half_width > 0)) {
        return NAN;
    }
    double times = (i->high - i->low) / 2 / half_width;
    return ceil((double)i->n * times * times);
}

double stats_needed_pairs(double score, double discordant, double half_width, double confidence) {
    if (!(score > 0 && score <= 1) || !(discordant >= 0 && discordant <= 1) || !(half_width > 0)) {
        return NAN;
    }
    double times = stats_z(confidence) / (score * half_width);
    return ceil(discordant * times * times);
}
