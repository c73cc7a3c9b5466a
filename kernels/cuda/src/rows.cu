// Small operations on rows: what a row's result is depends on that row alone.
// Oracle: kernels/ref through kerneltest; tolerance oneOp there (float32 in another order).
#include "step.cuh"

// block_sum adds v over a block of at most 1024 threads; all of them get the sum.
DEVICE float block_sum(float v) {
	__shared__ float part[32];
	v = lane_sum(v);
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
	if (lane == 0) part[warp] = v;
	__syncthreads();
	v = lane < warps ? part[lane] : 0.f;
	return lane_sum(v);
}

struct Mark { u64 *flag; u64 number; };

// mark raises the flag in host memory: all that the stream held before it is done and visible.
KERNEL void mark(const __grid_constant__ Mark a) {
	pdl_wait();
	__threadfence_system();
	*(volatile u64 *)a.flag = a.number;
	__threadfence_system();
}

struct Resolve { int *ids; const int *last; int n, slots; };

// resolve replaces each id -1-s by last[s].
KERNEL void __launch_bounds__(256) resolve(const __grid_constant__ Resolve a) {
	pdl_launch();
	pdl_wait();
	int i = blockIdx.x * 256 + threadIdx.x;
	if (i >= a.n) return;
	int id = a.ids[i];
	if (id < 0 && -1 - id < a.slots) a.ids[i] = a.last[-1 - id];
}

struct Embed { View<float> dst; const void *table; const int *ids; i64 in; int vocab, bf16; };

// embed copies row ids[i] of the table; a block a row. An id outside the table, which only a broken step has, reads row 0.
KERNEL void __launch_bounds__(256) embed(const __grid_constant__ Embed a) {
	pdl_launch();
	pdl_wait();
	int id = a.ids[blockIdx.x];
	if ((u32)id >= (u32)a.vocab) id = 0;
	float *dst = a.dst.row(blockIdx.x);
	if (a.bf16) {
		const u16 *src = (const u16 *)a.table + id * a.in;
		for (int j = threadIdx.x; j < a.in; j += 256) dst[j] = bf16_to_f32(src[j]);
	} else {
		const float *src = (const float *)a.table + id * a.in;
		for (int j = threadIdx.x; j < a.in; j += 256) dst[j] = src[j];
	}
}

template <> struct View<void> {
	void *p;
	i64 stride;
	int rows, cols;
};

struct Norm { View<void> dst; View<float> x, add; const float *weight; float eps; int bf16; };

// rmsnorm is x += add; dst = x / sqrt(mean(x^2) + eps) * weight; a block a row, any alignment.
KERNEL void __launch_bounds__(256) rmsnorm(const __grid_constant__ Norm a) {
	pdl_launch();
	pdl_wait();
	int i = blockIdx.x, n = a.x.cols;
	float *x = a.x.row(i);
	const float *add = a.add.p ? a.add.row(i) : nullptr;
	float sum = 0;
	for (int j = threadIdx.x; j < n; j += 256) {
		float v = x[j];
		if (add) x[j] = v += add[j];
		sum += v * v;
	}
	float scale = rsqrtf(block_sum(sum) / n + a.eps);
	for (int j = threadIdx.x; j < n; j += 256) {
		float v = x[j] * scale * a.weight[j];
		if (a.bf16) ((u16 *)a.dst.p)[i * a.dst.stride + j] = f32_to_bf16(v);
		else ((float *)a.dst.p)[i * a.dst.stride + j] = v;
	}
}

// rmsnorm4 is the same for rows of at most 32,768 elements in aligned groups of four; a row stays in registers, each
// element is read once.
KERNEL void __launch_bounds__(1024, 1) rmsnorm4(const __grid_constant__ Norm a) {
	constexpr int MOST = 8;
	pdl_launch();
	int i = blockIdx.x, n4 = a.x.cols / 4;
	pdl_wait();
	float4 *x = (float4 *)a.x.row(i), v[MOST];
	const float4 *add = a.add.p ? (const float4 *)a.add.row(i) : nullptr, *weight = (const float4 *)a.weight;
	float sum = 0;
#pragma unroll
	for (int k = 0; k < MOST; k++) {
		int j = threadIdx.x + k * blockDim.x;
		if (j >= n4) break;
		v[k] = x[j];
		if (add) {
			float4 d = add[j];
			v[k].x += d.x, v[k].y += d.y, v[k].z += d.z, v[k].w += d.w;
			x[j] = v[k];
		}
		sum += v[k].x * v[k].x + v[k].y * v[k].y + v[k].z * v[k].z + v[k].w * v[k].w;
	}
	float scale = rsqrtf(block_sum(sum) / a.x.cols + a.eps);
#pragma unroll
	for (int k = 0; k < MOST; k++) {
		int j = threadIdx.x + k * blockDim.x;
		if (j >= n4) break;
		float4 w = weight[j];
		w.x *= v[k].x * scale, w.y *= v[k].y * scale, w.z *= v[k].z * scale, w.w *= v[k].w * scale;
		if (a.bf16) ((uint2 *)((u16 *)a.dst.p + i * a.dst.stride))[j] = make_uint2(pack_bf16(w.x, w.y), pack_bf16(w.z, w.w));
		else ((float4 *)((float *)a.dst.p + i * a.dst.stride))[j] = w;
	}
}

struct Rotary { View<float> cos, sin; const float *freq; const int *pos; float scale; int pad; };

// rotary fills the tables of one position a block. The angle is rounded to float32 before its cosine is taken, as models
// were trained with; sincosf of a large angle wants the slow path, so it is not the fast intrinsic.
KERNEL void rotary(const __grid_constant__ Rotary a) {
	pdl_launch();
	pdl_wait();
	int i = blockIdx.x, j = threadIdx.x;
	if (j >= a.cos.cols) return;
	float s, c;
	sincosf((float)a.pos[i] * a.freq[j], &s, &c);
	a.cos.row(i)[j] = c * a.scale;
	a.sin.row(i)[j] = s * a.scale;
}

struct Rope {
	View<float> q, qkv, cos, sin;
	const float *qnorm, *knorm;
	const int2 *cells;  // [rows]: page, and place in it, of the row's key and value
	Pool pool;
	int heads;
	float eps;
	int bf16, pad;
};

// rope_append: a warp takes one head of one row: norm, rotation, and the store to q or to the row's place in its page.
// Blocks of 8 warps; x is the row, y groups of 8 heads.
KERNEL void __launch_bounds__(256) rope_append(const __grid_constant__ Rope a) {
	pdl_launch();
	int row = blockIdx.x, head = blockIdx.y * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
	int kvheads = a.pool.heads, dim = a.pool.dim, half = dim / 2;
	if (head >= a.heads + 2 * kvheads) return;
	pdl_wait();
	const float *in = a.qkv.row(row) + head * dim;
	bool query = head < a.heads, value = head >= a.heads + kvheads;
	i64 to = 0;
	if (!query) {
		int2 cell = a.cells[row];
		to = value ? a.pool.value(cell.x, head - a.heads - kvheads, cell.y) : a.pool.key(cell.x, head - a.heads, cell.y);
	}
	auto store = [&](int j, float v) {
		if (query) a.q.row(row)[head * dim + j] = v;
		else if (a.bf16) ((u16 *)a.pool.p)[to + j] = f32_to_bf16(v);
		else ((float *)a.pool.p)[to + j] = v;
	};
	if (value) {
		for (int j = lane; j < dim; j += 32) store(j, in[j]);
		return;
	}
	const float *norm = query ? a.qnorm : a.knorm;
	float scale = 1;
	if (norm) {
		float sum = 0;
		for (int j = lane; j < dim; j += 32) sum += in[j] * in[j];
		scale = rsqrtf(lane_sum(sum) / dim + a.eps);
	}
	const float *cos = a.cos.row(row), *sin = a.sin.row(row);
	for (int j = lane; j < half; j += 32) {
		float x = in[j] * scale, y = in[j + half] * scale;
		if (norm) x *= norm[j], y *= norm[j + half];
		store(j, x * cos[j] - y * sin[j]);
		store(j + half, y * cos[j] + x * sin[j]);
	}
}

// rope_append4 is the same for heads of 8, 16, ... 256 elements and aligned rows: dim/8 lanes take a head, each of them
// four elements of its first half and their partners; x is the row, y groups of as many heads as a block has room for.
KERNEL void __launch_bounds__(256) rope_append4(const __grid_constant__ Rope a) {
	pdl_launch();
	int row = blockIdx.x, kvheads = a.pool.heads, dim = a.pool.dim, lanes = dim / 8, at = threadIdx.x % lanes * 4;
	int head = blockIdx.y * (256 / lanes) + threadIdx.x / lanes;
	bool query = head < a.heads, value = head >= a.heads + kvheads, outside = head >= a.heads + 2 * kvheads;
	int2 cell = __ldcg(a.cells + row);  // part of the plan: there before the kernels
	pdl_wait();
	float4 x = make_float4(0, 0, 0, 0), y = x, c = x, s = x;
	if (!outside) {
		const float *in = a.qkv.row(row) + head * dim + at;
		x = *(const float4 *)in, y = *(const float4 *)(in + dim / 2);
		if (!value) c = *(const float4 *)(a.cos.row(row) + at), s = *(const float4 *)(a.sin.row(row) + at);
	}
	const float *norm = query ? a.qnorm : a.knorm;
	if (a.qnorm || a.knorm) {  // all lanes together, those without a norm too
		float sum = x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w + y.x * y.x + y.y * y.y + y.z * y.z + y.w * y.w;
		for (int i = lanes / 2; i > 0; i /= 2) sum += __shfl_xor_sync(~0u, sum, i);
		if (norm && !value && !outside) {
			float scale = rsqrtf(sum / dim + a.eps);
			float4 u = *(const float4 *)(norm + at), v = *(const float4 *)(norm + dim / 2 + at);
			x.x *= scale * u.x, x.y *= scale * u.y, x.z *= scale * u.z, x.w *= scale * u.w;
			y.x *= scale * v.x, y.y *= scale * v.y, y.z *= scale * v.z, y.w *= scale * v.w;
		}
	}
	if (outside) return;
	if (!value) {
		float4 u = x, v = y;
		x = make_float4(u.x * c.x - v.x * s.x, u.y * c.y - v.y * s.y, u.z * c.z - v.z * s.z, u.w * c.w - v.w * s.w);
		y = make_float4(v.x * c.x + u.x * s.x, v.y * c.y + u.y * s.y, v.z * c.z + u.z * s.z, v.w * c.w + u.w * s.w);
	}
	if (query) {
		float4 *to = (float4 *)(a.q.row(row) + head * dim + at);
		to[0] = x, to[dim / 8] = y;
		return;
	}
	i64 to = at + (value ? a.pool.value(cell.x, head - a.heads - kvheads, cell.y) : a.pool.key(cell.x, head - a.heads, cell.y));
	if (a.bf16) {
		uint2 *p = (uint2 *)((u16 *)a.pool.p + to);
		p[0] = make_uint2(pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)), p[dim / 8] = make_uint2(pack_bf16(y.x, y.y), pack_bf16(y.z, y.w));
	} else {
		float4 *p = (float4 *)((float *)a.pool.p + to);
		p[0] = x, p[dim / 8] = y;
	}
}

struct Swiglu { View<void> dst; View<float> gateUp; int bf16, wide; };

DEVICE float silu(float g) { return g / (1.f + expf(-g)); }

// swiglu: dst = silu(left half) * right half; x covers the columns, y is the row.
KERNEL void __launch_bounds__(256) swiglu(const __grid_constant__ Swiglu a) {
	pdl_launch();
	pdl_wait();
	const float *gate = a.gateUp.row(blockIdx.y), *up = gate + a.dst.cols;
	i64 at = blockIdx.y * a.dst.stride;
	int j = blockIdx.x * 256 + threadIdx.x;
	if (a.wide) {
		if (4 * j >= a.dst.cols) return;
		float4 g = ((const float4 *)gate)[j], u;
		u.x = up[4 * j], u.y = up[4 * j + 1], u.z = up[4 * j + 2], u.w = up[4 * j + 3];
		g.x = silu(g.x) * u.x, g.y = silu(g.y) * u.y, g.z = silu(g.z) * u.z, g.w = silu(g.w) * u.w;
		if (a.bf16) ((uint2 *)((u16 *)a.dst.p + at))[j] = make_uint2(pack_bf16(g.x, g.y), pack_bf16(g.z, g.w));
		else ((float4 *)((float *)a.dst.p + at))[j] = g;
		return;
	}
	if (j >= a.dst.cols) return;
	float v = silu(gate[j]) * up[j];
	if (a.bf16) ((u16 *)a.dst.p)[at + j] = f32_to_bf16(v);
	else ((float *)a.dst.p)[at + j] = v;
}

struct Gather { View<u8> dst, src; const int *rows; int size, pad; };

// gather copies row rows[i] of src; strides count elements.
KERNEL void __launch_bounds__(256) gather(const __grid_constant__ Gather a) {
	pdl_launch();
	pdl_wait();
	int i = blockIdx.x, from = a.rows[i];
	if (a.size == 4) {
		const u32 *src = (const u32 *)a.src.p + from * a.src.stride;
		u32 *dst = (u32 *)a.dst.p + i * a.dst.stride;
		for (int j = threadIdx.x; j < a.dst.cols; j += 256) dst[j] = src[j];
	} else {
		const u16 *src = (const u16 *)a.src.p + from * a.src.stride;
		u16 *dst = (u16 *)a.dst.p + i * a.dst.stride;
		for (int j = threadIdx.x; j < a.dst.cols; j += 256) dst[j] = src[j];
	}
}

struct PageCopy { int src, dst, tokens; };
struct CopyPages { u8 *pool; const PageCopy *copies; i64 half, layer, run; int size, heads, n, layers; };

// copy_pages copies the first positions of a page, keys and values of every head; x is the layer, y the copy.
KERNEL void __launch_bounds__(256) copy_pages(const __grid_constant__ CopyPages a) {
	pdl_launch();
	pdl_wait();
	PageCopy c = a.copies[blockIdx.y];
	u8 *base = a.pool + blockIdx.x * a.layer;
	const u16 *src = (const u16 *)(base + c.src * 2 * a.half);
	u16 *dst = (u16 *)(base + c.dst * 2 * a.half);
	i64 run = c.tokens * a.run / 2, page = a.size * a.run / 2;
	for (int part = 0; part < 2 * a.heads; part++)
		for (i64 j = threadIdx.x; j < run; j += 256) dst[part * page + j] = src[part * page + j];
}
