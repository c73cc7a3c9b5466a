// What the attention kernels share: the plan of a step as attention_plan.go places it, the softmax's arithmetic, and how
// partial results become one.
#pragma once
#include "step.cuh"

// Item is one block's work for one key-value head: the queries of n rows against the keys from..end of one page table.
struct Item {
	int first, n;   // rows[first] to rows[first+n], all with one partial result or all with several; n 0: nothing to do
	int table;      // where in layout.pages the page table begins
	int from, end;  // positions of the keys
	int part;       // which of its rows' partial results this is
	int pad[2];
};

// Row is a row of the step in an item: which, at what position, and its first slot and number of partial results.
struct __align__(16) Row { int row, pos, slot, parts; };

// Attention is attentionArgs in attention.go.
struct Attention {
	View<u16> dst;
	View<float> q;
	Layout layout;
	Pool pool;
	const Item *items;
	const Row *rows;    // in the items' order
	float *sums;        // [slot][query head][dim]: weighted sums of values, not normalised
	float2 *stats;      // [slot][query head]: largest score (times log2 e), sum of weights
	int *tickets;       // [slot][kv head]: how many partial results of the row whose first slot this is have arrived
	int group, window;
	float scale;        // times log2 e
	int wide;           // 1: rows of q are 16 bytes aligned, 2: rows of dst 8 bytes
	int shift;          // log2 of the page size, or -1
	int pad;
};

// load_item and load_row read the plan. It came with the copy ahead of all kernels of the submission, so they may be called
// before pdl_wait; past the first-level cache, in which an earlier submission's plan could lie.
DEVICE Item load_item(const Attention &a, int i) {
	int4 x = __ldcg((const int4 *)(a.items + i)), y = __ldcg((const int4 *)(a.items + i) + 1);
	return Item{x.x, x.y, x.z, x.w, y.x, y.y, {y.z, y.w}};
}
DEVICE Row load_row(const Attention &a, int i) {
	int4 x = __ldcg((const int4 *)(a.rows + i));
	return Row{x.x, x.y, x.z, x.w};
}

#define NONE (-__int_as_float(0x7f800000))

DEVICE float exp2_fast(float x) {
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

// place is the row of the pool, in units of dim elements, that holds the key of a position; its value lies heads * size
// rows further on.
DEVICE u32 place(const Attention &a, const int *pages, int head, int pos) {
	int page, at;
	if (a.shift >= 0) page = pos >> a.shift, at = pos & (a.pool.size - 1);
	else page = pos / a.pool.size, at = pos - page * a.pool.size;
	return ((u32)__ldcg(pages + page) * 2 * a.pool.heads + head) * a.pool.size + at;
}

// store4 writes four elements of a result.
DEVICE void store4(const Attention &a, int row, int col, float4 v) {
	u16 *to = a.dst.row(row) + col;
	u32 lo = pack_bf16(v.x, v.y), hi = pack_bf16(v.z, v.w);
	if (a.wide & 2) *(uint2 *)to = make_uint2(lo, hi);
	else to[0] = (u16)lo, to[1] = (u16)(lo >> 16), to[2] = (u16)hi, to[3] = (u16)(hi >> 16);
}

// load_queries reads N pieces of eight queries for each of THREADS threads, all of them in flight at once: piece i of the tile
// at row i / PIECES. put(i, v) stores it.
template <int N, int THREADS, int PIECES, typename Put> DEVICE void load_queries(const Attention &a, const Item &it, int head, int thread, int row0, Put put) {
	float4 x[N], y[N];
	const float *q[N];
#pragma unroll
	for (int k = 0; k < N; k++) {
		int i = thread + k * THREADS, r = row0 + i / PIECES, c = i % PIECES * 8;
		q[k] = nullptr;
		if (r < it.n * a.group && c < a.pool.dim)
			q[k] = a.q.row(load_row(a, it.first + r / a.group).row) + (head * a.group + r % a.group) * a.pool.dim + c;
	}
	if (a.wide & 1) {
#pragma unroll
		for (int k = 0; k < N; k++) {
			x[k] = q[k] ? *(const float4 *)q[k] : make_float4(0, 0, 0, 0);
			y[k] = q[k] ? *(const float4 *)(q[k] + 4) : make_float4(0, 0, 0, 0);
		}
	} else {
#pragma unroll
		for (int k = 0; k < N; k++) {
			x[k] = q[k] ? make_float4(q[k][0], q[k][1], q[k][2], q[k][3]) : make_float4(0, 0, 0, 0);
			y[k] = q[k] ? make_float4(q[k][4], q[k][5], q[k][6], q[k][7]) : make_float4(0, 0, 0, 0);
		}
	}
#pragma unroll
	for (int k = 0; k < N; k++)
		put(thread + k * THREADS, make_uint4(pack_bf16(x[k].x, x[k].y), pack_bf16(x[k].z, x[k].w), pack_bf16(y[k].x, y[k].y), pack_bf16(y[k].z, y[k].w)));
}

// deliver writes a lane's share of row r of a tile, of which it holds elements 8n + 2 (lane % 4) + {0, 1} at sum[4n + e]: the
// result, or one of several partial ones.
template <int DP> DEVICE void deliver(const Attention &a, const Item &it, int head, int r, int e, const float (&sum)[DP / 2], float top, float total) {
	Row row = load_row(a, it.first + r / a.group);
	int query = head * a.group + r % a.group, dim = a.pool.dim, col = 2 * (threadIdx.x % 4);
	if (row.parts == 1) {
		float scale = 1.f / total;
		u16 *to = a.dst.row(row.row) + query * dim + col;
#pragma unroll
		for (int n = 0; n < DP / 8; n++) {
			if (8 * n >= dim) break;
			u32 v = pack_bf16(sum[4 * n + e] * scale, sum[4 * n + e + 1] * scale);
			if (a.wide & 2) *(u32 *)(to + 8 * n) = v;
			else to[8 * n] = (u16)v, to[8 * n + 1] = (u16)(v >> 16);
		}
		return;
	}
	i64 slot = (i64)(row.slot + it.part) * a.pool.heads * a.group + query;
	float *to = a.sums + slot * dim + col;
#pragma unroll
	for (int n = 0; n < DP / 8; n++)
		if (8 * n < dim) *(float2 *)(to + 8 * n) = make_float2(sum[4 * n + e], sum[4 * n + e + 1]);
	if (col == 0) a.stats[slot] = make_float2(top, total);
}

// finish counts this block's partial results as arrived. Where they were the last of a row, it adds the row's up, in the
// order of their keys whoever came first, so that the result does not depend on timing. The block's first THREADS threads
// call it, after they wrote their shares to sums and stats, and meet at barrier BAR. flags is shared memory for it.n
// numbers. A warp takes SOME queries at a time, to have their loads under way together: worth it for a tall tile, while
// with the few queries of a short one what is left over costs more.
template <int THREADS, int SOME, int BAR = 0> DEVICE void finish(const Attention &a, const Item &it, int head, int *flags) {
	asm volatile("bar.sync %0, %1;" ::"n"(BAR), "n"(THREADS) : "memory");
	for (int i = threadIdx.x; i < it.n; i += THREADS) {
		Row row = load_row(a, it.first + i);
		int *ticket = a.tickets + row.slot * a.pool.heads + head;
		int before;  // released: what the whole block wrote; acquired: what the other blocks did
		asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], 1;" : "=r"(before) : "l"(ticket) : "memory");
		bool last = before == row.parts - 1;
		if (last) *ticket = 0;
		flags[i] = last;
	}
	asm volatile("bar.sync %0, %1;" ::"n"(BAR), "n"(THREADS) : "memory");
	constexpr int WARPS = THREADS / 32;
	int lane = threadIdx.x % 32, dim = a.pool.dim, heads = a.pool.heads * a.group, all = it.n * a.group;
	for (int i = threadIdx.x / 32; i < all; i += WARPS * SOME) {
		int row[SOME], query[SOME], parts[SOME], most = 0;
		i64 at[SOME];
		float top[SOME];
#pragma unroll
		for (int u = 0; u < SOME; u++) {
			int j = i + u * WARPS;
			Row r = {0, 0, 0, 0};
			if (j < all && flags[j / a.group]) r = load_row(a, it.first + j / a.group);
			row[u] = r.row, parts[u] = r.parts, query[u] = head * a.group + j % a.group;
			at[u] = (i64)r.slot * heads + (r.parts ? query[u] : 0);
			most = max(most, r.parts);
		}
#pragma unroll
		for (int u = 0; u < SOME; u++) {
			top[u] = NONE;
			for (int k = lane; k < parts[u]; k += 32) top[u] = fmaxf(top[u], __ldcg(a.stats + at[u] + (i64)k * heads).x);
		}
#pragma unroll
		for (int u = 0; u < SOME; u++) top[u] = lane_max(top[u]);
		for (int c = 4 * lane; c < dim && most > 0; c += 128) {
			float total[SOME] = {};
			float4 v[SOME] = {};
#pragma unroll(SOME == 1 ? 4 : 2)
			for (int k = 0; k < most; k++) {
				float2 s[SOME];
				float4 x[SOME];
#pragma unroll
				for (int u = 0; u < SOME; u++) {
					i64 from = at[u] + (i64)max(0, min(k, parts[u] - 1)) * heads;
					s[u] = __ldcg(a.stats + from);
					x[u] = __ldcg((const float4 *)(a.sums + from * dim + c));
				}
#pragma unroll
				for (int u = 0; u < SOME; u++) {
					float w = k < parts[u] ? exp2_fast(s[u].x - top[u]) : 0.f;
					total[u] += s[u].y * w;
					v[u].x += x[u].x * w, v[u].y += x[u].y * w, v[u].z += x[u].z * w, v[u].w += x[u].w * w;
				}
			}
#pragma unroll
			for (int u = 0; u < SOME; u++) {
				if (!parts[u]) continue;
				float scale = 1.f / total[u];
				store4(a, row[u], query[u] * dim + c, make_float4(v[u].x * scale, v[u].y * scale, v[u].z * scale, v[u].w * scale));
			}
		}
	}
}
