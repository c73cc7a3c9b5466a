// Attention of many rows on Hopper: tiles of 128 query rows against blocks of 128 keys, on wgmma.
// images: sm_90a
//
// Oracle: kernels/ref, and attention_plain for large shapes; tolerance attentionBF16 of kerneltest.
//
// Blocks stay and take one tile after the other. One warp fetches keys and one values, page by page, through the copy
// engine (TMA) into two stages of each; they run ahead into the next tile. Two warpgroups own 64 query rows each: the scores of a
// block of keys are multiplied while the values of the block before are, and the softmax of one runs under the products
// of the other (Shah et al. 2024, arXiv 2407.08608, has the idea).
//
// Ladder, 8,192 causal rows, 32/8 heads of 128, H200, TFLOP/s:
//   190  attn_prefill.cu, on mma.sync
//   470  wgmma, one fetching warp, tiles handed out in one direction
//   462  the softmax held ahead of the wait that it should fill: nothing by itself
//   583  one fetching warp each for keys and values, tiles there and back
//   582  the warpgroups' products in turn (2,048 rows: 373 to 384; 100 rows on 7,936: 60 to 56 us)
#include "attn.cuh"

struct __align__(64) TensorMap { char bytes[128]; };

struct Tall {
	TensorMap pages;  // the layer as rows of dim elements, in boxes of `box` rows and 64 columns
	Attention a;
	int box, pad[15];
};

DEVICE void bar_init(u32 bar, int count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory"); }
DEVICE void bar_expect(u32 bar, int bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory"); }
DEVICE void bar_arrive(u32 bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory"); }
DEVICE void bar_wait(u32 bar, u32 parity) {
	asm volatile("{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra END;\nbra AGAIN;\nEND:\n}" ::"r"(bar), "r"(parity) : "memory");
}
DEVICE void meet(int bar, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(bar), "r"(threads) : "memory"); }

DEVICE void box2(u32 to, const TensorMap &m, int col, int row, u32 bar) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
	             ::"r"(to), "l"(&m), "r"(col), "r"(row), "r"(bar) : "memory");
}

DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// hold keeps the computation of a number that is never negative ahead of the waits that follow: the compiler knows
// nothing of products under way, and would do the softmax after the wait that it is meant to fill.
DEVICE void hold(u32 at, float v) {
	asm volatile("{\n.reg .pred p;\nsetp.lt.f32 p, %1, 0f00000000;\n@p st.shared.f32 [%0], %1;\n}" ::"r"(at), "f"(v) : "memory");
}

// describe is the descriptor of a matrix in shared memory, swizzled by 128 bytes, 8 rows of which are 1024. Where a row
// is longer (values, whose rows run across the product), panels of 64 columns lie `panel` bytes apart.
DEVICE u64 describe(u32 at, u32 panel) { return (u64)((at & 0x3ffff) >> 4) | (u64)(panel >> 4) << 16 | 64ull << 32 | 1ull << 62; }

#define TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(i) F4(i), F4(i + 4), F4(i + 8), F4(i + 12)

// scores is d = (sum ? d : 0) + x y' for 64 queries and 128 keys, 16 of the head's elements.
DEVICE void scores(float (&d)[64], u64 x, u64 y, int sum) {
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5)
	             "%60,%61,%62,%63}, %64, %65, p, 1, 1, 0, 0;\n}" : F16(0), F16(16), F16(32), F16(48) : "l"(x), "l"(y), "r"(sum));
}
// weigh is d += p v for 64 queries and 16 keys, whose weights are in registers.
DEVICE void weigh(float (&d)[64], const u32 *p, u64 v) {
	asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5)
	             "%60,%61,%62,%63}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;" : F16(0), F16(16), F16(32), F16(48) : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}
DEVICE void weigh(float (&d)[32], const u32 *p, u64 v) {
	asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" TEN() TEN(1) TEN(2) "%30,%31}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
	             : F16(0), F16(16) : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}

constexpr int KEYS = 128, STAGES = 2;

// Place of everything in shared memory; all matrices are panels of 64 columns, 128 bytes a row.
template <int DP> struct Room {
	static constexpr int PANELS = DP / 64, BLOCK = KEYS * DP * 2, PANEL = KEYS * 128;
	u32 base;
	__device__ __forceinline__ u32 queries(int group) const { return base + group * 64 * 128; }
	__device__ __forceinline__ u32 keys(int stage) const { return base + BLOCK * (1 + stage); }
	__device__ __forceinline__ u32 values(int stage) const { return base + BLOCK * (1 + STAGES + stage); }
	__device__ __forceinline__ u32 bar(int i) const { return base + BLOCK * (1 + 2 * STAGES) + 8 * i; }
	// Of a stage of keys (v 0) or values (v 1).
	__device__ __forceinline__ u32 full(int v, int stage) const { return bar(v * STAGES + stage); }
	__device__ __forceinline__ u32 empty(int v, int stage) const { return bar((2 + v) * STAGES + stage); }
};

// Round is a block's way through the items, heaviest first: forwards and backwards in turn, so that none has the heaviest
// of every round.
struct Round {
	int number = 0;
	__device__ __forceinline__ int next() {
		int at = number & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
		return number++ * gridDim.x + at;
	}
};

// fetch is the life of a warp that fills the stages of keys (v 0) or values (v 1).
template <int DP> DEVICE void fetch(const Tall &t, Room<DP> room, int v) {
	const Attention &a = t.a;
	int heads = a.pool.heads, count = 0, perBlock = KEYS / t.box * Room<DP>::PANELS;
	int i = threadIdx.x % 32, box = i / Room<DP>::PANELS * t.box, panel = i % Room<DP>::PANELS;
	for (Round round;;) {
		int tile = round.next();
		Item it = load_item(a, tile / heads);
		if (it.n == 0) return;
		int head = tile % heads, last = (it.end - 1) / t.box * t.box;
		const int *pages = a.layout.pages + it.table;
		for (int from = it.from; from < it.end; from += KEYS, count++) {
			int stage = count % STAGES, parity = (count / STAGES & 1) ^ 1;
			// Behind the end lies the last box again: numbers that the mask throws away, but numbers.
			int row = i < perBlock ? (int)place(a, pages, head, min(from + box, last)) + v * heads * a.pool.size : 0;
			bar_wait(room.empty(v, stage), parity);
			if (i == 0) bar_expect(room.full(v, stage), Room<DP>::BLOCK);
			__syncwarp();
			if (i < perBlock)
				box2((v ? room.values(stage) : room.keys(stage)) + panel * Room<DP>::PANEL + box * 128, t.pages, panel * 64, row, room.full(v, stage));
		}
	}
}

// Softmax is the running softmax of a thread's two rows.
struct Softmax {
	int pos[2], low[2];
	float top[2], total[2], keep[2];

	// mask hides what the rows may not see of the block of keys at from.
	__device__ __forceinline__ void mask(float (&s)[64], int from, int end) {
		int key = from + 2 * (threadIdx.x % 4);
#pragma unroll
		for (int j = 0; j < 16; j++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				int p = key + 8 * j + e % 2;
				if (p > pos[e / 2] || p < low[e / 2] || p >= end) s[4 * j + e] = NONE;
			}
	}
	// weights turns scores into weights.
	__device__ __forceinline__ void weights(float (&s)[64], float scale) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			float best = fmaxf(s[2 * i], s[2 * i + 1]), other = fmaxf(s[4 + 2 * i], s[5 + 2 * i]);
#pragma unroll
			for (int j = 2; j < 16; j += 2) {
				best = fmaxf(best, fmaxf(s[4 * j + 2 * i], s[4 * j + 2 * i + 1]));
				other = fmaxf(other, fmaxf(s[4 * j + 4 + 2 * i], s[4 * j + 5 + 2 * i]));
			}
			best = fmaxf(best, other);
			best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
			best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
			best = fmaxf(top[i], best * scale);
			float base = best == NONE ? 0.f : best, sum = 0, more = 0;
			keep[i] = exp2_fast(top[i] - base);
			top[i] = best;
#pragma unroll
			for (int j = 0; j < 16; j++) {
				float &x = s[4 * j + 2 * i], &y = s[4 * j + 2 * i + 1];
				x = exp2_fast(fmaf(x, scale, -base)), y = exp2_fast(fmaf(y, scale, -base));
				sum += x, more += y;
			}
			total[i] = total[i] * keep[i] + sum + more;
		}
	}
};

DEVICE void pack(u32 (&p)[32], const float (&s)[64]) {
#pragma unroll
	for (int i = 0; i < 32; i++) p[i] = pack_bf16(s[2 * i], s[2 * i + 1]);
}

// multiply is the life of a warpgroup that owns 64 query rows.
template <int DP> DEVICE void multiply(const Tall &t, Room<DP> room, u8 *memory, int *flags) {
	using R = Room<DP>;
	const Attention &a = t.a;
	int group = threadIdx.x / 128, warp = threadIdx.x % 128 / 32, lane = threadIdx.x % 32, heads = a.pool.heads, count = 0;
	u64 queries = describe(room.queries(group), 16);
	auto release = [&](int v, int c) {
		if (lane == 0) bar_arrive(room.empty(v, c % STAGES));
	};
	auto score = [&](float (&s)[64], int c) {
		bar_wait(room.full(0, c % STAGES), c / STAGES & 1);
		u64 keys = describe(room.keys(c % STAGES), 16);
		wgmma_fence();
#pragma unroll
		for (int k = 0; k < DP / 16; k++) {
			u64 step = (k / 4 * R::PANEL + k % 4 * 32) >> 4;
			scores(s, queries + step, keys + step, k > 0);
		}
		wgmma_commit();
	};
	auto gather = [&](float (&o)[DP / 2], const u32 (&p)[32], int c) {
		bar_wait(room.full(1, c % STAGES), c / STAGES & 1);
		u64 values = describe(room.values(c % STAGES), R::PANEL);
#pragma unroll
		for (int k = 0; k < KEYS / 16; k++) weigh(o, p + 4 * k, values + (k * 16 * 128 >> 4));
		wgmma_commit();
	};
	if (group == 1) asm volatile("bar.arrive 4, 256;" ::: "memory");
	for (Round round;;) {
		int tile = round.next();
		Item it = load_item(a, tile / heads);
		if (it.n == 0) break;
		int head = tile % heads, used = it.n * a.group;
		meet(1 + group, 128);  // the queries of the tile before are no longer read
		load_queries<64 * DP / 8 / 128, 128, DP / 8>(a, it, head, threadIdx.x % 128, group * 64, [&](int i, uint4 v) {
			int r = group * 64 + i / (DP / 8), c = i % (DP / 8);
			*(uint4 *)(memory + c / 8 * R::PANEL + r * 128 + ((c ^ r) & 7) * 16) = v;
		});
		Softmax x;
#pragma unroll
		for (int i = 0; i < 2; i++) {
			int r = group * 64 + warp * 16 + lane / 4 + 8 * i;
			x.pos[i] = r < used ? load_row(a, it.first + r / a.group).pos : -1;
			x.low[i] = a.window > 0 && r < used ? x.pos[i] + 1 - a.window : 0;
			x.top[i] = NONE, x.total[i] = 0;
		}
		// Up to the first row's position all rows see all keys; from the last row's window on too.
		int first = min(group * 64 / a.group, it.n - 1), final = min((group * 64 + 63) / a.group, it.n - 1);
		int sure = load_row(a, it.first + first).pos, open = a.window > 0 ? load_row(a, it.first + final).pos + 1 - a.window : 0;
		asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
		meet(1 + group, 128);

		float s[64], o[DP / 2];
		u32 p[32];
#pragma unroll
		for (int i = 0; i < DP / 2; i++) o[i] = 0;
		auto soften = [&](int from) {
			if (from + KEYS - 1 > sure || from < open || from + KEYS > it.end) x.mask(s, from, it.end);
			x.weights(s, a.scale);
		};
		score(s, count);
		wgmma_wait<0>();
		release(0, count);
		soften(it.from);
		pack(p, s);
		for (int from = it.from + KEYS; from < it.end; from += KEYS) {
			count++;
			meet(4 + group, 256);  // the warpgroups' products take turns, so that the softmax of one meets the products of the other
			score(s, count);
			gather(o, p, count - 1);
			asm volatile("bar.arrive %0, 256;" ::"r"(5 - group) : "memory");
			wgmma_wait<1>();
				release(0, count);
			soften(from);
			hold(room.bar(0), x.total[0] + x.total[1]);
			wgmma_wait<0>();
			release(1, count - 1);
			pack(p, s);
			if (__any_sync(~0u, x.keep[0] != 1.f || x.keep[1] != 1.f)) {
#pragma unroll
				for (int i = 0; i < DP / 2; i++) o[i] *= x.keep[i / 2 % 2];
			}
		}
		wgmma_fence();
		gather(o, p, count);
		wgmma_wait<0>();
		release(1, count);
		count++;

#pragma unroll
		for (int i = 0; i < 2; i++) {
			x.total[i] += __shfl_xor_sync(~0u, x.total[i], 1);
			x.total[i] += __shfl_xor_sync(~0u, x.total[i], 2);
			int r = group * 64 + warp * 16 + lane / 4 + 8 * i;
			if (r < used) deliver<DP>(a, it, head, r, 2 * i, o, x.top[i], x.total[i]);
		}
		if (load_row(a, it.first).parts > 1) finish<256, 4, 3>(a, it, head, flags);
	}
	if (group == 0) meet(4, 256);
}

template <int DP> DEVICE void tall(const Tall &t) {
	extern __shared__ __align__(1024) u8 memory[];
	Room<DP> room{smem_address(memory)};
	int *flags = (int *)(memory + Room<DP>::BLOCK * (1 + 2 * STAGES) + 128);
	if (room.base & 1023) __trap();
	pdl_launch();
	if (threadIdx.x == 0) {
		for (int i = 0; i < 2 * STAGES; i++) bar_init(room.bar(i), 1);
		for (int i = 2 * STAGES; i < 4 * STAGES; i++) bar_init(room.bar(i), 8);
		asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
	}
	__syncthreads();
	pdl_wait();
	if (threadIdx.x >= 256) {
		asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
		if (threadIdx.x < 320) fetch<DP>(t, room, threadIdx.x / 32 - 8);
	} else {
		asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
		multiply<DP>(t, room, memory, flags);
	}
}

KERNEL void __launch_bounds__(384) attn_tall_64(const __grid_constant__ Tall t) { tall<64>(t); }
KERNEL void __launch_bounds__(384) attn_tall_128(const __grid_constant__ Tall t) { tall<128>(t); }
