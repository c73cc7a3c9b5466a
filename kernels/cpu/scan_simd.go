//go:build amd64 && cgo && linux

package cpu

// #include "ops.h"
// static void scan_crest(const scans *s, float *out, const float *l, int n) { s->crest(out, l, n); }
// static void scan_weigh(const scans *s, double *sums, float *p, const float *l, int n, float top, float by) {
//   s->weigh(sums, p, l, n, top, by);
// }
// static void scan_masses(const scans *s, double *mass, const float *p, int n) { s->masses(mass, p, n); }
// static void scan_prune(const scans *s, double *sums, float *p, int n, float least) { s->prune(sums, p, n, least); }
// static int scan_within(const scans *s, int32_t *ids, const float *l, int n, float least, float most) {
//   return s->within(ids, l, n, least, most);
// }
// static int scan_more(const scans *s, const float *l, int n, float than) { return s->more(l, n, than); }
import "C"

import "unsafe"

// simdScans are the scans of scan.h.
type simdScans struct{ s *C.scans }

func (p pool) scans() scans { return simdScans{p.s} }

func cfloats(x []float32) *C.float { return (*C.float)(unsafe.SliceData(x)) }

func (s simdScans) crest(out, l []float32) {
	C.scan_crest(s.s, cfloats(out), cfloats(l), C.int(len(l)))
}

func (s simdScans) weigh(sums []float64, p, l []float32, top, by float32) {
	C.scan_weigh(s.s, (*C.double)(unsafe.SliceData(sums)), cfloats(p), cfloats(l), C.int(len(l)), C.float(top), C.float(by))
}

func (s simdScans) masses(mass []float64, p []float32) {
	C.scan_masses(s.s, (*C.double)(unsafe.SliceData(mass)), cfloats(p), C.int(len(p)))
}

func (s simdScans) prune(sums []float64, p []float32, least float32) {
	C.scan_prune(s.s, (*C.double)(unsafe.SliceData(sums)), cfloats(p), C.int(len(p)), C.float(least))
}

func (s simdScans) within(ids []int32, l []float32, least, most float32) int {
	return int(C.scan_within(s.s, (*C.int32_t)(unsafe.SliceData(ids)), cfloats(l), C.int(len(l)), C.float(least), C.float(most)))
}

func (s simdScans) more(l []float32, than float32) int {
	return int(C.scan_more(s.s, cfloats(l), C.int(len(l)), C.float(than)))
}
