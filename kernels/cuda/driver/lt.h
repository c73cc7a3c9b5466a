// cuBLASLt as radish uses it: one plan per (weight shape, rows), run from a command list.
#pragma once
#include "shim.h"

typedef struct rd_lt_plan rd_lt_plan;

const char *rd_lt_load(const char *path);
int rd_lt_open(void);
// rd_lt_plan_new plans dst[n x out] F32 = x[n x in] bf16 * w[out x in]' bf16 with the candidates that the library proposes
// within the workspace; rd_lt_plan_pick chooses one of them.
int rd_lt_plan_new(rd_lt_plan **plan, int out, int n, int in, int ldx, int ldd, size_t workspace, int most, int *found);
void rd_lt_plan_pick(rd_lt_plan *plan, int candidate, rd_ptr workspace, size_t bytes);
int rd_lt_plan_follow(rd_lt_plan *plan, const rd_lt_plan *as);
void rd_lt_plan_free(rd_lt_plan *plan);
rd_result rd_lt_run(const rd_op *op, rd_handle stream);
