// Matrix products on every card from sm_80 on: dst[token][feature] = x[token][] . w[feature][], bfloat16, F32 sums.
//
// Oracle: kernels/ref through kerneltest, and linear_plain on the device at full size; tolerance sums there.
//
// mma.sync m16n8k16 with swapped operands: 128 features by 16 to 128 tokens a block, 64 of K at a time in a ring of
// cp.async stages. A row of 64 elements is 128 bytes of shared memory, its 16-byte pieces exchanged by the row's last
// three bits, so that neither the copies nor ldmatrix meet in a bank. Eight warps take 16 features each and all tokens,
// or, of 128 tokens, 64 features by 32 tokens each. gemm.cuh says how the work is divided.
//
// Measured on an H200 as compiled for it: 28672x4096 at 1 row 64 to 80 us, 285 TFLOP/s at 1,024 rows. Not measured on 8.x.
#include "gemm.cuh"

struct GemmMma {
	Work work;
	View<u16> x;
	const u16 *w;
	i64 up; // swiglu: rows of w between a gate and what belongs to it
};

constexpr int ROW = 128; // bytes

DEVICE u32 piece(u32 base, int row, int i) { return base + row * ROW + ((i ^ (row & 7)) << 4); }

template <int BN> struct Shape {
	static constexpr int STAGES = BN == 128 ? 3 : 4, BYTES = (128 + BN) * ROW;
	static constexpr int M = BN == 128 ? 4 : 1, N = BN == 128 ? 4 : BN / 8; // tiles of 16 features, of 8 tokens, of a warp
};

// load starts the copies of one unit.
template <int BN> DEVICE void load(const GemmMma &a, const Share &s, u32 stage) {
	int in = a.x.cols;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		int at = threadIdx.x + i * CONSUMERS, r = at / 8, k = s.k * 64 + at % 8 * 8;
		i64 row = s.feature * 128 + r;
		bool ok = row < a.work.out;
		if (a.work.swiglu) {
			row = s.feature * 64 + r / 16 * 8 + r % 8;
			ok = row < a.work.out;
			row += r & 8 ? a.up : 0;
		}
		ok = ok && k < in;
		copy16(piece(stage, r, at % 8), a.w + (ok ? row * in + k : 0), ok);
	}
#pragma unroll
	for (int i = 0; i < (BN + 31) / 32; i++) {
		int at = threadIdx.x + i * CONSUMERS, r = at / 8, row = s.token * BN + r, k = s.k * 64 + at % 8 * 8;
		if (BN < 32 && r >= BN) break;
		bool ok = row < a.x.rows && k < in;
		copy16(piece(stage + 128 * ROW, r, at % 8), ok ? a.x.row(row) + k : a.x.p, ok);
	}
}

// multiply adds one unit to a warp's sums.
template <int BN> DEVICE void multiply(float (&d)[Shape<BN>::M * Shape<BN>::N * 4], u32 stage, int feature, int token) {
	constexpr int M = Shape<BN>::M, N = Shape<BN>::N;
	int lane = threadIdx.x % 32;
#pragma unroll
	for (int k = 0; k < 4; k++) {
		u32 w[M][4], x[N / 2][4];
#pragma unroll
		for (int m = 0; m < M; m++) ldmatrix4(w[m], piece(stage, feature + 16 * m + lane % 16, 2 * k + lane / 16));
#pragma unroll
		for (int n = 0; n < N / 2; n++) ldmatrix4(x[n], piece(stage + 128 * ROW, token + 16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
		for (int m = 0; m < M; m++)
#pragma unroll
			for (int n = 0; n < N; n++) mma(*(float(*)[4]) & d[4 * (m * N + n)], w[m], x[n / 2][n % 2 * 2], x[n / 2][n % 2 * 2 + 1]);
	}
}

template <int BN> DEVICE void gemm(const GemmMma &a) {
	using S = Shape<BN>;
	extern __shared__ __align__(128) u8 memory[];
	__shared__ int slot;
	u32 ring = smem_address(memory);
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
	int feature = BN == 128 ? warp / 4 * 64 : warp * 16, token = BN == 128 ? warp % 4 * 32 : 0; // of the warp, in the tile
	pdl_launch();
	pdl_wait();
	Share s(a.work), early = s;
#pragma unroll
	for (int i = 0; i < S::STAGES - 1; i++) {
		if (early.next()) load<BN>(a, early, ring + i * S::BYTES);
		copy_commit();
	}
	int stage = 0, free = S::STAGES - 1;
	while (s.segment()) {
		float d[S::M * S::N * 4] = {};
		for (; s.k < s.stop; s.k++) {
			copy_wait<S::STAGES - 2>();
			__syncthreads();
			if (early.next()) load<BN>(a, early, ring + free * S::BYTES);
			copy_commit();
			multiply<BN>(d, ring + stage * S::BYTES, feature, token);
			free = stage;
			if (++stage == S::STAGES) stage = 0;
		}
		if (s.partial() && !merge(s, d, &slot)) continue;
		int t = s.token * BN + token + 2 * (lane % 4);
		if (a.work.swiglu) store_swiglu<S::M, S::N>(a.work, d, s.feature * 64 + feature / 2 + lane / 4, t);
		else store<S::M, S::N>(a.work, d, s.feature * 128 + feature + lane / 4, t);
	}
}

#define GEMM(BN) \
	KERNEL void __launch_bounds__(CONSUMERS, 1) mma_##BN(const __grid_constant__ GemmMma a) { gemm<BN>(a); }
GEMM(16)
GEMM(32)
GEMM(64)
GEMM(128)
