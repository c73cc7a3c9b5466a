// Scans of one row of logits, for sample.go: everything that must look at the whole vocabulary. A NaN counts as -inf,
// +inf as the largest float. Lane i%LANES of stretch i/STRETCH belongs to element i, on every path.
#include <float.h>
enum { STRETCH = 1024, LANES = 16 };

INL V tame(V x) { return v_min(v_set1(FLT_MAX), x); } // keeps a NaN: min and max give their second operand then

// stretch_load is elements [i, i+W) of l, those from n on -inf.
INL V stretch_load(const float *l, int i, int n) {
  return i + W <= n ? v_load(l + i) : v_band(v_loadn(l + i, n - i > 0 ? n - i : 0), i, 0, n - 1);
}

// crest writes the largest of each lane of each stretch, tamed.
static void crest(float *out, const float *l, int n) {
  for (int s = 0; s < n; s += STRETCH, out += LANES) {
    V m[64 / W];
    for (int j = 0; j < 64 / W; j++) m[j] = v_set1(-__builtin_inff());
    int i = s, stop = s + STRETCH;
    if (stop <= n) {
      for (; i < stop; i += 64)
        for (int j = 0; j < 64 / W; j++) m[j] = v_max(tame(v_load(l + i + j * W)), m[j]);
    } else {
      for (; i < n; i += LANES)
        for (int j = 0; j < LANES / W; j++) m[j] = v_max(tame(stretch_load(l, i + j * W, n)), m[j]);
    }
    for (int j = LANES / W; j < 64 / W; j++) m[j % (LANES / W)] = v_max(m[j], m[j % (LANES / W)]);
    for (int j = 0; j < LANES / W; j++) v_store(out + j * W, m[j]);
  }
}

// weigh writes exp((l - top) * by) to p, unless it is NULL, and the sum of each stretch to sums. p has room for whole
// groups of LANES.
static void weigh(double *sums, float *p, const float *l, int n, float top, float by) {
  for (int s = 0; s < n; s += STRETCH) {
    V sum[2] = {v_zero(), v_zero()};
    int stop = s + STRETCH < n ? s + STRETCH : n;
    for (int i = s; i < stop; i += 16)
      for (int j = 0; j < 16 / W; j++) {
        V x = v_max(v_sub(tame(stretch_load(l, i + j * W, n)), v_set1(top)), v_set1(-__builtin_inff())); // a NaN: -inf
        x = v_exp(v_mul(x, v_set1(by)));
        if (p) v_store(p + i + j * W, x);
        sum[(i / 16 + j) % 2] = v_add(sum[(i / 16 + j) % 2], x);
      }
    *sums++ = v_rsum(v_add(sum[0], sum[1]));
  }
}

// masses adds each weight to the bucket of its leading bits, LEAST_BITS the first; lighter ones are left out.
static void masses(double *mass, const float *p, int n) {
  for (int i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, p + i, 4);
    if (bits >= (uint32_t)LEAST_BITS << 16) mass[(bits >> 16) - LEAST_BITS] += p[i];
  }
}

// prune makes weights below least 0 and writes the sum of each stretch to sums. p has room for whole groups of LANES.
static void prune(double *sums, float *p, int n, float least) {
  for (int s = 0; s < n; s += STRETCH) {
    V sum = v_zero();
    int stop = s + STRETCH < n ? s + STRETCH : n;
    for (int i = s; i < stop; i += W) {
      V x = v_load(p + i);
      v_store(p + i, x = v_below(x, least, x));
      sum = v_add(sum, x);
    }
    *sums++ = v_rsum(sum);
  }
}

// within writes the indices of what lies in [least, most], in rising order, and returns their number. ids has room for n
// and LANES more.
static int within(int32_t *ids, const float *l, int n, float least, float most) {
  int count = 0;
  for (int i = 0; i < n; i += W) count += v_ids(ids + count, stretch_load(l, i, n), least, most, i);
  return count;
}

// more is the number of elements larger than than.
static int more(const float *l, int n, float than) {
  int count = 0;
  for (int i = 0; i < n; i += W) count += v_more(stretch_load(l, i, n), than);
  return count;
}

const scans SCANS = {crest, weigh, masses, prune, within, more};
