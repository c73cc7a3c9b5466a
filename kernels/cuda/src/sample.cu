// From logits to a token, one block a row: scores under the raw logits, bias, penalties and mask, temperature, top-k,
// top-p and min-p, the draw. The rules are those of kernels.SampleRow.
//
// Nothing is sorted. What survives top-k and top-p is a prefix of the order "larger logit first, lower id first among
// equals", so it is described by its last element; select finds that element by histograms of counts and masses over
// ever narrower ranges of logits. Masses are whole numbers (2^40 times the weight relative to the largest), so that
// sums do not depend on the order in which threads add them, and a draw is the same on every run.
//
// Oracle: kernels/ref, exact tokens wherever the choice stands clear of a threshold.
#include "common.cuh"

struct Count { int token, prompt, output; };
struct Out { int token; float logit; int rank; float top, sum; int listed; };
struct Top { int id; float logit; };

struct Row {
	const int *bias; const float *by; const Count *counts; const int *masked; // tables of the lengths below
	float *raw;                                                              // room for the raw logits, where they are needed after penalties
	Top *tops;                                                               // room for the alternatives
	double u;
	float temperature, topp, minp, repetition, presence, frequency;
	int forced, topk, logprobs, biases, tokens, masks, slot, pad;
};

struct Sample { View<float> logits; const Row *rows; Out *out; int *last; };

constexpr int THREADS = 1024, BINS = 1024, LIST = 1024;
constexpr float LARGEST = 3.402823466e38f;
#define INF __int_as_float(0x7f800000)

DEVICE float tame(float v) { return v != v ? -INF : fminf(v, LARGEST) + 0.f; } // + 0: of the two zeros one is left

// key orders floats as integers.
DEVICE u32 key(float v) {
	u32 b = __float_as_uint(v);
	return b & 0x80000000u ? ~b : b | 0x80000000u;
}
constexpr u32 LOWEST = 0x007fffffu; // key of -inf

// Shared is a block's memory.
struct Shared {
	u64 mass[BINS];
	u32 count[BINS];
	u64 part[32];
	u32 partCount[32];
	u32 ids[LIST], keys[LIST];
	u32 n, lo, hi, bin, at;
	u64 above;
	u32 aboveCount;
};

// Edge is the last element of a prefix: all with a larger key, and those of this key up to this id.
struct Edge {
	u32 key; int id;
	__device__ __forceinline__ bool holds(u32 k, int i) const { return k > key || k == key && i <= id; }
};

struct Stats { float top, low; }; // largest, smallest above -inf

DEVICE u64 block_sum64(Shared &s, u64 v) {
#pragma unroll
	for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(~0u, v, i);
	__syncthreads();
	if (threadIdx.x % 32 == 0) s.part[threadIdx.x / 32] = v;
	__syncthreads();
	v = s.part[threadIdx.x % 32];
#pragma unroll
	for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(~0u, v, i);
	return v;
}

DEVICE u64 block_max64(Shared &s, u64 v) {
#pragma unroll
	for (int i = 16; i > 0; i /= 2) { u64 o = __shfl_xor_sync(~0u, v, i); v = o > v ? o : v; }
	__syncthreads();
	if (threadIdx.x % 32 == 0) s.part[threadIdx.x / 32] = v;
	__syncthreads();
	v = s.part[threadIdx.x % 32];
#pragma unroll
	for (int i = 16; i > 0; i /= 2) { u64 o = __shfl_xor_sync(~0u, v, i); v = o > v ? o : v; }
	return v;
}

// block_scan turns each thread's value into the sum of those before it, and returns the total.
DEVICE u64 block_scan(Shared &s, u64 &v) {
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
	u64 mine = v;
#pragma unroll
	for (int i = 1; i < 32; i *= 2) { u64 o = __shfl_up_sync(~0u, v, i); if (lane >= i) v += o; }
	__syncthreads();
	if (lane == 31) s.part[warp] = v;
	__syncthreads();
	u64 w = s.part[lane], total = w;
#pragma unroll
	for (int i = 1; i < 32; i *= 2) { u64 o = __shfl_up_sync(~0u, w, i); if (lane >= i) w += o; }
	total = __shfl_sync(~0u, w, 31);
	u64 before = __shfl_sync(~0u, w, warp > 0 ? warp - 1 : 0);
	v += (warp > 0 ? before : 0) - mine;
	return total;
}

DEVICE float value(u32 k) { return __uint_as_float(k & 0x80000000u ? k & 0x7fffffffu : ~k); }

// each calls f(logit, id) for the elements of this thread, in rising order of ids, four loads in flight.
template <typename F> DEVICE void each(const float *l, int n, F f) {
	int j = 4 * threadIdx.x;
	if (((u64)l & 15) == 0) {
#pragma unroll 2
		for (; j + 3 < n; j += 4 * THREADS) {
			float4 v = *(const float4 *)(l + j);
			f(v.x, j), f(v.y, j + 1), f(v.z, j + 2), f(v.w, j + 3);
		}
	} else {
#pragma unroll 2
		for (; j + 3 < n; j += 4 * THREADS) {
			float v0 = l[j], v1 = l[j + 1], v2 = l[j + 2], v3 = l[j + 3];
			f(v0, j), f(v1, j + 1), f(v2, j + 2), f(v3, j + 3);
		}
	}
	for (; j < n; j++) f(l[j], j);
}

// Top is the largest logit with its lowest id, and this thread's own largest.
struct Best { float top; int id; u32 mine; };

DEVICE Best survey(Shared &s, const float *l, int n) {
	float most = -INF;
	int at = 0;
	each(l, n, [&](float v, int j) {
		v = v > LARGEST ? LARGEST : v;
		if (v > most) most = v, at = j; // a NaN is never larger
	});
	u32 k = most == -INF ? 0 : key(most + 0.f);
	u64 all = block_max64(s, (u64)k << 32 | (u32)~at);
	return {all >> 32 ? value(all >> 32) : -INF, (int)~(u32)all, k};
}

// range is the smallest logit above -inf beside the largest.
DEVICE Stats range(Shared &s, const float *l, int n, float top) {
	u64 least = 0;
	each(l, n, [&](float v, int) {
		u32 k = key(tame(v));
		if (k > LOWEST) { u64 r = ~k; least = r > least ? r : least; }
	});
	least = block_max64(s, least);
	return {top, least ? value(~(u32)least) : top};
}

// Weigher gives the mass of a logit: 2^40 exp((v - top) / temperature).
struct Weigher {
	float top, inverse;
	__device__ __forceinline__ u64 operator()(float v) const {
		float w = v == top ? 1.f : expf((v - top) * inverse);
		return (u64)(w * 1099511627776.f);
	}
};

// nth finds, in the order of ids, the element at which the running sum of weigh exceeds `past`, or, where share is not
// negative, that share of the whole sum; -1 when it never does. weigh(j) is zero for what does not count. Chunks of 32 or
// more ids are summed by warps, then the chunks are scanned.
template <typename F> DEVICE int nth(Shared &s, int n, u64 past, double share, F weigh) {
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
	int chunk = ((n + THREADS - 1) / THREADS + 31) / 32 * 32, chunks = (n + chunk - 1) / chunk;
	__syncthreads();
	for (int c = warp; c < chunks; c += THREADS / 32) {
		u64 sum = 0;
#pragma unroll 4
		for (int j = c * chunk + lane; j < min(n, (c + 1) * chunk); j += 32) sum += weigh(j);
#pragma unroll
		for (int i = 16; i > 0; i /= 2) sum += __shfl_xor_sync(~0u, sum, i);
		if (lane == 0) s.mass[c] = sum;
	}
	if (threadIdx.x == 0) s.at = ~0u;
	__syncthreads();
	u64 mine = threadIdx.x < chunks ? s.mass[threadIdx.x] : 0, before = mine;
	u64 total = block_scan(s, before);
	if (share >= 0) past = min((u64)(share * (double)total), total - 1);
	if (before <= past && before + mine > past) { s.at = threadIdx.x; s.above = before; }
	__syncthreads();
	if (s.at == ~0u) return -1;
	int first = s.at * chunk;
	u64 sum = s.above;
	__syncthreads();
	if (warp == 0) {
		for (int j = first; j < first + chunk; j += 32) {
			u64 v = j + lane < n ? weigh(j + lane) : 0, w = v;
#pragma unroll
			for (int i = 1; i < 32; i *= 2) { u64 o = __shfl_up_sync(~0u, w, i); if (lane >= i) w += o; }
			u32 over = __ballot_sync(~0u, sum + w > past);
			if (over) { if (lane == 0) s.at = j + __ffs(over) - 1; break; }
			sum += __shfl_sync(~0u, w, 31);
		}
	}
	__syncthreads();
	return s.at;
}

// gather lists, without order, every element that may be among the `want` largest: all that are no smaller than the
// want-th of the threads' own largest. It returns their number, 0 when they are too many, and in *sum what weigh makes of
// all elements together. want is at most THREADS; elements of key `floor` or less do not count.
template <typename W> DEVICE u32 gather(Shared &s, const float *l, int n, u32 mine, u32 want, u32 floor, W weigh, u64 *sum) {
	__syncthreads();
	if (threadIdx.x == 0) s.n = 0;
	u32 least = 0; // bit by bit, the largest key that `want` threads reach
	for (u32 bit = 1u << 31; bit; bit >>= 1)
		if (__syncthreads_count(mine >= (least | bit)) >= want) least |= bit;
	least = max(least, floor + 1);
	u64 all = 0;
	each(l, n, [&](float v, int j) {
		v = tame(v);
		u32 k = key(v);
		if (k <= floor) return;
		all += weigh(v);
		if (k < least) return;
		u32 at = atomicAdd(&s.n, 1u);
		if (at < LIST) s.ids[at] = j, s.keys[at] = k;
	});
	*sum = block_sum64(s, all);
	return s.n <= LIST ? s.n : 0;
}

// select finds the shortest prefix, within the prefix `in`, whose count reaches `count`, or, where count is 0, whose mass
// reaches the share p of the mass of `in`. Elements of key `floor` or less do not take part. The prefix may be all.
template <typename W> DEVICE Edge select(Shared &s, const float *l, int n, float top, Edge in, u32 floor, u32 count, float p, W weigh) {
	Stats st = range(s, l, n, top);
	u32 lo = max(floor + 1, in.key), hi = ~0u, aboveCount = 0;
	u64 above = 0, need = 0;
	float scale = BINS / (st.top - st.low);
	int shift = -1; // the first histogram is linear in the logit, later ones in the key
	for (;;) {
		__syncthreads();
		s.mass[threadIdx.x] = 0, s.count[threadIdx.x] = 0;
		if (threadIdx.x == 0) s.n = 0, s.lo = ~0u, s.hi = 0, s.bin = ~0u;
		__syncthreads();
		auto bin = [&](float v, u32 k) -> u32 {
			if (shift >= 0) return (hi - k) >> shift;
			return k == LOWEST ? BINS - 1 : (u32)fminf((st.top - v) * scale, BINS - 1);
		};
		for (int j = threadIdx.x; j < n; j += THREADS) {
			float v = tame(l[j]);
			u32 k = key(v);
			if (k < lo || k > hi || !in.holds(k, j)) continue;
			u32 b = bin(v, k);
			atomicAdd(&s.count[b], 1u);
			if (count == 0) atomicAdd(&s.mass[b], weigh(v));
		}
		__syncthreads();
		u64 mass = s.mass[threadIdx.x], c = s.count[threadIdx.x], m0 = mass, c0 = c;
		u64 total = block_scan(s, mass);
		block_scan(s, c);
		if (count == 0 && need == 0) need = max((u64)((double)p * (double)total), (u64)1); // the first histogram holds all of `in`
		bool reached = count ? c0 > 0 && aboveCount + c < count && aboveCount + c + c0 >= count
		                     : c0 > 0 && above + mass < need && above + mass + m0 >= need;
		if (reached) s.bin = threadIdx.x, s.above = above + mass, s.aboveCount = aboveCount + (u32)c;
		__syncthreads();
		u32 b = s.bin;
		if (b == ~0u) return in; // not reached: everything
		above = s.above, aboveCount = s.aboveCount;
		bool few = s.count[b] <= LIST;
		__syncthreads();
		u32 least = ~0u, most = 0;
		for (int j = threadIdx.x; j < n; j += THREADS) {
			float v = tame(l[j]);
			u32 k = key(v);
			if (k < lo || k > hi || !in.holds(k, j) || bin(v, k) != b) continue;
			if (few) {
				u32 at = atomicAdd(&s.n, 1u);
				s.ids[at] = j, s.keys[at] = k;
			}
			least = min(least, k), most = max(most, k);
		}
		if (most) atomicMin(&s.lo, least), atomicMax(&s.hi, most);
		__syncthreads();
		lo = s.lo, hi = s.hi;
		if (few) break;
		if (lo == hi) { // equal logits: the lowest ids come first
			u64 one = count ? 1 : max(weigh(value(lo)), (u64)1), want = count ? count - aboveCount : (need - above + one - 1) / one;
			int id = nth(s, n, want - 1, -1, [&](int j) -> u64 { return key(tame(l[j])) == lo && in.holds(lo, j); });
			return {lo, id < 0 ? n : id};
		}
		shift = 0;
		while ((hi - lo) >> shift >= BINS) shift++;
	}
	// The boundary lies among a few: each thread ranks one of them, then adds up what stands before it.
	u32 total = s.n, mine = threadIdx.x < total ? s.keys[threadIdx.x] : 0, id = threadIdx.x < total ? s.ids[threadIdx.x] : 0;
	u32 before = 0;
	u64 sum = 0;
	if (threadIdx.x < total) {
		for (u32 i = 0; i < total; i++) {
			u32 k = s.keys[i];
			if (k > mine || k == mine && s.ids[i] < id) before++;
		}
		s.mass[before] = count ? 1 : weigh(value(mine));
		s.count[before] = threadIdx.x;
	}
	__syncthreads();
	sum = threadIdx.x < total ? s.mass[threadIdx.x] : 0;
	u64 own = sum;
	__syncthreads();
	block_scan(s, sum);
	u64 start = count ? aboveCount : above, goal = count ? count : need;
	if (threadIdx.x == 0) s.at = total - 1;
	__syncthreads();
	if (threadIdx.x < total && start + sum < goal && start + sum + own >= goal) s.at = threadIdx.x;
	__syncthreads();
	u32 at = s.count[s.at];
	return {s.keys[at], (int)s.ids[at]};
}

// penalise applies bias, penalties and mask in place.
DEVICE void penalise(float *l, const Row &r) {
	for (int i = threadIdx.x; i < r.biases; i += THREADS) l[r.bias[i]] = tame(l[r.bias[i]]) + r.by[i];
	__syncthreads();
	for (int i = threadIdx.x; i < r.tokens; i += THREADS) {
		Count c = r.counts[i];
		float v = tame(l[c.token]);
		if (r.repetition > 0 && c.prompt + c.output > 0) v = v > 0 ? v / r.repetition : v * r.repetition;
		if (c.output > 0) v = v - r.presence - __fmul_rn(r.frequency, (float)c.output);
		l[c.token] = v;
	}
	__syncthreads();
	for (int i = threadIdx.x; i < r.masks; i += THREADS) l[r.masked[i]] = -INF;
	__syncthreads();
}

// few draws from the elements that gather listed: `listed` of them, `sum` the mass of all elements. -1 when they may not
// hold the whole choice. Each thread ranks one element in the order of likelihood, then in the order of ids.
DEVICE int few(Shared &s, const Row &r, u32 listed, u64 sum, Weigher weigh) {
	bool here = threadIdx.x < listed;
	u32 k = here ? s.keys[threadIdx.x] : 0, id = here ? s.ids[threadIdx.x] : 0, rank = 0;
	for (u32 i = 0; here && i < listed; i++) {
		u32 other = s.keys[i];
		rank += other > k || other == k && s.ids[i] < id;
	}
	u64 mass = here ? weigh(value(k)) : 0;
	__syncthreads();
	s.mass[threadIdx.x] = 0;
	__syncthreads();
	if (here) s.mass[rank] = mass;
	__syncthreads();
	u64 before = s.mass[threadIdx.x], own = before;
	u64 whole = block_scan(s, before);
	u32 keep = r.topk > 0 && r.topk < listed ? r.topk : listed;
	if (threadIdx.x == keep - 1) s.above = before + own; // the mass of top-k
	__syncthreads();
	bool top = r.topk > 0;
	u64 base = top ? s.above : sum, need = r.topp > 0 && r.topp < 1 ? max((u64)((double)r.topp * (double)base), (u64)1) : ~(u64)0;
	if (!top && whole < need) return -1; // the nucleus reaches beyond the list
	__syncthreads();
	s.mass[threadIdx.x] = before; // by rank: the mass before it
	__syncthreads();
	bool in = here && rank < keep && s.mass[rank] < need;
	if (r.minp > 0 && rank > 0 && mass < (u64)1 << 40) in = in && expf((value(k) - weigh.top) * weigh.inverse) >= r.minp;
	u64 mine = in ? mass : 0;
	u64 total = block_sum64(s, mine);
	__syncthreads();
	s.mass[threadIdx.x] = mine;
	if (threadIdx.x == 0) s.at = s.ids[0];
	__syncthreads();
	u64 past = min((u64)(r.u * (double)total), total - 1), low = 0;
	for (u32 i = 0; here && i < listed; i++) low += s.ids[i] < id ? s.mass[i] : 0;
	if (mine > 0 && low <= past && low + mine > past) s.at = id;
	__syncthreads();
	return s.at;
}

constexpr u32 NUCLEUS = 256; // elements that top-p tries first

// draw chooses a token from l.
DEVICE int draw(Shared &s, const float *l, int n, const Row &r) {
	Best best = survey(s, l, n);
	if (best.top == -INF) return 0;
	if (r.temperature <= 0) return best.id;
	Weigher weigh = {best.top, 1.f / r.temperature};
	bool topk = r.topk > 0 && r.topk < n, topp = r.topp > 0 && r.topp < 1;
	u32 want = topk ? r.topk : topp ? NUCLEUS : 0;
	if (want > 0 && want <= THREADS) {
		u64 sum = 0;
		u32 listed = topk ? gather(s, l, n, best.mine, want, LOWEST, [](float) { return (u64)0; }, &sum)
		                  : gather(s, l, n, best.mine, want, LOWEST, weigh, &sum);
		int id = listed > 0 ? few(s, r, listed, sum, weigh) : -1;
		if (id >= 0) return id;
	}
	Edge keep = {LOWEST + 1, n};
	if (topk) keep = select(s, l, n, best.top, keep, LOWEST, r.topk, 0, weigh);
	if (topp) keep = select(s, l, n, best.top, keep, LOWEST, 0, r.topp, weigh);
	// min-p compares with the largest probability, which is weight 1: a bound on the weight alone.
	int id = nth(s, n, 0, r.u, [&](int j) -> u64 {
		float v = tame(l[j]);
		u32 k = key(v);
		if (k <= LOWEST || !keep.holds(k, j)) return 0;
		if (r.minp > 0 && v < best.top && expf((v - best.top) * weigh.inverse) < r.minp) return 0;
		return weigh(v);
	});
	return id < 0 ? best.id : id;
}

// score fills what the raw logits say: the largest, the sum of weights relative to it, and the likeliest `listed`.
DEVICE void score(Shared &s, const float *l, int n, const Row &r, Out *out) {
	Best best = survey(s, l, n);
	float sum = 0;
	each(l, n, [&](float v, int) {
		v = tame(v);
		sum += v == best.top ? 1.f : expf(v - best.top);
	});
	sum = lane_sum(sum);
	__syncthreads();
	if (threadIdx.x % 32 == 0) s.part[threadIdx.x / 32] = __float_as_uint(sum);
	__syncthreads();
	sum = lane_sum(__uint_as_float((u32)s.part[threadIdx.x % 32]));
	int listed = min(r.logprobs, n);
	if (threadIdx.x == 0) out->top = best.top, out->sum = sum, out->listed = listed;
	if (listed == 0) return;
	Edge edge = {0, n};
	if (listed < n) {
		u64 none;
		u32 found = listed <= THREADS ? gather(s, l, n, best.mine, listed, 0, [](float) { return (u64)0; }, &none) : 0;
		if (found >= listed) {
			bool here = threadIdx.x < found;
			u32 k = here ? s.keys[threadIdx.x] : 0, id = here ? s.ids[threadIdx.x] : 0, rank = 0;
			for (u32 i = 0; here && i < found; i++) rank += s.keys[i] > k || s.keys[i] == k && s.ids[i] < id;
			if (here && rank < listed) r.tops[rank] = {(int)id, value(k)};
			__syncthreads();
			return;
		}
		edge = select(s, l, n, best.top, edge, 0, listed, 0, Weigher{best.top, 1.f});
	}
	__syncthreads();
	if (threadIdx.x == 0) s.n = 0;
	__syncthreads();
	for (int j = threadIdx.x; j < n; j += THREADS) {
		float v = tame(l[j]);
		if (edge.holds(key(v), j)) {
			u32 at = atomicAdd(&s.n, 1u);
			if (at < listed) r.tops[at] = {j, v};
		}
	}
	__syncthreads();
}

KERNEL void __launch_bounds__(THREADS, 1) sample(const __grid_constant__ Sample a) {
	__shared__ Shared s;
	__shared__ Row r;
	pdl_launch();
	pdl_wait();
	int n = a.logits.cols;
	float *l = a.logits.row(blockIdx.x);
	Out *out = a.out + blockIdx.x;
	if (threadIdx.x < sizeof(Row) / 4) ((u32 *)&r)[threadIdx.x] = ((const u32 *)(a.rows + blockIdx.x))[threadIdx.x];
	__syncthreads();
	int token = r.forced;
	bool scored = r.logprobs >= 0, penalised = r.biases + r.tokens + r.masks > 0;
	const float *raw = l;
	if (scored) score(s, l, n, r, out);
	if (token < 0) {
		if (penalised) {
			if (scored) {
				for (int j = threadIdx.x; j < n; j += THREADS) r.raw[j] = l[j];
				raw = r.raw;
				__syncthreads();
			}
			penalise(l, r);
		}
		token = draw(s, l, n, r);
	}
	if (scored) {
		float v = tame(raw[token]);
		u64 above = 0;
		each(raw, n, [&](float x, int) { above += tame(x) > v; });
		above = block_sum64(s, above);
		if (threadIdx.x == 0) out->logit = v, out->rank = 1 + (int)above;
	}
	if (threadIdx.x == 0) {
		out->token = token;
		if (r.slot >= 0) a.last[r.slot] = token;
	}
}
