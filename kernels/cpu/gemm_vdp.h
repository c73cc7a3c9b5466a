// Matrix products with VDPBF16PS: BF16 rows times BF16 panels, pairs of k at a time, accumulated in F32.
typedef struct {
  const uint16_t *a, *w;
  const float *init;
  float *c;
  int64_t as, ps, cs;
  int k, cols, from;
} vtile;

INL void vdp_tile(const int R, const int C, const vtile *v) {
  V acc[MAXR][4];
  tile e = {.c = v->c, .init = v->init, .cs = v->cs, .cols = v->cols, .from = v->from};
  begin(R, C, &e, acc);
  const uint16_t *w = v->w, *a = v->a;
  for (int k = 0; k < v->k; k += 2, w += 32, a += 2) {
    __m512bh b[4];
#pragma GCC unroll 4
    for (int j = 0; j < C; j++) {
      b[j] = (__m512bh)_mm512_loadu_si512(w + j * v->ps);
      _mm_prefetch((const char *)(w + j * v->ps) + 2048, _MM_HINT_T0);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      int pair;
      __builtin_memcpy(&pair, a + r * v->as, 4);
      __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int j = 0; j < C; j++) acc[r][j] = _mm512_dpbf16_ps(acc[r][j], b[j], x);
    }
  }
  end(R, C, &e, acc);
}

static __attribute__((noinline)) void vdp_rows(int rows, int panels, const vtile *t) {
  switch (panels) {
  case 4: ROWS(vdp_tile, 4) break;
  case 3: ROWS(vdp_tile, 3) break;
  case 2: ROWS(vdp_tile, 2) break;
  case 1: ROWS(vdp_tile, 1) break;
  }
}

// linear_vdp computes output panels [p0, p1) for all rows, K block by K block so that a block of panels stays in L1.
static void linear_vdp(const linear_args *l, int p0, int p1) {
  enum { BLOCK = 256 };
  int kp = l->w.in;
  for (int k = 0; k < kp; k += BLOCK) {
    vtile t = {.w = (const uint16_t *)l->w.p + (int64_t)p0 * kp * 16 + k * 16, .as = l->stride, .ps = (int64_t)kp * 16,
               .cs = l->dst.stride, .k = kp - k < BLOCK ? kp - k : BLOCK, .cols = l->w.out - p0 * 16, .from = k > 0};
    if (l->bias.p) t.init = (const float *)l->bias.p + p0 * 16;
    if (k == 0 && l->bias.p) t.from = 2;
    for (int r = 0, tiles = (l->n + MAXR - 1) / MAXR, n; r < l->n; r += n, tiles--) {
      n = split(l->n - r, tiles);
      t.a = (const uint16_t *)l->a + r * l->stride + k;
      t.c = (float *)l->dst.p + r * l->dst.stride + p0 * 16;
      vdp_rows(n, p1 - p0, &t);
    }
  }
}
