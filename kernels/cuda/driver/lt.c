#include "lt.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// Constants of cublasLt.h and library_types.h (cuBLAS documentation, docs.nvidia.com/cuda/cublas).
enum { COMPUTE_32F = 68, R_32F = 0, R_16BF = 14, DESC_TRANSA = 3, DESC_TRANSB = 4, PREF_WORKSPACE = 1 };

typedef struct { uint64_t data[8]; } lt_algo;
typedef struct { lt_algo algo; size_t workspace; int state; float waves; int reserved[4]; } lt_heuristic;

#define ENTRIES(X) \
	X(cublasLtCreate, (rd_handle *)) \
	X(cublasLtMatmulDescCreate, (rd_handle *, int, int)) \
	X(cublasLtMatmulDescDestroy, (rd_handle)) \
	X(cublasLtMatmulDescSetAttribute, (rd_handle, int, const void *, size_t)) \
	X(cublasLtMatrixLayoutCreate, (rd_handle *, int, uint64_t, uint64_t, int64_t)) \
	X(cublasLtMatrixLayoutDestroy, (rd_handle)) \
	X(cublasLtMatmulPreferenceCreate, (rd_handle *)) \
	X(cublasLtMatmulPreferenceDestroy, (rd_handle)) \
	X(cublasLtMatmulPreferenceSetAttribute, (rd_handle, int, const void *, size_t)) \
	X(cublasLtMatmulAlgoGetHeuristic, (rd_handle, rd_handle, rd_handle, rd_handle, rd_handle, rd_handle, rd_handle, int, lt_heuristic *, int *)) \
	X(cublasLtMatmulAlgoCheck, (rd_handle, rd_handle, rd_handle, rd_handle, rd_handle, rd_handle, const lt_algo *, lt_heuristic *)) \
	X(cublasLtMatmul, (rd_handle, rd_handle, const void *, const void *, rd_handle, const void *, rd_handle, const void *, const void *, rd_handle, void *, rd_handle, const lt_algo *, void *, size_t, rd_handle))
#define DECLARE(name, args) static int (*p_##name) args;
ENTRIES(DECLARE)
static size_t (*p_cublasLtGetVersion)(void);

static rd_handle lt;

const char *rd_lt_load(const char *path) {
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) return dlerror();
#define FIND(name, args) if (!(*(void **)&p_##name = dlsym(lib, #name))) return "symbol " #name " is missing";
	ENTRIES(FIND)
	*(void **)&p_cublasLtGetVersion = dlsym(lib, "cublasLtGetVersion");
	return NULL;
}

int rd_lt_open(void) { return lt ? 0 : p_cublasLtCreate(&lt); }
size_t rd_lt_version(void) { return p_cublasLtGetVersion ? p_cublasLtGetVersion() : 0; }

enum { CANDIDATES = 32 };

struct rd_lt_plan {
	rd_handle desc, a, b, d;
	lt_heuristic found[CANDIDATES];
	int n, picked;
	rd_ptr workspace;
	size_t workspace_bytes;
};

int rd_lt_plan_new(rd_lt_plan **out_plan, int out, int n, int in, int ldx, int ldd, size_t workspace, int most, int *found) {
	rd_lt_plan *p = calloc(1, sizeof *p);
	rd_handle pref = NULL;
	int t = 1, none = 0, rc;
	// Column-major views: w is [in x out] and transposed, x is [in x n], dst is [out x n].
	if ((rc = p_cublasLtMatmulDescCreate(&p->desc, COMPUTE_32F, R_32F)) ||
	    (rc = p_cublasLtMatmulDescSetAttribute(p->desc, DESC_TRANSA, &t, sizeof t)) ||
	    (rc = p_cublasLtMatmulDescSetAttribute(p->desc, DESC_TRANSB, &none, sizeof none)) ||
	    (rc = p_cublasLtMatrixLayoutCreate(&p->a, R_16BF, in, out, in)) ||
	    (rc = p_cublasLtMatrixLayoutCreate(&p->b, R_16BF, in, n, ldx)) ||
	    (rc = p_cublasLtMatrixLayoutCreate(&p->d, R_32F, out, n, ldd)) ||
	    (rc = p_cublasLtMatmulPreferenceCreate(&pref)) ||
	    (rc = p_cublasLtMatmulPreferenceSetAttribute(pref, PREF_WORKSPACE, &workspace, sizeof workspace)) ||
	    (rc = p_cublasLtMatmulAlgoGetHeuristic(lt, p->desc, p->a, p->b, p->d, p->d, pref, most < CANDIDATES ? most : CANDIDATES, p->found, &p->n))) {
		if (pref) p_cublasLtMatmulPreferenceDestroy(pref);
		rd_lt_plan_free(p);
		return rc;
	}
	p_cublasLtMatmulPreferenceDestroy(pref);
	*out_plan = p;
	*found = p->n;
	return 0;
}

void rd_lt_plan_pick(rd_lt_plan *p, int candidate, rd_ptr workspace, size_t bytes) {
	p->picked = candidate;
	p->workspace = workspace;
	p->workspace_bytes = bytes;
}

// rd_lt_plan_follow makes p run as the plan `as` does, where that algorithm suits p's shape and workspace.
int rd_lt_plan_follow(rd_lt_plan *p, const rd_lt_plan *as) {
	lt_heuristic seen;
	memset(&seen, 0, sizeof seen);
	const lt_algo *algo = &as->found[as->picked].algo;
	int rc = p_cublasLtMatmulAlgoCheck(lt, p->desc, p->a, p->b, p->d, p->d, algo, &seen);
	if (rc || seen.state || seen.workspace > p->workspace_bytes) return 0;
	p->found[p->picked].algo = *algo;
	return 1;
}

void rd_lt_plan_free(rd_lt_plan *p) {
	if (p->desc) p_cublasLtMatmulDescDestroy(p->desc);
	if (p->a) p_cublasLtMatrixLayoutDestroy(p->a);
	if (p->b) p_cublasLtMatrixLayoutDestroy(p->b);
	if (p->d) p_cublasLtMatrixLayoutDestroy(p->d);
	free(p);
}

// rd_lt_run runs a plan: src is x, dst the product, bytes the weight.
rd_result rd_lt_run(const rd_op *op, rd_handle stream) {
	rd_lt_plan *p = (rd_lt_plan *)op->func;
	float one = 1, keep = op->flags & RD_ADD ? 1 : 0; // of what dst holds
	int rc = p_cublasLtMatmul(lt, p->desc, &one, (void *)op->bytes, p->a, (void *)op->src, p->b, &keep, (void *)op->dst, p->d,
	                          (void *)op->dst, p->d, &p->found[p->picked].algo, (void *)p->workspace, p->workspace_bytes, stream);
	return rc ? -rc : 0; // negative: a cuBLAS status
}
