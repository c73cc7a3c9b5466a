// Attention of few rows over long memory: one pass over a chunk of keys and values at the speed of memory.
// Oracle: kernels/ref, and attention_plain for large shapes; tolerance attentionBF16 of kerneltest (queries and weights
// are rounded to bfloat16). Bits: a row's result depends on its position and its keys alone, because chunks, tiles and
// the order of every sum are fixed by positions.
//
// A block takes up to 16 query rows (rows of the step times query heads of one key-value head) and a chunk of at most MOST
// keys. Its warps share nothing until the end: each streams every WARPS-th tile of 16 keys through its own ring of
// cp.async stages, so none waits for another, and the whole block keeps (STAGES-1) * WARPS tiles in flight.
//
// Ladder, 100 sequences of 1,024 positions, 32/8 heads of 128, H200 (copy 4.2 TB/s), us a layer:
//   181  two blocks a multiprocessor, three stages; every lane fetched its own queries, one load after the other
//   135  queries by the whole block, through shared memory
//   119  two stages, three blocks; 125 with four blocks of two warps, 218 with one block of four stages
//   117  one release a block instead of a fence in every thread
#include "attn.cuh"

constexpr int MOST = 1024;  // keys of a chunk

// combine adds up what the warps have: the result, or this block's partial one.
template <int DP, int WARPS> DEVICE void combine(const Attention &a, const Item &it, int head, u8 *memory, const float (&sum)[DP / 8][4], const float (&top)[2], float (&total)[2]) {
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim = a.pool.dim;
	// The warps' shares meet in shared memory: [warp][16][DP] sums, [warp][16] largest score and weight.
	float *shares = (float *)(memory + 4 * MOST);
	float2 *stats = (float2 *)memory;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		total[i] += __shfl_xor_sync(~0u, total[i], 1);
		total[i] += __shfl_xor_sync(~0u, total[i], 2);
		int r = lane / 4 + 8 * i;
		if (r >= it.n * a.group) continue;
		if (lane % 4 == 0) stats[warp * 16 + r] = make_float2(top[i], total[i]);
#pragma unroll
		for (int n = 0; n < DP / 8; n++)
			*(float2 *)(shares + (warp * 16 + r) * DP + 8 * n + 2 * (lane % 4)) = make_float2(sum[n][2 * i], sum[n][2 * i + 1]);
	}
	__syncthreads();
	int heads = a.pool.heads * a.group;
	for (int i = threadIdx.x; i < it.n * a.group * (DP / 4); i += 32 * WARPS) {
		int r = i / (DP / 4), c = i % (DP / 4) * 4;
		if (c >= dim) continue;
		float best = NONE, all = 0;
#pragma unroll
		for (int w = 0; w < WARPS; w++) best = fmaxf(best, stats[w * 16 + r].x);
		float base = best == NONE ? 0.f : best;
		float4 v = make_float4(0, 0, 0, 0);
#pragma unroll
		for (int w = 0; w < WARPS; w++) {
			float2 s = stats[w * 16 + r];
			float4 u = *(const float4 *)(shares + (w * 16 + r) * DP + c);
			float weight = exp2_fast(s.x - base);
			all += s.y * weight;
			v.x += u.x * weight, v.y += u.y * weight, v.z += u.z * weight, v.w += u.w * weight;
		}
		Row row = load_row(a, it.first + r / a.group);
		int query = head * a.group + r % a.group;
		if (row.parts == 1) {
			float scale = 1.f / all;
			store4(a, row.row, query * dim + c, make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale));
		} else {
			i64 slot = (i64)(row.slot + it.part) * heads + query;
			*(float4 *)(a.sums + slot * dim + c) = v;
			if (c == 0) a.stats[slot] = make_float2(best, all);
		}
	}
}

template <int DP, int WARPS, int STAGES> DEVICE void decode(const Attention &a) {
	constexpr int PIECES = DP / 8, STRIDE = PIECES % 8 == 0 ? PIECES : PIECES + 1;  // 16-byte pieces of a row, and apart
	constexpr int TILE = 16 * STRIDE * 16;
	extern __shared__ __align__(128) u8 memory[];
	u32 *where = (u32 *)memory;
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim = a.pool.dim;
	u8 *ring = memory + 4 * MOST + warp * STAGES * 2 * TILE;
	u32 at = smem_address(ring);
	pdl_launch();
	int head = blockIdx.x % a.pool.heads;
	Item it = load_item(a, blockIdx.x / a.pool.heads);
	if (it.n == 0) return;
	int keys = it.end - it.from;
	const int *pages = a.layout.pages + it.table;
	for (int i = threadIdx.x; i < keys; i += 32 * WARPS) where[i] = place(a, pages, head, it.from + i);
	__syncthreads();

	const u16 *pool = (const u16 *)a.pool.p;
	i64 toValue = (i64)a.pool.heads * a.pool.size * dim;
	auto cell = [&](int r, int c) { return (u32)((r * STRIDE + (PIECES % 8 == 0 ? c ^ (r & 7) : c)) * 16); };
	auto fetch = [&](int tile, int stage) {
		u32 to = at + stage * 2 * TILE;
#pragma unroll
		for (int i = lane; i < 16 * PIECES; i += 32) {
			int r = i / PIECES, c = i % PIECES, key = tile * 16 + r;
			bool ok = key < keys && c * 8 < dim;
			const u16 *src = ok ? pool + (i64)where[key] * dim + c * 8 : pool;
			copy16(to + cell(r, c), src, ok);
			copy16(to + TILE + cell(r, c), ok ? src + toValue : src, ok);
		}
	};
	int tiles = (keys + 15) / 16, first = 0;
	if (a.window > 0) first = max(0, load_row(a, it.first).pos + 1 - a.window - it.from) / 16;  // the first row looks back furthest
	int tile = warp;
	while (tile < first) tile += WARPS;
	pdl_wait();
#pragma unroll
	for (int s = 0; s < STAGES - 1; s++) {
		if (tile + s * WARPS < tiles) fetch(tile + s * WARPS, s);
		copy_commit();
	}

	// A lane holds rows lane/4 and lane/4 + 8 of the 16.
	int pos[2], low[2];
#pragma unroll
	for (int i = 0; i < 2; i++) {
		int r = lane / 4 + 8 * i;
		pos[i] = r < it.n * a.group ? load_row(a, it.first + r / a.group).pos : -1;
		low[i] = a.window > 0 && pos[i] >= 0 ? pos[i] + 1 - a.window : 0;
	}
	// Queries go through the one stage of the first warp that nothing was fetched to yet.
	u8 *tmp = memory + 4 * MOST + (STAGES - 1) * 2 * TILE;
	load_queries<(16 * PIECES + 32 * WARPS - 1) / (32 * WARPS), 32 * WARPS, PIECES>(a, it, head, threadIdx.x, 0, [&](int i, uint4 v) {
		if (i < 16 * PIECES) *(uint4 *)(tmp + cell(i / PIECES, i % PIECES)) = v;
	});
	__syncthreads();
	u32 q[DP / 16][4];
#pragma unroll
	for (int k = 0; k < DP / 16; k++) ldmatrix4(q[k], smem_address(tmp) + cell(lane % 16, 2 * k + lane / 16));
	__syncthreads();

	float sum[DP / 8][4], top[2] = {NONE, NONE}, total[2] = {0, 0};
#pragma unroll
	for (int i = 0; i < DP / 8; i++) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0;
	int rk = lane % 8 + lane / 16 * 8, ck = lane / 8 % 2, rv = lane % 16, cv = lane / 16;
	for (int stage = 0; tile < tiles; tile += WARPS) {
		copy_wait<STAGES - 2>();
		__syncwarp();  // all lanes' pieces have landed, and all have left the stage that is filled next
		int ahead = tile + (STAGES - 1) * WARPS;
		if (ahead < tiles) fetch(ahead, stage == 0 ? STAGES - 1 : stage - 1);
		copy_commit();
		u32 k0 = at + stage * 2 * TILE, v0 = k0 + TILE;
		float s[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
#pragma unroll
		for (int k = 0; k < DP / 16; k++) {
			u32 b[4];
			ldmatrix4(b, k0 + cell(rk, 2 * k + ck));
			mma(s[0], q[k], b[0], b[1]);
			mma(s[1], q[k], b[2], b[3]);
		}
		int key = it.from + tile * 16 + 2 * (lane % 4);
		float keep[2];
#pragma unroll
		for (int i = 0; i < 2; i++) {  // of the two rows
			float best = top[i];
#pragma unroll
			for (int j = 0; j < 2; j++)
#pragma unroll
				for (int e = 0; e < 2; e++) {
					int p = key + 8 * j + e;
					float &x = s[j][2 * i + e];
					x = p <= pos[i] && p >= low[i] && p < it.end ? x * a.scale : NONE;
					best = fmaxf(best, x);
				}
			best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
			best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
			float base = best == NONE ? 0.f : best;
			keep[i] = exp2_fast(top[i] - base);
			top[i] = best;
			total[i] *= keep[i];
#pragma unroll
			for (int j = 0; j < 2; j++)
#pragma unroll
				for (int e = 0; e < 2; e++) total[i] += s[j][2 * i + e] = exp2_fast(s[j][2 * i + e] - base);
		}
		if (__any_sync(~0u, keep[0] != 1.f || keep[1] != 1.f)) {
#pragma unroll
			for (int i = 0; i < DP / 8; i++) sum[i][0] *= keep[0], sum[i][1] *= keep[0], sum[i][2] *= keep[1], sum[i][3] *= keep[1];
		}
		u32 p[4] = {pack_bf16(s[0][0], s[0][1]), pack_bf16(s[0][2], s[0][3]), pack_bf16(s[1][0], s[1][1]), pack_bf16(s[1][2], s[1][3])};
#pragma unroll
		for (int n = 0; n < DP / 16; n++) {
			u32 b[4];
			ldmatrix4t(b, v0 + cell(rv, 2 * n + cv));
			mma(sum[2 * n], p, b[0], b[1]);
			mma(sum[2 * n + 1], p, b[2], b[3]);
		}
		stage = stage == STAGES - 1 ? 0 : stage + 1;
	}
	copy_wait<0>();
	__syncthreads();

	combine<DP, WARPS>(a, it, head, memory, sum, top, total);
	if (load_row(a, it.first).parts > 1) finish<32 * WARPS, 1>(a, it, head, (int *)memory + 512);
}

// Rings of 40 to 64 kB a block: three or four blocks share a multiprocessor of sm_90, so that one streams while another
// begins or ends, and at least one fits every card.
KERNEL void __launch_bounds__(128, 4) attn_decode_32(const __grid_constant__ Attention a) { decode<32, 4, 4>(a); }
KERNEL void __launch_bounds__(128, 4) attn_decode_64(const __grid_constant__ Attention a) { decode<64, 4, 3>(a); }
KERNEL void __launch_bounds__(128, 3) attn_decode_96(const __grid_constant__ Attention a) { decode<96, 4, 2>(a); }
KERNEL void __launch_bounds__(128, 3) attn_decode_128(const __grid_constant__ Attention a) { decode<128, 4, 2>(a); }
KERNEL void __launch_bounds__(64) attn_decode_256(const __grid_constant__ Attention a) { decode<256, 2, 2>(a); }
