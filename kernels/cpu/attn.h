// Attention over pages. A row meets positions in absolute blocks of BLOCK, in rising order, with an online softmax
// (Milakov & Gimelshein 2018) per RANGE positions; ranges are merged in rising order. All rows of a share run over
// the same blocks, each with its own arithmetic, so sharing, chunking and paging change no bit.
enum { BLOCK = 64, RANGE = 512, QROWS = 64 };

typedef struct {
  float *q, *s, *o, *sum, *k, *v; // q, o, sum: [QROWS][dimp]; s: [QROWS][BLOCK]; k: [BLOCK/16][dimp][16]; v: [BLOCK][dimp]
  float *m, *l, *top, *total;     // softmax state of the range, and merged
} attn_mem;

INL V kv_load(const kvmem *kv, const void *p, int64_t i) {
  return kv->type == T_BF16 ? v_ldbf((const uint16_t *)p + i) : v_load((const float *)p + i);
}

// kv_row is the first element of position pos (key; the value with which = 1) of one head.
INL const void *kv_row(const kvmem *kv, const int32_t *pages, int layer, int head, int pos, int which) {
  int64_t page = (int64_t)layer * kv->pages + pages[pos / kv->size];
  int64_t at = ((page * 2 + which) * kv->heads + head) * kv->size + pos % kv->size;
  return (const char *)kv->p + at * kv->dimp * (kv->type == T_BF16 ? 2 : 4);
}

// load_block brings positions [b, b+BLOCK) of one head into m->k (transposed) and m->v; those from end on are zero.
static void load_block(const attn_args *g, const attn_mem *m, const int32_t *pages, int head, int b, int end) {
  const kvmem *kv = &g->kv;
  int dp = kv->dimp;
  for (int i = 0; i < BLOCK; i += W) {
    const void *key[W];
    for (int j = 0; j < W; j++) {
      int pos = b + i + j;
      key[j] = pos < end ? kv_row(kv, pages, g->layer, head, pos, 0) : 0;
      const void *val = pos < end ? kv_row(kv, pages, g->layer, head, pos, 1) : 0;
      for (int d = 0; d < dp; d += W) v_store(m->v + (i + j) * dp + d, val ? kv_load(kv, val, d) : v_zero());
    }
    float *to = m->k + (i / 16) * dp * 16 + i % 16;
    for (int d = 0; d < dp; d += W) {
      V r[W];
      for (int j = 0; j < W; j++) r[j] = key[j] ? kv_load(kv, key[j], d) : v_zero();
      transpose(r, to + d * 16);
    }
  }
}

INL V v_exp(V x) {
  // Cephes' expf: x = n ln2 + r, |r| <= ln2/2, a polynomial for e^r. Below -87.3 it is 0; a NaN stays one.
  V c = v_max(v_set1(-87.3f), v_min(v_set1(88.0f), x)), n = v_round(v_mul(c, v_set1(1.44269504f)));
  V r = v_fma(n, v_set1(-0.693359375f), c);
  r = v_fma(n, v_set1(2.12194440e-4f), r);
  V p = v_fma(v_set1(1.9875691500e-4f), r, v_set1(1.3981999507e-3f));
  p = v_fma(p, r, v_set1(8.3334519073e-3f));
  p = v_fma(p, r, v_set1(4.1665795894e-2f));
  p = v_fma(p, r, v_set1(1.6666665459e-1f));
  p = v_fma(p, r, v_set1(5.0000001201e-1f));
  p = v_fma(p, v_mul(r, r), v_add(r, v_set1(1)));
  return v_below(x, -87.3f, v_mul(p, v_pow2(n)));
}

INL float exp1(float x) {
  float t[W];
  v_store(t, v_exp(v_set1(x)));
  return t[0];
}

INL void scale_row(float *x, float by, int n) {
  for (int d = 0; d < n; d += W) v_store(x + d, v_mul(v_load(x + d), v_set1(by)));
}

// soften turns one row of scores into weights and rescales its sum; positions outside [lo, hi] weigh nothing.
static void soften(const attn_mem *m, int r, int b, int lo, int hi, int dp) {
  float *s = m->s + r * BLOCK;
  V top = v_set1(-__builtin_inff());
  for (int j = 0; j < BLOCK; j += W) {
    V x = v_load(s + j);
    if (lo > b || hi < b + BLOCK - 1) x = v_band(x, b + j, lo, hi);
    v_store(s + j, x);
    top = v_max(top, x);
  }
  float was = m->m[r], now = v_rmax(top);
  now = now > was ? now : was;
  V sum = v_zero();
  for (int j = 0; j < BLOCK; j += W) {
    // Everything -inf: weigh nothing rather than take inf - inf.
    V x = now == -__builtin_inff() ? v_zero() : v_exp(v_sub(v_load(s + j), v_set1(now)));
    v_store(s + j, x);
    sum = v_add(sum, x);
  }
  float by = was == -__builtin_inff() ? 0 : exp1(was - now);
  if (by != 1) scale_row(m->o + r * dp, by, dp);
  m->l[r] = m->l[r] * by + v_rsum(sum);
  m->m[r] = now;
}

// merge adds the range's state of row r to the merged one, and clears it.
static void merge(const attn_mem *m, int r, int dp) {
  float *o = m->o + r * dp, *sum = m->sum + r * dp;
  if (m->m[r] != -__builtin_inff()) {
    float now = m->top[r] > m->m[r] ? m->top[r] : m->m[r];
    float x = m->top[r] == -__builtin_inff() ? 0 : exp1(m->top[r] - now), y = exp1(m->m[r] - now);
    for (int d = 0; d < dp; d += W) v_store(sum + d, v_fma(v_load(o + d), v_set1(y), v_mul(v_load(sum + d), v_set1(x))));
    m->total[r] = m->l[r] * y + m->total[r] * x;
    m->top[r] = now;
  }
  m->m[r] = -__builtin_inff(), m->l[r] = 0;
  for (int d = 0; d < dp; d += W) v_store(o + d, v_zero());
}

static attn_mem carve(void *scratch, int dp) {
  float *p = scratch;
  attn_mem m;
  m.q = p, p += QROWS * dp;
  m.o = p, p += QROWS * dp;
  m.sum = p, p += QROWS * dp;
  m.v = p, p += BLOCK * dp;
  m.k = p, p += BLOCK * dp;
  m.s = p, p += QROWS * BLOCK;
  m.m = p, m.l = p + QROWS, m.top = p + 2 * QROWS, m.total = p + 3 * QROWS;
  return m;
}

// gather_q brings the share's queries, scaled and padded, into m->q, and clears the states.
static void gather_q(const attn_args *g, const item *it, const attn_mem *m) {
  int dim = g->kv.dim, dp = g->kv.dimp;
  for (int r = 0; r < it->rows * it->heads; r++) {
    const float *q = (const float *)g->q.p + (it->row + r / it->heads) * g->q.stride + (it->head + r % it->heads) * dim;
    for (int d = 0; d < dp; d += W) {
      v_store(m->q + r * dp + d, v_mul(v_loadn(q + d, dim - d > 0 ? dim - d : 0), v_set1(g->scale)));
      v_store(m->o + r * dp + d, v_zero());
      v_store(m->sum + r * dp + d, v_zero());
    }
    m->m[r] = m->top[r] = -__builtin_inff();
    m->l[r] = m->total[r] = 0;
  }
}

// scatter divides by the total weight and writes the share's rows.
static void scatter(const attn_args *g, const item *it, const attn_mem *m) {
  int dim = g->kv.dim, dp = g->kv.dimp;
  for (int r = 0; r < it->rows * it->heads; r++) {
    int64_t at = (it->row + r / it->heads) * g->dst.stride + (it->head + r % it->heads) * dim;
    for (int d = 0; d < dim; d += W) {
      V x = v_div(v_load(m->sum + r * dp + d), v_set1(m->total[r]));
      if (g->dst.type == T_BF16)
        v_stbfn((uint16_t *)g->dst.p + at + d, x, dim - d);
      else
        v_storen((float *)g->dst.p + at + d, x, dim - d);
    }
  }
}

static void attention(const void *arg, int chunk, int chunks, void *scratch) {
  const attn_args *g = arg;
  const item *it = &g->items[chunk];
  int dp = g->kv.dimp, pos = g->at.pos[it->row], last = pos + it->rows - 1, h = it->heads;
  const int32_t *pages = g->at.pages + g->at.table[it->row];
  attn_mem m = carve(scratch, dp);
  gather_q(g, it, &m);
  int from = g->window > 0 && pos + 1 > g->window ? (pos + 1 - g->window) / BLOCK * BLOCK : 0;
  for (int b = from; b <= last; b += BLOCK) {
    // Rows [lo, hi) of the share see something of this block: its first position must not lie ahead, nor its last behind.
    int lo = b > pos ? b - pos : 0, hi = it->rows;
    if (g->window > 0 && b + BLOCK - 1 + g->window - pos < hi) hi = b + BLOCK - 1 + g->window - pos;
    if (lo < hi) {
      load_block(g, &m, pages, it->kv, b, last + 1);
      tile s = {.a = m.q + lo * h * dp, .w = m.k, .c = m.s + lo * h * BLOCK, .as = dp, .ps = dp * 16, .ks = 16, .cs = BLOCK, .k = dp, .cols = BLOCK};
      wide_block(s, (hi - lo) * h, BLOCK / 16, 0, 0);
      for (int r = lo * h; r < hi * h; r++) {
        int t = pos + r / h;
        soften(&m, r, b, g->window > 0 ? t + 1 - g->window : 0, t, dp);
      }
      tile o = {.a = m.s + lo * h * BLOCK, .w = m.v, .c = m.o + lo * h * dp, .as = BLOCK, .ps = 16, .ks = dp, .cs = dp, .k = BLOCK, .cols = dp, .from = 1};
      wide_block(o, (hi - lo) * h, dp / 16, 0, 0);
    }
    if ((b + BLOCK) % RANGE == 0 || b + BLOCK > last)
      for (int r = 0; r < it->rows * h; r++) merge(&m, r, dp);
  }
  scatter(g, it, &m);
}
