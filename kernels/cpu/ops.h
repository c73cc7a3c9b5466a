// The queue as C sees it: mirrors ops.go field for field (a size mismatch does not compile).
#ifndef RADISH_OPS_H
#define RADISH_OPS_H
#include <stdint.h>

enum { K_COPY = 1, K_RESOLVE, K_EMBED, K_NORM, K_WIDEN, K_LINEAR, K_ROTARY, K_ROPE, K_ATTN, K_SWIGLU, K_GATHER, K_PAGES, K_COUNT };
enum { T_F32 = 1, T_BF16 = 2, T_F16 = 3, T_I32 = 4 };

// A view is rows x cols elements, stride elements apart; p is NULL when absent.
typedef struct { void *p; int64_t stride; int32_t rows, cols, type, pad; } view;
// A panelled matrix [out x in]: see weights.go.
typedef struct { void *p; int32_t out, in, type, pad; } mat;
// The step's layout: row i stands at pos[i] and its page table begins at pages[table[i]].
typedef struct { int32_t *pos, *table, *pages; } layout;
// Paged memory: page p of layer l is at p0 + ((l*pages + p) * 2*heads) blocks of size x dimp elements, keys then values.
typedef struct { void *p; int32_t layers, pages, size, heads, dim, dimp, type, pad; } kvmem;
// One share of an attention: query heads [head, head+heads) of kv head kv, rows [row, row+rows).
typedef struct { int32_t row, rows, head, heads, kv, pad; } item;

typedef struct { view dst, src; } copy_args;
typedef struct { view ids, last; } resolve_args;
typedef struct { view dst, ids; mat w; } embed_args;
typedef struct { view dst, x, add, w; float eps; int32_t grain; } norm_args;
typedef struct { view src; float *dst; int64_t stride; } widen_args;
typedef struct { view dst, bias; mat w; void *a; int64_t stride; int32_t n, direct, panels, pad; } linear_args;
typedef struct { view cos, sin, freq; layout at; float scale; int32_t pad; } rotary_args;
typedef struct { view q, qkv, qnorm, knorm, cos, sin; layout at; kvmem kv; int32_t heads, layer; float eps; int32_t pad; } rope_args;
typedef struct { view dst, q; layout at; kvmem kv; item *items; int32_t heads, layer, window; float scale; } attn_args;
typedef struct { view dst, in; } swiglu_args;
typedef struct { view dst, src; int32_t *rows; } gather_args;
typedef struct { kvmem kv; int32_t *copies; int64_t n; } pages_args;

typedef struct { int32_t kind, chunks; void *arg; } op;

enum { SCRATCH = 1 << 20 };
typedef void (*kernel)(const void *arg, int chunk, int chunks, void *scratch);
extern const kernel path_avx512bf16[K_COUNT], path_avx512[K_COUNT], path_avx2[K_COUNT];

// The scans of one row of logits: see scan.h.
enum { LEAST_BITS = 0x3f80 - 40 * 128 }; // the leading bits of 2^-40
typedef struct {
  void (*crest)(float *out, const float *l, int n);
  void (*weigh)(double *sums, float *p, const float *l, int n, float top, float by);
  void (*masses)(double *mass, const float *p, int n);
  void (*prune)(double *sums, float *p, int n, float least);
  int (*within)(int32_t *ids, const float *l, int n, float least, float most);
  int (*more)(const float *l, int n, float than);
} scans;
extern const scans scans_avx512bf16, scans_avx512, scans_avx2;
const scans *scans_of(int path);

typedef struct pool pool;
pool *pool_new(int workers, const int32_t *cpus, int path);
void pool_run(pool *p, op *ops, int n);
void pool_free(pool *p);
int cpu_paths(void);
int cpu_vendor_amd(void);
#endif
