// What the fast matrix products share. Oracle: kernels/ref through kerneltest (Linear).
#include "common.cuh"

struct Align { View<u16> dst, src; };

// align_rows copies bfloat16 rows to where the copy engine and 16-byte loads can take them; x is the row.
KERNEL void __launch_bounds__(256) align_rows(const __grid_constant__ Align a) {
	pdl_launch();
	pdl_wait();
	const u16 *src = a.src.row(blockIdx.x);
	u16 *dst = a.dst.row(blockIdx.x);
	for (int j = threadIdx.x; j < a.src.cols; j += 256) dst[j] = src[j];
}
