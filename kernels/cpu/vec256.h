// Vectors of 8 floats (AVX2 with FMA), under the names that the kernels are written in.
#include <immintrin.h>
#include <string.h>
#define W 8
#define MAXC 1
typedef __m256 V;
#define INL static inline __attribute__((always_inline))
INL __m256i first(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
INL V v_load(const float *p) { return _mm256_loadu_ps(p); }
INL V v_loadn(const float *p, int n) { return _mm256_maskload_ps(p, first(n)); }
INL void v_store(float *p, V x) { _mm256_storeu_ps(p, x); }
INL void v_storen(float *p, V x, int n) { _mm256_maskstore_ps(p, first(n), x); }
INL V v_set1(float x) { return _mm256_set1_ps(x); }
INL V v_zero(void) { return _mm256_setzero_ps(); }
INL V v_fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
INL V v_add(V a, V b) { return _mm256_add_ps(a, b); }
INL V v_sub(V a, V b) { return _mm256_sub_ps(a, b); }
INL V v_mul(V a, V b) { return _mm256_mul_ps(a, b); }
INL V v_div(V a, V b) { return _mm256_div_ps(a, b); }
INL V v_max(V a, V b) { return _mm256_max_ps(a, b); }
INL V v_min(V a, V b) { return _mm256_min_ps(a, b); }
INL float v_rsum(V a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
INL float v_rmax(V a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
INL V v_round(V a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// v_pow2 is 2^n for whole n in [-126, 127].
INL V v_pow2(V n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23)); }
// v_below is y where x >= limit or x is not a number, else 0.
INL V v_below(V x, float limit, V y) { return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_NLT_UQ), y); }
// v_band keeps the lanes whose index base + lane lies in [lo, hi]; the others become -inf.
INL V v_band(V x, int base, int lo, int hi) {
  __m256i i = _mm256_add_epi32(_mm256_set1_epi32(base), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  __m256i out = _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(lo), i), _mm256_cmpgt_epi32(i, _mm256_set1_epi32(hi)));
  return _mm256_blendv_ps(x, _mm256_set1_ps(-__builtin_inff()), _mm256_castsi256_ps(out));
}
// v_ids writes base + lane of the lanes of x that lie in [least, most], and returns their number.
INL int v_ids(int32_t *to, V x, float least, float most, int base) {
  unsigned m = _mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_set1_ps(least), _CMP_GE_OQ));
  m &= _mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_set1_ps(most), _CMP_LE_OQ));
  int n = __builtin_popcount(m);
  for (; m; m &= m - 1) *to++ = base + __builtin_ctz(m);
  return n;
}
INL int v_more(V x, float than) { return __builtin_popcount(_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_set1_ps(than), _CMP_GT_OQ))); }
INL V wide(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
INL V v_ldbf(const uint16_t *p) { return wide(_mm_loadu_si128((const void *)p)); }
INL V v_ldbfn(const uint16_t *p, int n) {
  uint16_t t[8] = {0};
  if (n > 0) memcpy(t, p, 2 * (n < 8 ? n : 8));
  return v_ldbf(t);
}
INL V v_even(const uint16_t *p) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const void *)p), 16)); }
INL V v_odd(const uint16_t *p) { return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const void *)p), _mm256_set1_epi32(0xffff0000))); }
// v_stbfn rounds to bfloat16, ties to even; a NaN stays one.
INL void v_stbfn(uint16_t *p, V x, int n) {
  __m256i b = _mm256_castps_si256(x), top = _mm256_srli_epi32(b, 16), odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
  __m256i r = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(b, _mm256_set1_epi32(0x7fff)), odd), 16);
  __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
  r = _mm256_blendv_epi8(r, _mm256_or_si256(top, _mm256_set1_epi32(0x40)), _mm256_castps_si256(nan));
  __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
  if (n >= 8) {
    _mm_storeu_si128((void *)p, h);
    return;
  }
  uint16_t t[8];
  _mm_storeu_si128((void *)t, h);
  if (n > 0) memcpy(p, t, 2 * n);
}
// transpose writes the W rows r[0..W) as columns: out[j*16 + i] = r[i][j].
INL void transpose(const V *r, float *out) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    v_store(out + i * 16, _mm256_permute2f128_ps(b[i], b[i + 4], 0x20));
    v_store(out + (i + 4) * 16, _mm256_permute2f128_ps(b[i], b[i + 4], 0x31));
  }
}
