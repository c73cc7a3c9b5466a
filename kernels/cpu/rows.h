// Operations that work row by row. A chunk is a contiguous share of the rows.
#include <math.h>
#include <string.h>

INL int size_of(int type) { return type == T_BF16 || type == T_F16 ? 2 : 4; }
INL void *row_of(const view *v, int64_t i) { return (char *)v->p + i * v->stride * size_of(v->type); }
// share is the first row of a chunk.
INL int share(int rows, int chunk, int chunks) { return (int)((int64_t)rows * chunk / chunks); }
#define EACH_ROW(n) for (int r = share(n, chunk, chunks), stop = share(n, chunk + 1, chunks); r < stop; r++)

INL void put(const view *v, void *to, int i, V x, int n) {
  if (v->type == T_BF16)
    v_stbfn((uint16_t *)to + i, x, n);
  else
    v_storen((float *)to + i, x, n);
}

static void copy(const void *arg, int chunk, int chunks, void *scratch) {
  const copy_args *c = arg;
  EACH_ROW(c->dst.rows) memcpy(row_of(&c->dst, r), row_of(&c->src, r), (size_t)c->dst.cols * size_of(c->dst.type));
}

static void resolve(const void *arg, int chunk, int chunks, void *scratch) {
  const resolve_args *g = arg;
  int32_t *ids = g->ids.p;
  for (int i = 0; i < g->ids.cols; i++)
    if (ids[i] < 0 && -1 - ids[i] < g->last.cols) ids[i] = ((int32_t *)g->last.p)[-1 - ids[i]];
}

static void embed(const void *arg, int chunk, int chunks, void *scratch) {
  const embed_args *e = arg;
  int in = e->w.in, kp = (in + 1) & ~1;
  EACH_ROW(e->ids.cols) {
    int id = ((int32_t *)e->ids.p)[r];
    float *to = row_of(&e->dst, r);
    if (id < 0 || id >= e->w.out) { // an id that was resolved on the device is checked here: zeros, never a wild read
      memset(to, 0, sizeof(float) * in);
    } else if (e->w.type == T_BF16) {
      const uint16_t *w = (const uint16_t *)e->w.p + (int64_t)(id / 16) * kp * 16 + id % 16 * 2;
      for (int k = 0; k < in; k++) {
        uint32_t bits = (uint32_t)w[k / 2 * 32 + k % 2] << 16;
        memcpy(to + k, &bits, 4);
      }
    } else {
      const float *w = (const float *)e->w.p + (int64_t)(id / 16) * in * 16 + id % 16;
      for (int k = 0; k < in; k++) to[k] = w[(int64_t)k * 16];
    }
  }
}

// inverse_rms is 1 / sqrt(mean(x^2) + eps).
INL float inverse_rms(const float *x, int n, float eps) {
  V s = v_zero();
  for (int i = 0; i < n; i += W) {
    V v = v_loadn(x + i, n - i);
    s = v_fma(v, v, s);
  }
  return 1 / sqrtf(v_rsum(s) / n + eps);
}

static void norm(const void *arg, int chunk, int chunks, void *scratch) {
  const norm_args *g = arg;
  int n = g->x.cols;
  EACH_ROW(g->x.rows) {
    float *x = row_of(&g->x, r);
    if (g->add.p) {
      const float *add = row_of(&g->add, r);
      for (int i = 0; i < n; i += W) v_storen(x + i, v_add(v_loadn(x + i, n - i), v_loadn(add + i, n - i)), n - i);
    }
    V by = v_set1(inverse_rms(x, n, g->eps));
    const float *w = g->w.p;
    void *to = row_of(&g->dst, r);
    for (int i = 0; i < n; i += W) put(&g->dst, to, i, v_mul(v_mul(v_loadn(x + i, n - i), by), v_loadn(w + i, n - i)), n - i);
  }
}

static void widen(const void *arg, int chunk, int chunks, void *scratch) {
  const widen_args *g = arg;
  int n = g->src.cols;
  EACH_ROW(g->src.rows) {
    const uint16_t *from = row_of(&g->src, r);
    float *to = g->dst + r * g->stride; // stride is a multiple of 16 beyond n: the pad becomes zero
    int i = 0;
    for (; i + W <= n; i += W) v_store(to + i, v_ldbf(from + i));
    if (i < n) v_store(to + i, v_ldbfn(from + i, n - i)), i += W;
    if (n % 16 == 0) v_store(to + i, v_zero());
  }
}

static void rotary(const void *arg, int chunk, int chunks, void *scratch) {
  const rotary_args *g = arg;
  EACH_ROW(g->cos.rows) {
    float *c = row_of(&g->cos, r), *s = row_of(&g->sin, r);
    for (int j = 0; j < g->freq.cols; j++) {
      // The angle is rounded to float32 first, as torch does; its cosine is then taken in double.
      volatile float angle = (float)g->at.pos[r] * ((float *)g->freq.p)[j];
      c[j] = (float)cos(angle) * g->scale, s[j] = (float)sin(angle) * g->scale;
    }
  }
}

// turn writes one head of dim elements, normalised if w is given, rotated: element j pairs with j + dim/2.
INL void turn(float *to, const float *x, const float *w, const float *c, const float *s, int dim, float eps) {
  int half = dim / 2;
  V by = v_set1(w ? inverse_rms(x, dim, eps) : 1);
  for (int j = 0; j < half; j += W) {
    int n = half - j;
    V a = v_loadn(x + j, n), b = v_loadn(x + j + half, n), co = v_loadn(c + j, n), si = v_loadn(s + j, n);
    if (w) a = v_mul(v_mul(a, by), v_loadn(w + j, n)), b = v_mul(v_mul(b, by), v_loadn(w + half + j, n));
    v_storen(to + j, v_sub(v_mul(a, co), v_mul(b, si)), n);
    v_storen(to + j + half, v_fma(b, co, v_mul(a, si)), n);
  }
}

// keep stores one key or value, padded with zeros.
INL void keep(const kvmem *kv, void *to, const float *x) {
  for (int d = 0; d < kv->dimp; d += W) {
    V v = v_loadn(x + d, kv->dim - d > 0 ? kv->dim - d : 0);
    if (kv->type == T_BF16)
      v_stbfn((uint16_t *)to + d, v, W);
    else
      v_store((float *)to + d, v);
  }
}

static void rope(const void *arg, int chunk, int chunks, void *scratch) {
  const rope_args *g = arg;
  const kvmem *kv = &g->kv;
  int dim = kv->dim;
  float *key = scratch;
  EACH_ROW(g->q.rows) {
    const float *in = row_of(&g->qkv, r), *c = row_of(&g->cos, r), *s = row_of(&g->sin, r);
    float *q = row_of(&g->q, r);
    for (int h = 0; h < g->heads; h++) turn(q + h * dim, in + h * dim, g->qnorm.p, c, s, dim, g->eps);
    const int32_t *pages = g->at.pages + g->at.table[r];
    const float *k = in + g->heads * dim, *v = k + kv->heads * dim;
    for (int h = 0; h < kv->heads; h++) {
      turn(key, k + h * dim, g->knorm.p, c, s, dim, g->eps);
      keep(kv, (void *)kv_row(kv, pages, g->layer, h, g->at.pos[r], 0), key);
      keep(kv, (void *)kv_row(kv, pages, g->layer, h, g->at.pos[r], 1), v + h * dim);
    }
  }
}

static void swiglu(const void *arg, int chunk, int chunks, void *scratch) {
  const swiglu_args *g = arg;
  int n = g->dst.cols;
  EACH_ROW(g->dst.rows) {
    const float *a = row_of(&g->in, r), *b = a + n;
    void *to = row_of(&g->dst, r);
    for (int i = 0; i < n; i += W) {
      V x = v_loadn(a + i, n - i), y = v_add(v_set1(1), v_exp(v_sub(v_zero(), x)));
      put(&g->dst, to, i, v_mul(v_div(x, y), v_loadn(b + i, n - i)), n - i);
    }
  }
}

static void gather(const void *arg, int chunk, int chunks, void *scratch) {
  const gather_args *g = arg;
  EACH_ROW(g->dst.rows) memcpy(row_of(&g->dst, r), row_of(&g->src, g->rows[r]), (size_t)g->dst.cols * size_of(g->dst.type));
}

// pages copies positions; one chunk per layer, since one copy may read what another wrote.
static void pages(const void *arg, int chunk, int chunks, void *scratch) {
  const pages_args *g = arg;
  const kvmem *kv = &g->kv;
  int64_t one = (int64_t)kv->dimp * size_of(kv->type), head = one * kv->size, page = head * kv->heads * 2;
  for (int64_t i = 0; i < g->n; i++) {
    const int32_t *c = g->copies + i * 3;
    char *base = (char *)kv->p + (int64_t)chunk * kv->pages * page;
    for (int h = 0; h < 2 * kv->heads; h++) memmove(base + c[1] * page + h * head, base + c[0] * page + h * head, c[2] * one);
  }
}
