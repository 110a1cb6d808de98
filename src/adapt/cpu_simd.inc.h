/*
 * Vectors of 16 floats in the compilers' common extension, which become one, two or four registers.
 * Included by each cpu_kernels_*.c after it has chosen an instruction set.
 */

enum { VF_LEN = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));
#define INLINE static inline __attribute__((always_inline, unused))

INLINE vf load(const float *p) {
    vf v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

INLINE void store(float *p, vf v) {
    __builtin_memcpy(p, &v, sizeof(v));
}

INLINE vf splat(float x) {
    return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

/* a where the mask's lanes are all ones, else b. */
INLINE vf choose(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

INLINE vf vmax(vf a, vf b) {
    return choose(a > b, a, b);
}

INLINE float sum_lanes(vf v) {
    float s[8];
    for (int i = 0; i < 8; i++) {
        s[i] = v[i] + v[i + 8];
    }
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

INLINE float max_lanes(vf v) {
    float m = v[0];
    for (int i = 1; i < VF_LEN; i++) {
        m = v[i] > m ? v[i] : m;
    }
    return m;
}

/* The first n lanes of memory, the rest fill. */
INLINE vf load_part(const float *p, int64_t n, float fill) {
    vf v = splat(fill);
    for (int64_t i = 0; i < n && i < VF_LEN; i++) {
        v[i] = p[i];
    }
    return v;
}

INLINE void store_part(float *p, vf v, int64_t n) {
    for (int64_t i = 0; i < n && i < VF_LEN; i++) {
        p[i] = v[i];
    }
}

/*
 * exp(x) to about 2 units in the last place; 0 below -87. By 2^n e^r, |r| <= ln(2) / 2, with the
 * Taylor polynomial of degree 7 for e^r.
 */
INLINE vf vexp(vf x) {
    const vf round_magic = splat(12582912.0F); /* 1.5 * 2^23: what is added to it gets rounded */
    vi tiny = x < splat(-87.0F);
    x = choose(x > splat(88.0F), splat(88.0F), x);
    vf shifted = x * splat(1.44269504F) + round_magic;
    vf n = shifted - round_magic;
    vf r = x - n * splat(0.693145752F);
    r = r - n * splat(1.42860677e-6F);
    vf p = splat(1.0F / 5040) * r + splat(1.0F / 720);
    p = p * r + splat(1.0F / 120);
    p = p * r + splat(1.0F / 24);
    p = p * r + splat(1.0F / 6);
    p = p * r + splat(0.5F);
    p = p * r + splat(1.0F);
    p = p * r + splat(1.0F);
    vu exponent = ((vu)shifted - (vu)round_magic) << 23;
    vf e = (vf)((vu)p + exponent);
    return choose(tiny, splat(0), e);
}

INLINE vf vsigmoid(vf x) {
    return splat(1) / (splat(1) + vexp(-x));
}

/* IEEE half precision to single, all 2^16 values. */
INLINE vf from_halves(const uint16_t *p) {
    vh h;
    __builtin_memcpy(&h, p, sizeof(h));
    vu bits = __builtin_convertvector(h, vu);
    vu sign = (bits & 0x8000U) << 16;
    vu rest = (bits & 0x7fffU) << 13;
    vu exponent = rest & (0x7c00U << 13);
    vu normal = rest + (112U << 23);
    normal += (vu)(exponent == (0x7c00U << 13)) & (112U << 23); /* infinite or no number */
    vf subnormal = (vf)(rest + (113U << 23)) - splat(6.103515625e-05F);
    vf value = choose((vi)(exponent == 0), subnormal, (vf)normal);
    return (vf)((vu)value | sign);
}

INLINE void halves_to_floats(const uint16_t *p, float *out, int64_t n) {
    int64_t i = 0;
    for (; i + VF_LEN <= n; i += VF_LEN) {
        store(out + i, from_halves(p + i));
    }
    for (; i < n; i++) {
        out[i] = ggml_fp16_to_fp32(p[i]);
    }
}

INLINE vf interleave_low(vf a, vf b) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

INLINE vf interleave_high(vf a, vf b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                   31);
}

/* out[k * stride + j] = alpha * rows[j][k] for 16 x 16 values: four rounds of a perfect shuffle. */
INLINE void transpose_16(const float *const *rows, int64_t at, float alpha, float *out,
                         int64_t stride) {
    vf a[VF_LEN];
    vf b[VF_LEN];
#pragma GCC unroll 16
    for (int i = 0; i < VF_LEN; i++) {
        a[i] = load(rows[i] + at) * alpha;
    }
#pragma GCC unroll 2
    for (int round = 0; round < 2; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < VF_LEN / 2; i++) {
            b[2 * i] = interleave_low(a[i], a[i + VF_LEN / 2]);
            b[2 * i + 1] = interleave_high(a[i], a[i + VF_LEN / 2]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < VF_LEN / 2; i++) {
            a[2 * i] = interleave_low(b[i], b[i + VF_LEN / 2]);
            a[2 * i + 1] = interleave_high(b[i], b[i + VF_LEN / 2]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < VF_LEN; i++) {
        store(out + i * stride, a[i]);
    }
}

/* Thread ith's share [*from, *to) of n things. */
INLINE void share(int64_t n, int ith, int nth, int64_t *from, int64_t *to) {
    *from = n * ith / nth;
    *to = n * (ith + 1) / nth;
}
