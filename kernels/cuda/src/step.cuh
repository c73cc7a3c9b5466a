// The tables of a step and the paged memory, as step.go places them.
#pragma once
#include "common.cuh"

// Layout: sequence s owns rows rowStart[s] to rowStart[s+1], at positions start[s] on, in pages[pageStart[s]] on.
struct Layout {
	const int *pos, *seq;          // [rows]: of each row its position, its sequence
	const int *rowStart, *start;   // [seqs+1], [seqs]
	const int *pageStart, *pages;  // [seqs+1], [...]
	int rows, seqs;
};

// Pool is one layer's keys and values: [page][key, value][head][position][dim].
struct Pool {
	void *p;
	int pages, size, heads, dim;

	// key is where position `at` of a page keeps its key of one head, in elements from p; value likewise.
	__device__ __forceinline__ i64 key(int page, int head, int at) const {
		return (((i64)page * 2 * heads + head) * size + at) * dim;
	}
	__device__ __forceinline__ i64 value(int page, int head, int at) const {
		return ((((i64)page * 2 + 1) * heads + head) * size + at) * dim;
	}
};
