package kerneltest

import (
	"math"
	"testing"

	"radish/kernels"
	"radish/kernels/ref"
)

func TestRefAgainstItself(t *testing.T) {
	for _, d := range []kernels.DType{kernels.F32, kernels.BF16} {
		t.Run(d.String(), func(t *testing.T) {
			oracle := func(*testing.T) kernels.Backend { return ref.New(d) }
			Run(t, oracle)
		})
	}
}

func TestRefIsInvariant(t *testing.T) {
	Invariant(t, func(*testing.T) kernels.Backend { return ref.New(kernels.BF16) })
}

func BenchmarkRef(b *testing.B) {
	Bench(b, func(*testing.B) kernels.Backend { return ref.New(kernels.F32) })
}

// faulty is the oracle with one operation wrong: fault says how.
type faulty struct {
	kernels.Backend
	fault string
}

func (f *faulty) Resolve(ids, last kernels.Tensor) {
	if f.fault == "resolve off by one" && last.Cols > 1 {
		last = last.ColsFrom(1, last.Cols-1)
		defer func() { recover() }() // the last slot is now out of range
	}
	f.Backend.Resolve(ids, last)
}

func (f *faulty) Upload(dst kernels.Tensor, src any) {
	if v, ok := src.([]float32); ok && f.fault == "upload drops the last row" && dst.Rows > 1 {
		dst.Rows--
		src = v[:dst.Rows*dst.Cols]
	}
	f.Backend.Upload(dst, src)
}

func (f *faulty) Gather(dst, src kernels.Tensor, rows []int32) {
	if f.fault == "gather drops the last row" && len(rows) > 5 {
		rows, dst = rows[:len(rows)-1], dst.Head(len(rows)-1)
	}
	f.Backend.Gather(dst, src, rows)
}

func (f *faulty) Embed(dst kernels.Tensor, table kernels.Weight, ids kernels.Tensor) {
	f.Backend.Embed(dst, table, ids)
	if f.fault == "embed beside the view" && dst.Stride > dst.Cols {
		f.Backend.Upload(kernels.Tensor{Buf: dst.Buf, Off: dst.Off + dst.Cols, Rows: 1, Cols: 1, Stride: 1}, []float32{0})
	}
}

func (f *faulty) RMSNorm(dst, x, add, weight kernels.Tensor, eps float32) {
	switch f.fault {
	case "rmsnorm forgets eps":
		eps = 0
	case "rmsnorm does not add":
		add = kernels.Tensor{}
	}
	f.Backend.RMSNorm(dst, x, add, weight, eps)
}

func (f *faulty) Linear(dst, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) {
	switch {
	case f.fault == "linear forgets the bias":
		bias = kernels.Tensor{}
	case f.fault == "linear skips the last of 17 rows" && x.Rows == 17:
		dst, x = dst.Head(16), x.Head(16)
	case f.fault == "linear varies with the batch" && x.Rows > 16:
		f.Backend.Linear(dst, x, w, bias)
		v := make([]float32, dst.Cols)
		_ = f.Backend.Download(v, dst.Head(1))
		v[0] = math.Nextafter32(v[0], 1e9)
		f.Backend.Upload(dst.Head(1), v)
		return
	}
	f.Backend.Linear(dst, x, w, bias)
}

func (f *faulty) SwiGLU(dst, gateUp kernels.Tensor) {
	f.Backend.SwiGLU(dst, gateUp)
	if f.fault == "swiglu changes its input" && gateUp.Rows > 1 {
		f.Backend.Upload(gateUp.Head(1).ColsFrom(0, 1), []float32{0})
	}
}

func (f *faulty) Rotary(cos, sin, invFreq kernels.Tensor, scale float32) {
	if f.fault == "rotary forgets the scale" {
		scale = 1
	}
	f.Backend.Rotary(cos, sin, invFreq, scale)
}

func (f *faulty) RopeAppend(q, qkv kernels.Tensor, kv kernels.KV, r kernels.Rope) {
	switch f.fault {
	case "rope forgets the key's norm":
		r.KNorm = kernels.Tensor{}
	case "rope writes to the wrong layer":
		r.Layer = 0
	}
	f.Backend.RopeAppend(q, qkv, kv, r)
}

func (f *faulty) Attention(dst, q kernels.Tensor, kv kernels.KV, a kernels.Attn) {
	if f.fault == "attention sees one position too many" && a.Window > 1 {
		a.Window++
	}
	if f.fault == "attention has a wrong scale" {
		a.Scale *= 1.1
	}
	f.Backend.Attention(dst, q, kv, a)
}

func (f *faulty) CopyPages(kv kernels.KV, copies []kernels.PageCopy) {
	if f.fault == "copy leaves the last position" {
		copies = append([]kernels.PageCopy(nil), copies...)
		copies[0].Tokens--
	}
	f.Backend.CopyPages(kv, copies)
}

func (f *faulty) Pack(parts ...kernels.Matrix) (kernels.Weight, error) {
	if f.fault == "pack swaps parts" && len(parts) > 1 {
		parts = append([]kernels.Matrix(nil), parts...)
		parts[0], parts[1] = parts[1], parts[0]
	}
	return f.Backend.Pack(parts...)
}

func (f *faulty) Sample(out []kernels.SampleOut, logits kernels.Tensor, rows []kernels.SampleRow, last kernels.Tensor, slots []int32) {
	rows = append([]kernels.SampleRow(nil), rows...)
	for i := range rows {
		r := &rows[i]
		switch f.fault {
		case "sample ignores the temperature":
			r.Temperature = min(r.Temperature, 0) + 1
		case "sample ignores penalties":
			r.Counts = nil
		case "sample ignores the mask":
			r.Masked = nil
		case "sample gives one alternative less":
			r.Logprobs = max(r.Logprobs-1, -1)
		case "sample draws from the other end":
			r.U = 1 - r.U
		}
	}
	if f.fault == "sample does not fill slots" {
		slots = nil
	}
	f.Backend.Sample(out, logits, rows, last, slots)
	if f.fault == "sample prefers the higher id" && rows[0].Temperature == 0 && rows[0].Forced < 0 {
		out[0].Token = highest(f.Backend, logits, out[0].Token)
	}
}

// highest is the last id whose logit equals that of id.
func highest(b kernels.Backend, logits kernels.Tensor, id int32) int32 {
	v := make([]float32, logits.Cols)
	_ = b.Download(v, logits.Head(1))
	for i, l := range v {
		if l == v[id] {
			id = int32(i)
		}
	}
	return id
}

// TestFaultsAreFound plants one fault after the other; Run's check of that name must find it.
func TestFaultsAreFound(t *testing.T) {
	for fault, name := range map[string]string{
		"resolve off by one":                   "Resolve",
		"upload drops the last row":            "UploadDownload",
		"gather drops the last row":            "Gather",
		"embed beside the view":                "Embed",
		"rmsnorm forgets eps":                  "RMSNorm",
		"rmsnorm does not add":                 "RMSNorm",
		"linear forgets the bias":              "Linear",
		"linear skips the last of 17 rows":     "Linear",
		"swiglu changes its input":             "SwiGLU",
		"rotary forgets the scale":             "Rotary",
		"rope forgets the key's norm":          "Attention",
		"rope writes to the wrong layer":       "Attention",
		"attention sees one position too many": "Attention",
		"attention has a wrong scale":          "Attention",
		"copy leaves the last position":        "CopyPages",
		"pack swaps parts":                     "Pack",
		"sample ignores the temperature":       "SampleDistribution",
		"sample ignores penalties":             "Sample",
		"sample ignores the mask":              "SampleOddLogits",
		"sample gives one alternative less":    "SampleScores",
		"sample draws from the other end":      "Sample",
		"sample does not fill slots":           "Sample",
		"sample prefers the higher id":         "SampleOddLogits",
	} {
		t.Run(fault, func(t *testing.T) {
			for _, c := range checks {
				if c.name != name {
					continue
				}
				err := judge(&faulty{Backend: ref.New(kernels.F32), fault: fault}, c, 3)
				if err == nil {
					t.Errorf("%s does not notice: %s", name, fault)
				}
				t.Log(err)
				return
			}
			t.Fatalf("no check %q", name)
		})
	}
}

func TestInvariantFindsDependenceOnTheBatch(t *testing.T) {
	err := invariant(&faulty{Backend: ref.New(kernels.F32), fault: "linear varies with the batch"}, miniatures[0], 3)
	if err == nil {
		t.Error("a last-bit change of one logit in large batches goes unnoticed")
	}
	t.Log(err)
}
