// Matrix products on Hopper: dst[token][feature] = x[token][] . w[feature][], bfloat16 with F32 sums.
// images: sm_90a
//
// Oracle: kernels/ref through kerneltest, and linear_plain on the device at full size; tolerance sums there.
//
// One kernel for every number of rows, with swapped operands: 128 features are the M of wgmma, 64 for each of two
// consumer warpgroups, and a tile of BN tokens is its N, so that one row of a step wastes 7 columns of a small product
// instead of 63 rows of a large one. One producer thread keeps a ring in shared memory full through the copy engine
// (TMA), in blocks of 128 features x 64 of K and BN tokens x 64 of K, both swizzled by 128 bytes.
//
// Work: one block a multiprocessor; gemm.cuh says how it is divided. With one tile of tokens the cut depends on the
// weight's shape alone, so a row's result is the same whatever shares its step.
//
// Where one tile takes all tokens, boxes hold the rows that there are: the copy engine takes 7 cycles for each row that it
// must invent (measured). What lies in shared memory behind them only reaches sums that are not stored.
//
// Overlap: weights are constant, so the producer streams them before the kernel ahead of it has ended, as far as the
// ring is deep; what it waits for are the activations.
// Measured on an H200 (Llama-3-8B, all products of a step at 1 row, at 8,192 rows; kernels/SPEED.md has the rest):
//   1 units of 64 of K, last block sums the parts            4.60 ms  639 TFLOP/s  (ptxas had serialised wgmma)
//   2 sums set before the loop, units of 128, no divisions   4.15     678
//   3 activations shared in clusters of two                  4.17     478          dropped
//   4 boxes end where the rows do                            3.99     638          (cuBLASLt 15 % slower too in that run)
#include "gemm.cuh"

struct __align__(64) TensorMap { char bytes[128]; };

struct Gemm {
	TensorMap w, x;
	Work work;
	int box; // rows of a box of x
	int pad[7];
};

DEVICE void bar_init(u32 bar, int count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory"); }
DEVICE void bar_expect(u32 bar, int bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory"); }
DEVICE void bar_arrive(u32 bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory"); }
DEVICE void bar_wait(u32 bar, u32 parity) {
	asm volatile("{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra END;\nbra AGAIN;\nEND:\n}" ::"r"(bar), "r"(parity) : "memory");
}

// box2 and box4 copy a box of a tensor to shared memory; its bytes count towards bar. call2 and call4 only bring it to L2.
DEVICE void box2(u32 to, const TensorMap &m, int col, int row, u32 bar, u64 policy) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;"
	             ::"r"(to), "l"(&m), "r"(col), "r"(row), "r"(bar), "l"(policy) : "memory");
}
DEVICE void box4(u32 to, const TensorMap &m, int col, int group, u32 bar, u64 policy) {
	asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, 0, 0, %3}], [%4], %5;"
	             ::"r"(to), "l"(&m), "r"(col), "r"(group), "r"(bar), "l"(policy) : "memory");
}
DEVICE void call2(const TensorMap &m, int col, int row) {
	asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(&m), "r"(col), "r"(row) : "memory");
}
DEVICE void call4(const TensorMap &m, int col, int group) {
	asm volatile("cp.async.bulk.prefetch.tensor.4d.L2.global [%0, {%1, 0, 0, %2}];" ::"l"(&m), "r"(col), "r"(group) : "memory");
}

DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// describe is the descriptor of a K-major matrix in shared memory, swizzled by 128 bytes: 8 rows of 128 bytes are 1024.
DEVICE u64 describe(u32 at) { return (u64)((at & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62; }

// The operand lists of wgmma: TEN(3) is "%30,...,%39,", F4(8) is d[8] to d[11].
#define TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(i) F4(i), F4(i + 4), F4(i + 8), F4(i + 12)
#define F64(i) F16(i), F16(i + 16), F16(i + 32), F16(i + 48)
#define WGMMA(n, list, a, b, ...) \
	asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" list "}, %" #a ", %" #b ", 1, 1, 1, 0, 0;" : __VA_ARGS__ : "l"(w), "l"(x))

// wgmma is d += w x for 64 features and N tokens, 16 of K. Features of a thread: lane/4 of its warp's 16,
// and 8 more; tokens: 8 i + 2 (lane%4) and the next; d[4 i] holds the four.
DEVICE void wgmma(float (&d)[4], u64 w, u64 x) { WGMMA(8, "%0,%1,%2,%3", 4, 5, F4(0)); }
DEVICE void wgmma(float (&d)[8], u64 w, u64 x) { WGMMA(16, "%0,%1,%2,%3,%4,%5,%6,%7", 8, 9, F4(0), F4(4)); }
DEVICE void wgmma(float (&d)[16], u64 w, u64 x) { WGMMA(32, TEN() "%10,%11,%12,%13,%14,%15", 16, 17, F16(0)); }
DEVICE void wgmma(float (&d)[32], u64 w, u64 x) { WGMMA(64, TEN() TEN(1) TEN(2) "%30,%31", 32, 33, F16(0), F16(16)); }
DEVICE void wgmma(float (&d)[64], u64 w, u64 x) { WGMMA(128, TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) "%60,%61,%62,%63", 64, 65, F64(0)); }
DEVICE void wgmma(float (&d)[128], u64 w, u64 x) {
	WGMMA(256, TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10) TEN(11) "%120,%121,%122,%123,%124,%125,%126,%127",
	      128, 129, F64(0), F64(64));
}

// Ring is the shape of the ring: a unit is 128 of K, two boxes of 64, and a stage holds both where tiles are narrow.
template <int BN> struct Ring {
	static constexpr int BOXES = BN <= 64 ? 2 : 1; // of a stage
	static constexpr int WEIGHTS = 128 * 128, ROWS = BN * 128, STAGE = BOXES * (WEIGHTS + ROWS); // bytes
};

// produce keeps the ring full.
template <int BN> DEVICE void produce(const Gemm &a, u32 ring, u32 full, u32 empty) {
	using R = Ring<BN>;
	u64 once, keep;
	asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(once));
	asm volatile("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(keep));
	u64 policy = a.work.stream ? once : keep;
	int stages = a.work.stages;
	auto weights = [&](const Share &s, int part, int stage) {
		u32 to = ring + stage * R::STAGE, bar = full + 8 * stage;
		int k = s.k * 128 + part * 64;
		bar_expect(bar, R::BOXES * (R::WEIGHTS + a.box * 128));
#pragma unroll
		for (int i = 0; i < R::BOXES; i++, k += 64, to += R::WEIGHTS) {
			if (a.work.swiglu) box4(to, a.w, k, s.feature * 8, bar, policy);
			else box2(to, a.w, k, s.feature * 128, bar, policy);
		}
	};
	auto rows = [&](const Share &s, int part, int stage) {
		u32 to = ring + stage * R::STAGE + R::BOXES * R::WEIGHTS;
		int k = s.k * 128 + part * 64;
#pragma unroll
		for (int i = 0; i < R::BOXES; i++, k += 64, to += R::ROWS) box2(to, a.x, k, s.token * BN, full + 8 * stage, keep);
	};
	Share s(a.work), early = s;
	int filled = 0;
	while (filled < stages && early.next()) {
#pragma unroll
		for (int part = 0; part < 2; part += R::BOXES) weights(early, part, filled++);
	}
	for (int i = 0; i < a.work.ahead && early.next(); i++) {
#pragma unroll
		for (int part = 0; part < 2; part++) {
			if (a.work.swiglu) call4(a.w, early.k * 128 + part * 64, early.feature * 8);
			else call2(a.w, early.k * 128 + part * 64, early.feature * 128);
		}
	}
	pdl_wait();
	for (int i = 0; i < filled;) {
		s.next();
#pragma unroll
		for (int part = 0; part < 2; part += R::BOXES) rows(s, part, i++);
	}
	int stage = 0;
	u32 phase = 0;
	while (s.next()) {
#pragma unroll
		for (int part = 0; part < 2; part += R::BOXES) {
			bar_wait(empty + 8 * stage, phase);
			weights(s, part, stage);
			rows(s, part, stage);
			if (++stage == stages) stage = 0, phase ^= 1;
		}
	}
}

// consume multiplies what comes through the ring and stores tiles. One product is always under way while the next is
// queued; its stage is given back after that.
template <int BN> DEVICE void consume(const Gemm &a, u32 ring, u32 full, u32 empty, volatile int *slot) {
	using R = Ring<BN>;
	int half = threadIdx.x / 128, warp = threadIdx.x / 32, lane = threadIdx.x % 32, stage = 0, stages = a.work.stages;
	u32 phase = 0;
	Share s(a.work);
	pdl_wait();
	while (s.segment()) {
		float d[BN / 2];
#pragma unroll
		for (int i = 0; i < BN / 2; i++) d[i] = 0;
		int before = -1;
		for (int n = (s.stop - s.from) * (2 / R::BOXES); n > 0; n--) {
			bar_wait(full + 8 * stage, phase);
			u32 at = ring + stage * R::STAGE;
			u64 w = describe(at + half * (R::WEIGHTS / 2)), x = describe(at + R::BOXES * R::WEIGHTS);
			wgmma_fence();
#pragma unroll
			for (int i = 0; i < R::BOXES; i++)
#pragma unroll
				for (int k = 0; k < 4; k++) wgmma(d, w + i * (R::WEIGHTS >> 4) + 2 * k, x + i * (R::ROWS >> 4) + 2 * k);
			wgmma_commit();
			wgmma_wait<1>();
			if (before >= 0 && lane == 0) bar_arrive(empty + 8 * before);
			before = stage;
			if (++stage == stages) stage = 0, phase ^= 1;
		}
		wgmma_wait<0>();
		if (lane == 0) bar_arrive(empty + 8 * before);
		if (s.partial() && !merge(s, d, slot)) continue;
		int t = s.token * BN + 2 * (lane % 4);
		if (a.work.swiglu) store_swiglu<1, BN / 8>(a.work, d, s.feature * 64 + warp * 8 + lane / 4, t);
		else store<1, BN / 8>(a.work, d, s.feature * 128 + warp * 16 + lane / 4, t);
	}
}

// gemm: warps 0 to 7 multiply, warp 8 copies. Wide tiles take registers from a whole producer warpgroup.
template <int BN> DEVICE void gemm(const Gemm &a) {
	extern __shared__ u8 memory[];
	constexpr int MOST = 16; // stages
	u32 full = smem_address(memory), empty = full + 8 * MOST, ring = (full + 16 * MOST + 8 + 1023) & ~1023u;
	volatile int *slot = (volatile int *)(memory + 16 * MOST);
	bool producer = threadIdx.x == CONSUMERS;
	if (producer) {
		asm volatile("prefetch.tensormap [%0];" ::"l"(&a.w) : "memory");
		asm volatile("prefetch.tensormap [%0];" ::"l"(&a.x) : "memory");
		for (int i = 0; i < a.work.stages; i++) {
			bar_init(full + 8 * i, 1);
			bar_init(empty + 8 * i, CONSUMERS / 32);
		}
		asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
		asm volatile("fence.proxy.async;" ::: "memory");
	}
	__syncthreads();
	pdl_launch();
	if (threadIdx.x >= CONSUMERS) {
		if (BN == 256) asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
		if (producer) produce<BN>(a, ring, full, empty);
		return;
	}
	if (BN == 256) asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
	consume<BN>(a, ring, full, empty, slot);
}

#define GEMM(BN, THREADS) \
	KERNEL void __launch_bounds__(THREADS, 1) gemm_##BN(const __grid_constant__ Gemm a) { gemm<BN>(a); }
GEMM(8, 288)
GEMM(16, 288)
GEMM(32, 288)
GEMM(64, 288)
GEMM(128, 288)
GEMM(256, 384)
