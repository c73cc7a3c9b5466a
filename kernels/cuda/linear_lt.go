package cuda

import (
	"fmt"
	"path/filepath"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// library is cuBLASLt beside the own kernels: found at run time, used where tuning found it faster, or everywhere.
type library struct {
	lt     *driver.Lt
	always bool
	plans  map[planKey]*driver.Plan
	shapes map[[2]int][]*weight // the weights of a shape, of all layers
	tuned  *tuned
}

// planKey is the shape of a product to the library.
type planKey struct{ out, n, in, strideX, strideDst, pick int }

const (
	ltWorkspace = 32 << 20 // bytes of the scratch memory
	mostPlans   = 1 << 12  // of some kilobytes each; products beyond stay with the own kernels
	ltAligned   = 256      // bytes, what its heuristics assume of every matrix
)

// pythonFolders are where Python packages lie, of which some hold NVIDIA's libraries.
var pythonFolders = []string{"/usr/lib/python3*/*-packages", "/usr/local/lib/python3*/*-packages", "/opt/*/lib/python3*/site-packages"}

// openLibrary finds cuBLASLt. Where it is missing auto does without, and an explicit choice of it is an error.
func openLibrary(o Options) (*library, error) {
	if o.Gemm == "own" || o.Act != kernels.BF16 || o.Invariant && o.Gemm != "cublaslt" {
		return nil, nil
	}
	var roots []string
	for _, pattern := range pythonFolders {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		roots = append(roots, found...)
	}
	lt, err := driver.OpenLt(roots)
	if err != nil {
		if o.Gemm == "cublaslt" {
			return nil, err
		}
		return nil, nil
	}
	return &library{lt: lt, always: o.Gemm == "cublaslt", plans: map[planKey]*driver.Plan{}, shapes: map[[2]int][]*weight{}}, nil
}

func (l *library) close() {
	for _, p := range l.plans {
		if p != nil {
			p.Close()
		}
	}
	l.plans = nil
}

// name is what the backend's name says of it.
func (l *library) name() string {
	if l == nil {
		return "own"
	}
	if l.always {
		return fmt.Sprintf("cublaslt %d", l.lt.Version)
	}
	return fmt.Sprintf("own+cublaslt %d", l.lt.Version)
}

// library queues a product on cuBLASLt, plain or added, if that is to do it.
func (b *Backend) library(p product) bool {
	if !b.prefersLibrary(p) || p.form == swiglu || p.bias != 0 || !ltFits(p) {
		return false
	}
	l, pick := b.gemm.lib, 0
	if !l.always {
		pick = b.choose(p)
	}
	plan := l.plan(p, pick, b.mem.scratch)
	if plan == nil {
		return false
	}
	b.list.body = append(b.list.body, plan.Op(p.dst.p, p.x.p, p.w.at, p.form == add))
	return true
}

// prefersLibrary reports whether cuBLASLt, with a kernel of ours behind it for the fused forms, is to do a product.
func (b *Backend) prefersLibrary(p product) bool {
	l := b.gemm.lib
	return l != nil && b.gemm.only == 0 && p.x.rows > 0 && (l.always || b.choose(p) >= 0)
}

// ltFits reports whether the library's assumptions hold.
func ltFits(p product) bool {
	return p.x.p%ltAligned == 0 && p.dst.p%ltAligned == 0 && p.w.at%ltAligned == 0 && p.w.in%8 == 0 && p.w.out%8 == 0 &&
		p.x.aligned(16, 2) && p.dst.aligned(16, 4)
}

// plan is the plan for p that runs as the tuned candidate does, or nil when the library has none.
func (l *library) plan(p product, pick int, workspace driver.Ptr) *driver.Plan {
	n := int(p.x.rows)
	key := planKey{p.w.out, n, p.w.in, strideOf(p.x), strideOf(p.dst), pick}
	if known, ok := l.plans[key]; ok {
		return known
	}
	if len(l.plans) >= mostPlans {
		return nil
	}
	plan, err := l.lt.NewPlan(key.out, key.n, key.in, key.strideX, key.strideDst, ltWorkspace)
	if err != nil || plan.Found == 0 {
		l.plans[key] = nil // this shape is not for the library
		return nil
	}
	plan.Pick(0, workspace, ltWorkspace)
	if size := bucket(n); pick > 0 && n != size {
		model := key
		model.n, model.strideX, model.strideDst = size, key.in, key.out
		if as := l.candidate(model, workspace); as != nil {
			plan.Follow(as)
		}
	} else if pick < plan.Found {
		plan.Pick(pick, workspace, ltWorkspace)
	}
	l.plans[key] = plan
	return plan
}

// candidate is the plan that was timed under key, or nil.
func (l *library) candidate(key planKey, workspace driver.Ptr) *driver.Plan {
	if known, ok := l.plans[key]; ok {
		return known
	}
	plan, err := l.lt.NewPlan(key.out, key.n, key.in, key.strideX, key.strideDst, ltWorkspace)
	if err != nil || plan.Found <= key.pick {
		l.plans[key] = nil
		return nil
	}
	plan.Pick(key.pick, workspace, ltWorkspace)
	l.plans[key] = plan
	return plan
}

// strideOf is a view's stride, or what it would be where one row makes it meaningless.
func strideOf(v view) int {
	if v.rows == 1 {
		return int(v.cols)
	}
	return int(v.stride)
}
