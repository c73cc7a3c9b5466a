// What the fast matrix products share: how work is divided among blocks, how split tiles are summed, how tiles are stored.
//
// A tile is 128 features by some tokens, a unit is some of K of a tile. The first `split` tiles are cut into units of which
// each block takes an equal run ("stream-K", Osama et al. 2023), so that every multiprocessor reads the same number of
// bytes whatever the shape; the tiles after them are taken whole, one after the other. A tile that several blocks share
// is summed in the order of K by whichever finishes last: the sum does not depend on which that is.
#pragma once
#include "common.cuh"

struct Work {
	View<float> dst; // F32 [n x out]; swiglu: bfloat16 [n x out]
	const float *bias;
	float *partial;  // [2 * blocks][128 * tokens of a tile]
	u32 *tickets;    // [split], zero between launches
	int features, tokens; // tiles in each direction
	int depth;       // units of a tile
	int split;       // tiles that are cut
	int share, rest; // units of a block; so many of the blocks have one more
	int out;         // features; of swiglu: pairs
	int add;         // add to dst
	int stages;      // Hopper: of the ring
	int ahead;       // Hopper: units beyond the ring that are called into L2 before the wait
	int stream;      // Hopper: weights are read once, so they are the first to leave L2
	int swiglu;      // a tile is 64 pairs: of each 16 rows 8 are gates

	// begin is the first unit of a block's run, owner the block whose run holds a unit.
	__device__ __forceinline__ int begin(int block) const { return block * share + min(block, rest); }
	__device__ __forceinline__ int owner(int unit) const {
		int longer = rest * (share + 1);
		return unit < longer ? unit / (share + 1) : rest + (unit - longer) / share;
	}
};

constexpr int CONSUMERS = 256; // threads that multiply

// Share is a block's part of the work, walked unit by unit: a run of units of the split tiles, then whole tiles.
struct Share {
	const Work &a;
	int unit, end, whole;
	int tile, feature, token; // now: the tile, and its place in each direction
	int k, from, stop;        // unit k of its segment [from, stop)

	__device__ __forceinline__ Share(const Work &a) : a(a) {
		unit = a.begin(blockIdx.x);
		end = a.begin(blockIdx.x + 1);
		whole = a.split + blockIdx.x;
		k = from = stop = 0;
	}
	// segment begins the next tile, or part of one.
	__device__ __forceinline__ bool segment() {
		if (unit < end) {
			tile = unit / a.depth;
			k = from = unit - tile * a.depth;
			stop = min(a.depth, from + end - unit);
			unit += stop - from;
		} else {
			if (whole >= a.features * a.tokens) return false;
			tile = whole;
			whole += gridDim.x;
			k = from = 0;
			stop = a.depth;
		}
		// Tiles run through eight tiles of tokens, then on to the next features, so that what runs at the same time is
		// about square and shares its operands in L2.
		constexpr int WIDE = 8;
		int group = tile / (WIDE * a.features), in = tile - group * WIDE * a.features, width = min(WIDE, a.tokens - group * WIDE);
		feature = in / width;
		token = group * WIDE + in - feature * width;
		return true;
	}
	__device__ __forceinline__ bool next() { return ++k < stop || segment(); }
	__device__ __forceinline__ bool partial() const { return stop - from < a.depth; }
};

DEVICE float4 load_partial(const float4 *p) {
	float4 v;
	asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p) : "memory");
	return v;
}

DEVICE void consumers_sync() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

// merge writes this block's part of a tile and, in the block that comes last, gathers all parts in the order of K.
// It returns whether d now holds the tile's sum. slot holds a word of shared memory for the answer. A block has two places
// for parts: of the tile that its run begins with, and of the one that it ends in.
template <int R> DEVICE bool merge(const Share &s, float (&d)[R], volatile int *slot) {
	constexpr int Q = R / 4, C = Q < 8 ? Q : 8, B = 8 / C; // float4 a thread; of them at once; blocks at once
	const Work &a = s.a;
	int first = s.tile * a.depth, from = a.owner(first), to = a.owner(first + a.depth - 1);
	bool within = a.begin(from) != first; // only the first block's run can begin before the tile
	auto part = [&](int block) {
		return (float4 *)a.partial + (i64)(2 * block + (within && block == from)) * Q * CONSUMERS + threadIdx.x;
	};
	float4 *mine = part(blockIdx.x);
#pragma unroll
	for (int i = 0; i < Q; i++) mine[i * CONSUMERS] = make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]);
	consumers_sync();
	if (threadIdx.x == 0) {
		__threadfence(); // the barrier made the others' parts this thread's: one fence publishes them all
		int last = atomicAdd(&a.tickets[s.tile], 1) == to - from;
		if (last) a.tickets[s.tile] = 0;
		__threadfence();
		*slot = last;
	}
	consumers_sync();
	if (!*slot) return false;
#pragma unroll
	for (int c = 0; c < Q; c += C) {
		float4 sum[C];
#pragma unroll
		for (int i = 0; i < C; i++) sum[i] = make_float4(0, 0, 0, 0);
		for (int block = from; block <= to; block += B) {
			float4 v[B][C];
#pragma unroll
			for (int j = 0; j < B; j++)
#pragma unroll
				for (int i = 0; i < C; i++)
					if (block + j <= to) v[j][i] = load_partial(part(block + j) + (c + i) * CONSUMERS);
#pragma unroll
			for (int j = 0; j < B; j++)
#pragma unroll
				for (int i = 0; i < C; i++)
					if (block + j <= to) sum[i].x += v[j][i].x, sum[i].y += v[j][i].y, sum[i].z += v[j][i].z, sum[i].w += v[j][i].w;
		}
#pragma unroll
		for (int i = 0; i < C; i++) d[4 * (c + i)] = sum[i].x, d[4 * (c + i) + 1] = sum[i].y, d[4 * (c + i) + 2] = sum[i].z, d[4 * (c + i) + 3] = sum[i].w;
	}
	return true;
}

// store writes a warp's part of a tile: features f and f + 8 of each 16, tokens t and t + 1 of each 8, as mma and wgmma
// leave them. Eight lanes hold eight features of a token: 32 bytes, a whole sector where rows are aligned. What is to be
// added is read ahead of the stores, which the compiler must not do.
template <int M, int N> DEVICE void store(const Work &a, float (&d)[M * N * 4], int f, int t) {
	constexpr int C = N < 4 ? N : 4;
#pragma unroll
	for (int m = 0; m < M; m++, f += 16) {
		bool low = f < a.out, high = f + 8 < a.out;
		float biasLow = a.bias && low ? a.bias[f] : 0.f, biasHigh = a.bias && high ? a.bias[f + 8] : 0.f;
		float *to = a.dst.p + (i64)t * a.dst.stride + f;
		if (a.add) {
#pragma unroll
			for (int c = 0; c < N; c += C) {
				float old[C * 4];
#pragma unroll
				for (int i = 0; i < C * 2; i++) {
					int n = 8 * (c + i / 2) + i % 2;
					bool in = t + n < a.dst.rows;
					old[2 * i] = in && low ? to[n * a.dst.stride] : 0.f;
					old[2 * i + 1] = in && high ? to[n * a.dst.stride + 8] : 0.f;
				}
#pragma unroll
				for (int i = 0; i < C * 2; i++) {
					int n = 8 * (c + i / 2) + i % 2, at = 4 * (m * N + c + i / 2) + i % 2;
					if (t + n >= a.dst.rows) continue;
					if (low) to[n * a.dst.stride] = d[at] + biasLow + old[2 * i];
					if (high) to[n * a.dst.stride + 8] = d[at + 2] + biasHigh + old[2 * i + 1];
				}
			}
			continue;
		}
#pragma unroll
		for (int n = 0; n < N; n++) {
#pragma unroll
			for (int e = 0; e < 2; e++) {
				if (t + 8 * n + e >= a.dst.rows) continue;
				float *p = to + (8 * n + e) * a.dst.stride;
				if (low) p[0] = d[4 * (m * N + n) + e] + biasLow;
				if (high) p[8] = d[4 * (m * N + n) + 2 + e] + biasHigh;
			}
		}
	}
}

// store_swiglu: of each 16 rows the first 8 are gates, the others are the rows that belong to them; f counts pairs. exp and
// the division are good to some 2^-20, which the rounding to bfloat16 hides.
template <int M, int N> DEVICE void store_swiglu(const Work &a, float (&d)[M * N * 4], int f, int t) {
#pragma unroll
	for (int m = 0; m < M; m++, f += 8) {
		if (f >= a.out) return;
		float biasGate = a.bias ? a.bias[f] : 0.f, biasUp = a.bias ? a.bias[a.out + f] : 0.f;
		u16 *to = (u16 *)a.dst.p + (i64)t * a.dst.stride + f;
#pragma unroll
		for (int n = 0; n < N; n++) {
#pragma unroll
			for (int e = 0; e < 2; e++) {
				float g = d[4 * (m * N + n) + e] + biasGate, u = d[4 * (m * N + n) + 2 + e] + biasUp;
				if (t + 8 * n + e < a.dst.rows) to[(8 * n + e) * a.dst.stride] = f32_to_bf16(__fdividef(g, 1.f + __expf(-g)) * u);
			}
		}
	}
}
