// Matrix product and attention for every type, width and alignment: slow, obvious, and what runs where no fast kernel
// fits (float32 activations, odd widths). Oracle: kernels/ref; tolerances sums and softmaxed.
#include "step.cuh"

struct Linear { View<float> dst; View<u8> x; const void *w; const float *bias; int bf16, pad; };

// linear_plain: a warp computes one element of dst; x covers the outputs in groups of 8 warps, y the rows.
KERNEL void __launch_bounds__(256) linear_plain(const __grid_constant__ Linear a) {
	pdl_launch();
	int out = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32, row = blockIdx.y, n = a.x.cols;
	if (out >= a.dst.cols) return;
	pdl_wait();
	float sum = 0;
	if (a.bf16) {
		const u16 *x = (const u16 *)a.x.p + row * a.x.stride, *w = (const u16 *)a.w + (i64)out * n;
		for (int k = lane; k < n; k += 32) sum += bf16_to_f32(x[k]) * bf16_to_f32(w[k]);
	} else {
		const float *x = (const float *)a.x.p + row * a.x.stride, *w = (const float *)a.w + (i64)out * n;
		for (int k = lane; k < n; k += 32) sum += x[k] * w[k];
	}
	sum = lane_sum(sum);
	if (lane == 0) a.dst.row(row)[out] = sum + (a.bias ? a.bias[out] : 0.f);
}

struct Attn { View<u8> dst; View<float> q; Layout layout; Pool pool; int heads, window; float scale; int bf16; };

DEVICE float load(const void *p, i64 i, int bf16) { return bf16 ? bf16_to_f32(((const u16 *)p)[i]) : ((const float *)p)[i]; }

// attention_plain: a warp takes one head of one row and walks the positions it may see, with a running maximum (Milakov
// and Gimelshein 2018). Heads of at most 256 elements. x is the row, y groups of 8 heads.
KERNEL void __launch_bounds__(256) attention_plain(const __grid_constant__ Attn a) {
	pdl_launch();
	int row = blockIdx.x, head = blockIdx.y * 8 + threadIdx.x / 32, lane = threadIdx.x % 32, dim = a.pool.dim;
	if (head >= a.heads) return;
	pdl_wait();
	int kvhead = head / (a.heads / a.pool.heads), pos = a.layout.pos[row];
	const int *pages = a.layout.pages + a.layout.pageStart[a.layout.seq[row]];
	float q[8], sum[8], total = 0, top = -__int_as_float(0x7f800000);
#pragma unroll
	for (int k = 0; k < 8; k++) {
		int j = lane + 32 * k;
		q[k] = j < dim ? a.q.row(row)[head * dim + j] * a.scale : 0.f;
		sum[k] = 0;
	}
	for (int p = a.window > 0 ? max(0, pos + 1 - a.window) : 0; p <= pos; p++) {
		int page = pages[p / a.pool.size], at = p % a.pool.size;
		i64 key = a.pool.key(page, kvhead, at), value = a.pool.value(page, kvhead, at);
		float score = 0;
#pragma unroll
		for (int k = 0; k < 8; k++)
			if (lane + 32 * k < dim) score += q[k] * load(a.pool.p, key + lane + 32 * k, a.bf16);
		score = lane_sum(score);
		float best = fmaxf(top, score), keep = expf(top - best), weight = expf(score - best);
		total = total * keep + weight;
		top = best;
#pragma unroll
		for (int k = 0; k < 8; k++)
			if (lane + 32 * k < dim) sum[k] = sum[k] * keep + weight * load(a.pool.p, value + lane + 32 * k, a.bf16);
	}
#pragma unroll
	for (int k = 0; k < 8; k++) {
		int j = lane + 32 * k;
		if (j >= dim) continue;
		float v = sum[k] / total;
		i64 to = row * a.dst.stride + head * dim + j;
		if (a.bf16) ((u16 *)a.dst.p)[to] = f32_to_bf16(v);
		else ((float *)a.dst.p)[to] = v;
	}
}
