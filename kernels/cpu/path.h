// Instantiates every kernel for one instruction set: the including file names the set, the vectors and the table.
#include "ops.h"
#include "gemm.h"
#include "attn.h"
#include "rows.h"
#include "scan.h"

const kernel TABLE[K_COUNT] = {
    [K_COPY] = copy, [K_RESOLVE] = resolve, [K_EMBED] = embed, [K_NORM] = norm, [K_WIDEN] = widen, [K_LINEAR] = linear,
    [K_ROTARY] = rotary, [K_ROPE] = rope, [K_ATTN] = attention, [K_SWIGLU] = swiglu, [K_GATHER] = gather, [K_PAGES] = pages,
};
