// Matrix products. Every output element is one chain of fused multiply-adds over k = 0, 1, 2, ..., begun from its bias:
// blocking stores and reloads the F32 accumulator, which is exact, so tile, block and thread change no bit.
enum { MAXR = 6, KB = 128, FEW = 32, VP = 16 / W };

typedef struct {
  const float *a, *w, *init; // a: R rows, as apart; w: element k of panel j is w[j*ps + k*ks]; init: NULL, or a row of cs==0
  float *c;
  int64_t as, ps, ks, cs;
  int k, cols, from; // cols: valid columns; from: 0 start at zero, 1 continue c, 2 start at init
  const char *next;  // wide_tile prefetches this, 32 bytes per k
  int64_t ahead;     // pair_tile prefetches its panels this many bytes ahead
} tile;

INL void begin(const int R, const int NV, const tile *t, V acc[MAXR][4]) {
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++)
      acc[r][j] = t->from == 0 ? v_zero() : v_loadn(t->from == 1 ? t->c + r * t->cs + j * W : t->init + j * W, t->cols - j * W > 0 ? t->cols - j * W : 0);
}

INL void end(const int R, const int NV, const tile *t, V acc[MAXR][4]) {
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) v_storen(t->c + r * t->cs + j * W, acc[r][j], t->cols - j * W > 0 ? t->cols - j * W : 0);
}

// wide_tile multiplies with F32 panels.
INL void wide_tile(const int R, const int NV, const tile *t) {
  V acc[MAXR][4];
  begin(R, NV, t, acc);
  const float *w = t->w, *a = t->a;
  const int64_t as = t->as, ps = t->ps, ks = t->ks;
  for (int k = 0; k < t->k; k++, w += ks, a++) {
    V b[4];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) b[j] = v_load(w + (j / VP) * ps + (j % VP) * W);
    _mm_prefetch(t->next + k * 32, _MM_HINT_T1);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      V x = v_set1(a[r * as]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) acc[r][j] = v_fma(x, b[j], acc[r][j]);
    }
  }
  end(R, NV, t, acc);
}

// pair_tile multiplies with BF16 panels [k/2][16][2], widened in registers; ps counts uint16.
INL void pair_tile(const int R, const int NV, const tile *t) {
  V acc[MAXR][4];
  begin(R, NV, t, acc);
  const uint16_t *w = (const uint16_t *)t->w;
  const float *a = t->a;
  const int64_t as = t->as, ps = t->ps, ahead = t->ahead;
  for (int k = 0; k < t->k; k += 2, w += 32, a += 2) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) {
      const uint16_t *p = w + (j / VP) * ps + (j % VP) * 2 * W;
      V even = v_even(p), odd = v_odd(p);
      _mm_prefetch((const char *)p + ahead, _MM_HINT_T0);
#pragma GCC unroll 6
      for (int r = 0; r < R; r++) {
        acc[r][j] = v_fma(v_set1(a[r * as]), even, acc[r][j]);
        acc[r][j] = v_fma(v_set1(a[r * as + 1]), odd, acc[r][j]);
      }
    }
  }
  end(R, NV, t, acc);
}

#define ROWS(f, NV) \
  switch (rows) { \
  case 1: f(1, NV, t); break; \
  case 2: f(2, NV, t); break; \
  case 3: f(3, NV, t); break; \
  case 4: f(4, NV, t); break; \
  case 5: f(5, NV, t); break; \
  case 6: f(6, NV, t); break; \
  }

static __attribute__((noinline)) void wide_rows(int rows, int panels, const tile *t) {
#if MAXC == 4
  switch (panels) {
  case 4: ROWS(wide_tile, 4) break;
  case 3: ROWS(wide_tile, 3) break;
  case 2: ROWS(wide_tile, 2) break;
  case 1: ROWS(wide_tile, 1) break;
  }
#else
  ROWS(wide_tile, 2)
#endif
}

static __attribute__((noinline)) void pair_rows(int rows, int panels, const tile *t) {
#if MAXC == 4
  if (panels == 2) {
    ROWS(pair_tile, 2)
  } else {
    ROWS(pair_tile, 1)
  }
#else
  ROWS(pair_tile, 2)
#endif
}

// split is how many rows the next of tiles takes of n, evenly.
INL int split(int n, int tiles) { return (n + tiles - 1) / tiles; }

// wide_block runs rows x panels with F32 panels, tile by tile.
static void wide_block(tile t, int rows, int panels, const char *next, int64_t step) {
  float *c = t.c;
  const float *a = t.a, *w = t.w, *init = t.init;
  int cols = t.cols;
  for (int p = 0; p < panels; p += MAXC) {
    int np = panels - p < MAXC ? panels - p : MAXC, tiles = (rows + MAXR - 1) / MAXR, left = rows;
    t.w = w + p * t.ps, t.cols = cols - p * 16;
    if (init) t.init = init + p * 16;
    for (int i = 0; left > 0; i++, tiles--) {
      int r = split(left, tiles), at = rows - left;
      t.a = a + at * t.as, t.c = c + at * t.cs + p * 16;
      t.next = next && i < panels && p == 0 ? next + i * step : (const char *)t.a;
      wide_rows(r, np, &t);
      left -= r;
    }
  }
}

// widen_panels turns k rows (even) of BF16 panels into F32 panels [panel][KB][16].
static void widen_panels(float *to, const uint16_t *w, int64_t ps, int panels, int k) {
  for (int p = 0; p < panels; p++, w += ps, to += KB * 16)
    for (int i = 0; i < k; i += 2)
      for (int j = 0; j < VP; j++) {
        v_store(to + i * 16 + j * W, v_even(w + i * 16 + j * 2 * W));
        v_store(to + i * 16 + 16 + j * W, v_odd(w + i * 16 + j * 2 * W));
      }
}

// linear_few streams BF16 panels past a few rows, two panels at a time, K block by K block: the first tile of rows finds
// its block prefetched by the block before, the others find it in L1.
static void linear_few(const linear_args *l, int p0, int p1) {
  enum { DEEP = 256, STEP = MAXC == 4 ? 2 : 1 };
  int kp = (l->w.in + 1) & ~1;
  for (int p = p0; p < p1; p += STEP) {
    int np = p1 - p < STEP ? p1 - p : STEP;
    for (int k = 0; k < kp; k += DEEP) {
      int last = kp - k <= DEEP;
      tile t = {.w = (const float *)((const uint16_t *)l->w.p + (int64_t)p * kp * 16 + k * 16), .as = l->stride, .ps = (int64_t)kp * 16,
                .cs = l->dst.stride, .k = last ? kp - k : DEEP, .cols = l->w.out - p * 16, .from = k > 0,
                .ahead = last ? ((int64_t)STEP * kp - k) * 32 : DEEP * 32};
      if (l->bias.p) t.init = (const float *)l->bias.p + p * 16;
      if (k == 0 && l->bias.p) t.from = 2;
      for (int r = 0, tiles = (l->n + MAXR - 1) / MAXR, n; r < l->n; r += n, tiles--) {
        n = split(l->n - r, tiles);
        t.a = (const float *)l->a + r * l->stride + k, t.c = (float *)l->dst.p + r * l->dst.stride + p * 16;
        pair_rows(n, np, &t);
      }
    }
  }
}

#ifdef VDP
#include "gemm_vdp.h"
#endif

// linear_panels computes output panels [p0, p1), at most 4, for all rows, K block by K block.
static void linear_panels(const linear_args *l, int p0, int p1, float *scratch) {
  int bf = l->w.type == T_BF16, kp = bf ? (l->w.in + 1) & ~1 : l->w.in;
  for (int k = 0; k < kp; k += KB) {
    int nk = kp - k < KB ? kp - k : KB;
    tile t = {.a = (const float *)l->a + k, .c = (float *)l->dst.p + p0 * 16, .as = l->stride, .ks = 16, .cs = l->dst.stride,
              .k = nk, .cols = l->w.out - p0 * 16, .from = k > 0};
    if (l->bias.p) t.init = (const float *)l->bias.p + p0 * 16;
    if (k == 0 && l->bias.p) t.from = 2;
    if (bf) {
      const uint16_t *w = (const uint16_t *)l->w.p + (int64_t)p0 * kp * 16 + k * 16;
      widen_panels(scratch, w, (int64_t)kp * 16, p1 - p0, nk);
      t.w = scratch, t.ps = KB * 16;
      wide_block(t, l->n, p1 - p0, (const char *)(w + KB * 16), (int64_t)kp * 32);
    } else {
      t.w = (const float *)l->w.p + (int64_t)p0 * kp * 16 + k * 16, t.ps = (int64_t)kp * 16;
      wide_block(t, l->n, p1 - p0, (const char *)(t.w + KB * 16), (int64_t)kp * 64);
    }
  }
}

static void linear(const void *arg, int chunk, int chunks, void *scratch) {
  const linear_args *l = arg;
  int total = (l->w.out + 15) / 16, p0 = chunk * l->panels, p1 = p0 + l->panels < total ? p0 + l->panels : total;
  for (int p = p0; p < p1; p += 4) {
    int e = p + 4 < p1 ? p + 4 : p1;
#ifdef VDP
    if (l->direct) {
      linear_vdp(l, p, e);
      continue;
    }
#endif
    if (l->w.type == T_BF16 && l->n <= FEW)
      linear_few(l, p, e);
    else
      linear_panels(l, p, e, scratch);
  }
}
