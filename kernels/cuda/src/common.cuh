// What all kernels share: types without headers, loads and stores of 16 bytes, warp and block sums, bfloat16, and the
// instructions that CUDA C++ has no name for. The dialect needs no include, so that NVRTC, nvcc and clang all take it.
//
// Every kernel takes one struct by value (its Go twin stands beside the launch) and obeys the overlap rule: a kernel may
// be started while the one before it still runs, so it calls pdl_wait() before it reads or writes anything that another
// kernel touches (weights and the launch's own arguments are free), in every thread that does, and pdl_launch() as soon
// as it is running, which lets the next one start its own prologue.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE static __device__ __forceinline__
#define KERNEL extern "C" __global__

// view is a row-major matrix: rows stride elements apart (kernels.Tensor).
template <typename T> struct View {
	T *p;
	i64 stride;
	int rows, cols;
	__device__ __forceinline__ T *row(int i) const { return p + i * stride; }
};

DEVICE void pdl_wait() {
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

DEVICE void pdl_launch() {
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

DEVICE float bf16_to_f32(u16 v) { return __uint_as_float((u32)v << 16); }

// f32_to_bf16 rounds to nearest, ties to even; a NaN stays one.
DEVICE u16 f32_to_bf16(float v) {
	u16 r;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(v));
	return r;
}

// pack_bf16 is two values in one word, lo in the lower half.
DEVICE u32 pack_bf16(float lo, float hi) {
	u32 r;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
	return r;
}

DEVICE float lane_sum(float v) {
#pragma unroll
	for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(~0u, v, i);
	return v;
}

DEVICE float lane_max(float v) {
#pragma unroll
	for (int i = 16; i > 0; i /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, i));
	return v;
}

DEVICE u32 smem_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// copy16 starts a copy of 16 bytes to shared memory; where ok is false it writes zeros and reads nothing.
DEVICE void copy16(u32 dst, const void *src, bool ok) {
	int n = ok ? 16 : 0;
	asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(dst), "l"(src), "r"(n) : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// ldmatrix4 loads four 8x8 matrices of 2-byte elements; ldmatrix4t transposes each.
DEVICE void ldmatrix4(u32 (&r)[4], u32 at) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}
DEVICE void ldmatrix4t(u32 (&r)[4], u32 at) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}

// mma is d += a b for a 16x16 (row-major), b 16x8 (column-major), bfloat16 with F32 sums.
DEVICE void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
