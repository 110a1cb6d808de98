/* Elementwise and row by row work of a layer. Included after cpu_simd.inc.h. */

static void cross_entropy(float *x, const int32_t *targets, float *losses, int64_t n, int64_t rows,
                          float weight, int ith, int nth) {
    int64_t from;
    int64_t to;
    share(rows, ith, nth, &from, &to);
    for (int64_t r = from; r < to; r++) {
        float *row = x + r * n;
        const int64_t target = targets[r] - r * n;
        vf top = splat(-INFINITY);
        int64_t i = 0;
        for (; i + VF_LEN <= n; i += VF_LEN) {
            top = vmax(top, load(row + i));
        }
        vf tail = load_part(row + i, n - i, -INFINITY);
        const float most = max_lanes(vmax(top, tail));
        const float of_target = row[target] - most;
        double sum = 0;
        for (i = 0; i + VF_LEN <= n; i += VF_LEN) {
            vf p = vexp(load(row + i) - splat(most));
            sum += (double)sum_lanes(p);
            store(row + i, p);
        }
        tail = vexp(tail - splat(most));
        sum += (double)sum_lanes(tail);
        store_part(row + i, tail, n - i);
        losses[r] = (float)(log(sum) - (double)of_target);
        const float share_of_weight = (float)((double)weight / sum);
        for (i = 0; i + VF_LEN <= n; i += VF_LEN) {
            store(row + i, load(row + i) * share_of_weight);
        }
        for (; i < n; i++) {
            row[i] *= share_of_weight;
        }
        row[target] -= weight;
    }
}

/* Sum of a[i] * b[i] * c[i]. */
INLINE float dot3(const float *a, const float *b, const float *c, int64_t n) {
    vf sum = splat(0);
    int64_t i = 0;
    for (; i + VF_LEN <= n; i += VF_LEN) {
        sum += load(a + i) * load(b + i) * load(c + i);
    }
    float s = sum_lanes(sum);
    for (; i < n; i++) {
        s += a[i] * b[i] * c[i];
    }
    return s;
}

INLINE float inverse_rms(const float *x, int64_t n, float eps) {
    vf sum = splat(0);
    int64_t i = 0;
    for (; i + VF_LEN <= n; i += VF_LEN) {
        sum += load(x + i) * load(x + i);
    }
    float s = sum_lanes(sum);
    for (; i < n; i++) {
        s += x[i] * x[i];
    }
    return 1.0F / sqrtf(s / (float)n + eps);
}

static void norm(const float *x, const float *w, float *y, int64_t n, int64_t rows, float eps,
                 int ith, int nth) {
    int64_t from;
    int64_t to;
    share(rows, ith, nth, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const float *in = x + r * n;
        float *out = y + r * n;
        float scale = inverse_rms(in, n, eps);
        int64_t i = 0;
        for (; i + VF_LEN <= n; i += VF_LEN) {
            store(out + i, load(in + i) * scale * load(w + i));
        }
        for (; i < n; i++) {
            out[i] = in[i] * scale * w[i];
        }
    }
}

/* y = x s w with s = (mean x^2 + eps)^-1/2, so dx = s w dy - x s^3 / n * sum(w dy x). */
static void norm_back(const float *x, const float *w, const float *dy, const float *sum, float *dx,
                      int64_t n, int64_t rows, float eps, int ith, int nth) {
    int64_t from;
    int64_t to;
    share(rows, ith, nth, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const float *in = x + r * n;
        const float *d = dy + r * n;
        const float *more = sum ? sum + r * n : NULL;
        float *out = dx + r * n;
        const float scale = inverse_rms(in, n, eps);
        const float back = scale * scale * scale / (float)n * dot3(w, d, in, n);
        int64_t i = 0;
        for (; i + VF_LEN <= n; i += VF_LEN) {
            vf v = load(w + i) * load(d + i) * scale - load(in + i) * back;
            store(out + i, more ? v + load(more + i) : v);
        }
        for (; i < n; i++) {
            out[i] = w[i] * d[i] * scale - in[i] * back + (more ? more[i] : 0);
        }
    }
}

INLINE vf swiglu_of(vf gate, vf up) {
    return gate * vsigmoid(gate) * up;
}

static void swiglu(const float *gate, const float *up, float *y, int64_t n, int ith, int nth) {
    int64_t from;
    int64_t to;
    share((n + VF_LEN - 1) / VF_LEN, ith, nth, &from, &to);
    for (int64_t i = from * VF_LEN; i < to * VF_LEN && i < n; i += VF_LEN) {
        if (i + VF_LEN <= n) {
            store(y + i, swiglu_of(load(gate + i), load(up + i)));
        } else {
            store_part(y + i, swiglu_of(load_part(gate + i, n - i, 0), load_part(up + i, n - i, 0)),
                       n - i);
        }
    }
}

static void swiglu_back(const float *gate, const float *up, const float *dy, float *d, int64_t n,
                        int ith, int nth) {
    int64_t from;
    int64_t to;
    share((n + VF_LEN - 1) / VF_LEN, ith, nth, &from, &to);
    for (int64_t i = from * VF_LEN; i < to * VF_LEN && i < n; i += VF_LEN) {
        const int64_t left = n - i;
        const bool whole = left >= VF_LEN;
        const vf g = whole ? load(gate + i) : load_part(gate + i, left, 0);
        const vf u = whole ? load(up + i) : load_part(up + i, left, 0);
        const vf dv = whole ? load(dy + i) : load_part(dy + i, left, 0);
        const vf s = vsigmoid(g);
        const vf dgate = dv * u * s * (splat(1) + g * (splat(1) - s));
        const vf d_up = dv * g * s;
        if (whole) {
            store(d + i, dgate);
            store(d + n + i, d_up);
        } else {
            store_part(d + i, dgate, left);
            store_part(d + n + i, d_up, left);
        }
    }
}
