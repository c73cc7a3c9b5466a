//go:build amd64 && cgo && linux

// The worker pool: every worker walks the same list of operations and claims chunks of each by an atomic counter. The
// calling thread is worker 0. Workers spin briefly, then sleep in a futex, so that an idle pool costs nothing and an
// oversubscribed machine is not spun to death.
#define _GNU_SOURCE
#include "ops.h"
#include <cpuid.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_NS = 20000, SLOTS = 4 };

typedef struct { _Alignas(64) atomic_int next; } counter;

struct pool {
  int workers;
  const kernel *table;
  op *ops;
  int n;
  pthread_t *threads;
  char **scratch;
  counter claim[SLOTS];            // chunk counters, reused in turn: a slot is cleared one barrier before it is used again
  _Alignas(64) atomic_int arrived; // at the current barrier
  _Alignas(64) atomic_int phase;   // number of barriers passed
  _Alignas(64) atomic_int job;     // number of lists started; negative: stop
  atomic_int sleepers;
};

typedef struct { pool *p; int id, cpu; } seat;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

// await returns once *at differs from was: it spins for about SPIN_NS, then sleeps.
static void await(pool *p, atomic_int *at, int was) {
  int64_t until = 0;
  for (int i = 0; atomic_load_explicit(at, memory_order_acquire) == was; i++) {
    __builtin_ia32_pause();
    if (i % 64 != 63) continue;
    int64_t t = now();
    if (!until) until = t + SPIN_NS;
    if (t < until) continue;
    atomic_fetch_add(&p->sleepers, 1);
    if (atomic_load(at) == was) syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, was, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
  }
}

static void wake(pool *p, atomic_int *at) {
  if (atomic_load(&p->sleepers)) syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

static void barrier(pool *p) {
  int phase = atomic_load(&p->phase);
  if (atomic_fetch_add(&p->arrived, 1) == p->workers - 1) {
    atomic_store(&p->arrived, 0);
    atomic_store(&p->phase, phase + 1);
    wake(p, &p->phase);
  } else {
    await(p, &p->phase, phase);
  }
}

// walk runs the list as worker id. An operation of one chunk is worker 0's alone; a barrier stands between two
// operations unless both are.
static void walk(pool *p, int id) {
  // Copied: once the last barrier is passed, the caller may already write the next list.
  op *ops = p->ops;
  int slot = 0, n = p->n;
  for (int i = 0; i < n; i++) {
    op *o = &ops[i];
    if (o->chunks <= 1) {
      if (id == 0) p->table[o->kind](o->arg, 0, 1, p->scratch[0]);
    } else {
      atomic_int *next = &p->claim[slot].next;
      if (id == 0) atomic_store(&p->claim[(slot + 2) % SLOTS].next, 0);
      for (int c; (c = atomic_fetch_add(next, 1)) < o->chunks;) p->table[o->kind](o->arg, c, o->chunks, p->scratch[id]);
      slot = (slot + 1) % SLOTS;
    }
    if (o->chunks > 1 || i + 1 == n || ops[i + 1].chunks > 1) barrier(p);
  }
}

static void *work(void *arg) {
  seat s = *(seat *)arg;
  free(arg);
  if (s.cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(s.cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
  }
  for (int seen = 0;;) {
    await(s.p, &s.p->job, seen);
    seen = atomic_load(&s.p->job);
    if (seen < 0) return NULL;
    walk(s.p, s.id);
  }
}

void pool_run(pool *p, op *ops, int n) {
  int parallel = 0;
  for (int i = 0; i < n; i++) parallel |= ops[i].chunks > 1;
  if (p->workers == 1 || !parallel) {
    for (int i = 0; i < n; i++)
      for (int c = 0; c < ops[i].chunks; c++) p->table[ops[i].kind](ops[i].arg, c, ops[i].chunks, p->scratch[0]);
    return;
  }
  p->ops = ops, p->n = n;
  for (int i = 0; i < SLOTS; i++) atomic_store(&p->claim[i].next, 0);
  atomic_store(&p->job, (atomic_load(&p->job) + 1) & 0x3fffffff);
  wake(p, &p->job);
  walk(p, 0);
}

pool *pool_new(int workers, const int32_t *cpus, int path) {
  static const kernel *const paths[] = {path_avx512bf16, path_avx512, path_avx2};
  pool *p = aligned_alloc(64, sizeof *p);
  if (!p) return NULL;
  memset(p, 0, sizeof *p);
  p->workers = 1, p->table = paths[path];
  p->threads = calloc(workers, sizeof *p->threads);
  p->scratch = calloc(workers, sizeof *p->scratch);
  for (int i = 0; p->threads && p->scratch && i < workers; i++)
    if (!(p->scratch[i] = aligned_alloc(4096, SCRATCH))) workers = i;
  int made = 1;
  for (int i = 1; i < workers; i++) {
    seat *s = malloc(sizeof *s);
    if (!s) break;
    *s = (seat){p, i, cpus[i]};
    if (pthread_create(&p->threads[i], NULL, work, s)) {
      free(s);
      break;
    }
    made++;
  }
  p->workers = made;
  if (!p->scratch || !p->threads || !p->scratch[0] || made < workers) {
    pool_free(p);
    return NULL;
  }
  return p;
}

void pool_free(pool *p) {
  atomic_store(&p->job, -1);
  syscall(SYS_futex, &p->job, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
  for (int i = 1; i < p->workers; i++) pthread_join(p->threads[i], NULL);
  for (int i = 0; p->scratch && i < p->workers; i++) free(p->scratch[i]);
  free(p->scratch);
  free(p->threads);
  free(p);
}

const scans *scans_of(int path) {
  static const scans *const paths[] = {&scans_avx512bf16, &scans_avx512, &scans_avx2};
  return paths[path];
}

// cpu_paths is a bit per usable path: 1 avx512bf16, 2 avx512, 4 avx2.
int cpu_paths(void) {
  int set = 0;
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    set |= 4;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      set |= 2;
      if (__builtin_cpu_supports("avx512bf16")) set |= 1;
    }
  }
  return set;
}

int cpu_vendor_amd(void) {
  unsigned a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) && b == 0x68747541; // "Auth"enticAMD
}
