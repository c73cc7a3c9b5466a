// Attention of many rows: tiles of 128 query rows against blocks of keys, on mma.sync.
// Oracle: kernels/ref, and attention_plain for large shapes; tolerance attentionBF16 of kerneltest.
//
// A block takes 128 query rows (rows of the step times query heads of one key-value head), 16 to each of its 8 warps, and
// walks the item's keys in blocks of KEYS, loaded by cp.async while the block before is multiplied. On sm_90
// attn_hopper.cu does the same with wgmma.
//
// Ladder: 8,192 causal rows, 32/8 heads of 128, H200: 190 TFLOP/s.
#include "attn.cuh"

DEVICE float (&quad(float *v, int i))[4] { return *(float (*)[4])(v + i); }

template <int DP, int KEYS> DEVICE void prefill(const Attention &a) {
	constexpr int PIECES = DP / 8, STRIDE = PIECES % 8 == 0 ? PIECES : PIECES + 1, BLOCK = KEYS * STRIDE * 16;
	extern __shared__ __align__(128) u8 memory[];
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim = a.pool.dim, head = blockIdx.x % a.pool.heads;
	u32 queries = smem_address(memory), blocks = queries + 128 * STRIDE * 16;
	pdl_launch();
	Item it = load_item(a, blockIdx.x / a.pool.heads);
	if (it.n == 0) return;
	pdl_wait();
	const int *pages = a.layout.pages + it.table;
	const u16 *pool = (const u16 *)a.pool.p;
	i64 toValue = (i64)a.pool.heads * a.pool.size * dim;
	auto cell = [&](int r, int c) { return (u32)((r * STRIDE + (PIECES % 8 == 0 ? c ^ (r & 7) : c)) * 16); };
	auto fetch = [&](int from, int stage) {
		u32 to = blocks + stage * 2 * BLOCK;
#pragma unroll
		for (int i = threadIdx.x; i < KEYS * PIECES; i += 256) {
			int r = i / PIECES, c = i % PIECES;
			bool ok = from + r < it.end && c * 8 < dim;
			const u16 *src = ok ? pool + (i64)place(a, pages, head, from + r) * dim + c * 8 : pool;
			copy16(to + cell(r, c), src, ok);
			copy16(to + BLOCK + cell(r, c), ok ? src + toValue : src, ok);
		}
		copy_commit();
	};
	fetch(it.from, 0);
	int used = it.n * a.group;
	load_queries<(128 * PIECES) / 256, 256, PIECES>(a, it, head, threadIdx.x, 0, [&](int i, uint4 v) { *(uint4 *)(memory + cell(i / PIECES, i % PIECES)) = v; });

	// A lane holds rows lane/4 and lane/4 + 8 of the warp's 16.
	int pos[2], low[2];
#pragma unroll
	for (int i = 0; i < 2; i++) {
		int r = warp * 16 + lane / 4 + 8 * i;
		pos[i] = r < used ? load_row(a, it.first + r / a.group).pos : -1;
		low[i] = a.window > 0 && r < used ? pos[i] + 1 - a.window : 0;
	}
	// From here on the whole warp sees every key, and up to there: the blocks between need no mask.
	int allLow = max(low[0], low[1]), allPos = min(pos[0] < 0 ? 0x7fffffff : pos[0], pos[1] < 0 ? 0x7fffffff : pos[1]), most = max(pos[0], pos[1]);
#pragma unroll
	for (int i = 16; i > 0; i /= 2) {
		allLow = max(allLow, __shfl_xor_sync(~0u, allLow, i));
		allPos = min(allPos, __shfl_xor_sync(~0u, allPos, i));
		most = max(most, __shfl_xor_sync(~0u, most, i));
	}
	float sum[DP / 2], top[2] = {NONE, NONE}, total[2] = {0, 0};
#pragma unroll
	for (int i = 0; i < DP / 2; i++) sum[i] = 0;
	int rk = lane % 8 + lane / 16 * 8, ck = lane / 8 % 2, rv = lane % 16, cv = lane / 16;
	for (int from = it.from, stage = 0; from < it.end; from += KEYS, stage ^= 1) {
		if (from + KEYS < it.end) fetch(from + KEYS, stage ^ 1), copy_wait<1>();
		else copy_wait<0>();
		__syncthreads();
		if (from <= most) {
			u32 k0 = blocks + stage * 2 * BLOCK, v0 = k0 + BLOCK;
			float s[KEYS / 8][4];
#pragma unroll
			for (int j = 0; j < KEYS / 8; j++) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
#pragma unroll
			for (int k = 0; k < DP / 16; k++) {
				u32 q[4];
				ldmatrix4(q, queries + cell(warp * 16 + rv, 2 * k + cv));
#pragma unroll
				for (int j = 0; j < KEYS / 16; j++) {
					u32 b[4];
					ldmatrix4(b, k0 + cell(16 * j + rk, 2 * k + ck));
					mma(s[2 * j], q, b[0], b[1]);
					mma(s[2 * j + 1], q, b[2], b[3]);
				}
			}
			if (from + KEYS - 1 > allPos || from < allLow || from + KEYS > it.end) {
				int key = from + 2 * (lane % 4);
#pragma unroll
				for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
					for (int e = 0; e < 4; e++) {
						int p = key + 8 * j + e % 2;
						if (p > pos[e / 2] || p < low[e / 2] || p >= it.end) s[j][e] = NONE;
					}
			}
			float keep[2], base[2];
#pragma unroll
			for (int i = 0; i < 2; i++) {
				float best = NONE;
#pragma unroll
				for (int j = 0; j < KEYS / 8; j++) best = fmaxf(best, fmaxf(s[j][2 * i], s[j][2 * i + 1]));
				best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
				best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
				best = fmaxf(top[i], best * a.scale);
				base[i] = best == NONE ? 0.f : best;
				keep[i] = exp2_fast(top[i] - base[i]);
				top[i] = best;
				total[i] *= keep[i];
			}
#pragma unroll
			for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
				for (int e = 0; e < 4; e++) total[e / 2] += s[j][e] = exp2_fast(s[j][e] * a.scale - base[e / 2]);
#pragma unroll
			for (int i = 0; i < DP / 2; i++) sum[i] *= keep[i / 2 % 2];
#pragma unroll
			for (int j = 0; j < KEYS / 16; j++) {
				u32 p[4] = {pack_bf16(s[2 * j][0], s[2 * j][1]), pack_bf16(s[2 * j][2], s[2 * j][3]),
				            pack_bf16(s[2 * j + 1][0], s[2 * j + 1][1]), pack_bf16(s[2 * j + 1][2], s[2 * j + 1][3])};
#pragma unroll
				for (int n = 0; n < DP / 16; n++) {
					u32 b[4];
					ldmatrix4t(b, v0 + cell(16 * j + rv, 2 * n + cv));
					mma(quad(sum, 8 * n), p, b[0], b[1]);
					mma(quad(sum, 8 * n + 4), p, b[2], b[3]);
				}
			}
		}
		__syncthreads();
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		total[i] += __shfl_xor_sync(~0u, total[i], 1);
		total[i] += __shfl_xor_sync(~0u, total[i], 2);
		int r = warp * 16 + lane / 4 + 8 * i;
		if (r < used) deliver<DP>(a, it, head, r, 2 * i, sum, top[i], total[i]);
	}
	if (load_row(a, it.first).parts > 1) finish<256, 4>(a, it, head, (int *)memory);  // nobody reads the queries any more
}

KERNEL void __launch_bounds__(256, 2) attn_prefill_32(const __grid_constant__ Attention a) { prefill<32, 64>(a); }
KERNEL void __launch_bounds__(256, 1) attn_prefill_64(const __grid_constant__ Attention a) { prefill<64, 64>(a); }
KERNEL void __launch_bounds__(256, 1) attn_prefill_96(const __grid_constant__ Attention a) { prefill<96, 64>(a); }
KERNEL void __launch_bounds__(256, 1) attn_prefill_128(const __grid_constant__ Attention a) { prefill<128, 64>(a); }
KERNEL void __launch_bounds__(256, 1) attn_prefill_256(const __grid_constant__ Attention a) { prefill<256, 32>(a); }
