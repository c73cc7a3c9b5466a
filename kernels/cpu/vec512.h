// Vectors of 16 floats (AVX-512), under the names that the kernels are written in.
#include <immintrin.h>
#define W 16
#define MAXC 4
typedef __m512 V;
#define INL static inline __attribute__((always_inline))
INL __mmask16 first(int n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }
INL V v_load(const float *p) { return _mm512_loadu_ps(p); }
INL V v_loadn(const float *p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
INL void v_store(float *p, V x) { _mm512_storeu_ps(p, x); }
INL void v_storen(float *p, V x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }
INL V v_set1(float x) { return _mm512_set1_ps(x); }
INL V v_zero(void) { return _mm512_setzero_ps(); }
INL V v_fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
INL V v_add(V a, V b) { return _mm512_add_ps(a, b); }
INL V v_sub(V a, V b) { return _mm512_sub_ps(a, b); }
INL V v_mul(V a, V b) { return _mm512_mul_ps(a, b); }
INL V v_div(V a, V b) { return _mm512_div_ps(a, b); }
INL V v_max(V a, V b) { return _mm512_max_ps(a, b); }
INL V v_min(V a, V b) { return _mm512_min_ps(a, b); }
INL float v_rsum(V a) { return _mm512_reduce_add_ps(a); }
INL float v_rmax(V a) { return _mm512_reduce_max_ps(a); }
INL V v_round(V a) { return _mm512_roundscale_ps(a, 8); }
// v_pow2 is 2^n for whole n in [-126, 127].
INL V v_pow2(V n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23)); }
// v_below is y where x >= limit or x is not a number, else 0.
INL V v_below(V x, float limit, V y) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_NLT_UQ), y); }
// v_band keeps the lanes whose index base + lane lies in [lo, hi]; the others become -inf.
INL V v_band(V x, int base, int lo, int hi) {
  __m512i i = _mm512_add_epi32(_mm512_set1_epi32(base), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  __mmask16 m = _mm512_cmp_epi32_mask(i, _mm512_set1_epi32(lo), _MM_CMPINT_NLT) & _mm512_cmp_epi32_mask(i, _mm512_set1_epi32(hi), _MM_CMPINT_LE);
  return _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), m, x);
}
// v_ids writes base + lane of the lanes of x that lie in [least, most], and returns their number. It may write 16.
INL int v_ids(int32_t *to, V x, float least, float most, int base) {
  __mmask16 m = _mm512_cmp_ps_mask(x, _mm512_set1_ps(least), _CMP_GE_OQ);
  m = _mm512_mask_cmp_ps_mask(m, x, _mm512_set1_ps(most), _CMP_LE_OQ);
  if (!m) return 0;
  __m512i i = _mm512_add_epi32(_mm512_set1_epi32(base), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(m, i));
  return __builtin_popcount(m);
}
INL int v_more(V x, float than) { return __builtin_popcount(_mm512_cmp_ps_mask(x, _mm512_set1_ps(than), _CMP_GT_OQ)); }
INL V wide(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
INL V v_ldbf(const uint16_t *p) { return wide(_mm256_loadu_si256((const void *)p)); }
INL V v_ldbfn(const uint16_t *p, int n) { return wide(_mm256_maskz_loadu_epi16(first(n), p)); }
INL V v_even(const uint16_t *p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16)); }
INL V v_odd(const uint16_t *p) { return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(0xffff0000))); }
// narrow rounds to bfloat16, ties to even; a NaN stays one.
INL __m256i narrow(V x) {
  __m512i b = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(1));
  __m512i r = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(b, _mm512_set1_epi32(0x7fff)), odd), 16);
  __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(r, nan, _mm512_srli_epi32(b, 16), _mm512_set1_epi32(0x40)));
}
INL void v_stbfn(uint16_t *p, V x, int n) { _mm256_mask_storeu_epi16(p, first(n), narrow(x)); }
// transpose writes the W rows r[0..W) as columns: out[j*16 + i] = r[i][j].
INL void transpose(const V *r, float *out) {
  __m512 a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    __m512d l0 = _mm512_castps_pd(a[i]), h0 = _mm512_castps_pd(a[i + 1]), l1 = _mm512_castps_pd(a[i + 2]), h1 = _mm512_castps_pd(a[i + 3]);
    b[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(l0, l1));
    b[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(l0, l1));
    b[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(h0, h1));
    b[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(h0, h1));
  }
  for (int i = 0; i < 4; i++) {
    __m512 e0 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88), o0 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
    __m512 e1 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88), o1 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
    v_store(out + i * 16, _mm512_shuffle_f32x4(e0, e1, 0x88));
    v_store(out + (i + 8) * 16, _mm512_shuffle_f32x4(e0, e1, 0xdd));
    v_store(out + (i + 4) * 16, _mm512_shuffle_f32x4(o0, o1, 0x88));
    v_store(out + (i + 12) * 16, _mm512_shuffle_f32x4(o0, o1, 0xdd));
  }
}
