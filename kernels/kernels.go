// Package kernels defines the operations that a model is made of, and the Backend that runs them on one device.
//
// Operations are destination first and queued: a call checks its arguments, appends work, and returns; Run executes
// what was queued, in order, and returns the first error. A backend may run the queue as one call into C (CPU) or as a
// captured graph (GPU). Wrong shapes are programming errors and panic; nothing read from a file or request reaches an
// operation unbounded.
//
// Contract of every backend: the result of a row depends on that row and its sequence alone, never on how many other
// rows share the operation, on chunking, or on which pages hold the sequence. This is what makes a prefix-cache hit
// answer exactly like a miss. A GPU backend may relax it outside its batch-invariant mode.
//
// Numbers: "act" below is the backend's activation type, BF16 or F32, chosen at construction; the residual stream,
// logits, norms' inner sums and softmax are always F32.
package kernels

import (
	"io"
	"time"
)

// DType is the type of a Buffer's elements.
type DType uint8

// The element types. F16 exists in files only; weights of it are converted on packing.
const (
	F32 DType = iota + 1
	BF16
	F16
	I32
)

// Size is the number of bytes of one element.
func (d DType) Size() int {
	switch d {
	case BF16, F16:
		return 2
	case F32, I32:
		return 4
	}
	return 0
}

func (d DType) String() string {
	switch d {
	case F32:
		return "float32"
	case BF16:
		return "bfloat16"
	case F16:
		return "float16"
	case I32:
		return "int32"
	}
	return "invalid"
}

// Buffer is device memory of one Backend.
type Buffer interface {
	DType() DType
	Len() int // elements
}

// Tensor is a row-major view of a Buffer: Rows x Cols elements, the rows Stride elements apart, the first at Off.
// The zero Tensor means "absent" where an operation allows it.
type Tensor struct {
	Buf                     Buffer
	Off, Rows, Cols, Stride int
}

// Whole views buf as rows x cols, densely.
func Whole(buf Buffer, rows, cols int) Tensor {
	return Tensor{Buf: buf, Rows: rows, Cols: cols, Stride: cols}
}

// Head is the first rows rows of t.
func (t Tensor) Head(rows int) Tensor { t.Rows = rows; return t }

// RowsFrom is rows rows of t beginning at row first.
func (t Tensor) RowsFrom(first, rows int) Tensor {
	t.Off += first * t.Stride
	t.Rows = rows
	return t
}

// ColsFrom is cols columns of t beginning at column first.
func (t Tensor) ColsFrom(first, cols int) Tensor {
	t.Off += first
	t.Cols = cols
	return t
}

// Absent reports whether t is the zero Tensor.
func (t Tensor) Absent() bool { return t.Buf == nil }

// Weight is a matrix [out x in] in the backend's own packed layout.
type Weight interface {
	Out() int
	In() int
	Bytes() int64
}

// Matrix is the source of (a part of) a Weight: Rows x Cols elements of DType, little endian, row-major.
type Matrix struct {
	DType      DType
	Rows, Cols int
	Data       io.ReaderAt
	Off        int64 // of the first byte in Data
}

// KV is the paged key-value memory of all layers.
type KV interface {
	Bytes() int64
	PageSize() int
}

// KVShape sizes a KV.
type KVShape struct {
	Layers, Pages, PageSize, KVHeads, HeadDim int
	DType                                     DType
}

// Ragged is the layout of one step: Seqs() sequences, whose new rows lie one after the other in every activation.
// Sequence i owns rows [RowStart[i], RowStart[i+1]), at positions Start[i], Start[i]+1, ..., and page table
// Pages[PageStart[i]:PageStart[i+1]] covering positions [0, Start[i]+rows).
type Ragged struct {
	RowStart, Start, PageStart, Pages []int32
}

// Seqs is the number of sequences in the step.
func (r *Ragged) Seqs() int { return len(r.Start) }

// NumRows is the number of rows in the step.
func (r *Ragged) NumRows() int { return int(r.RowStart[len(r.RowStart)-1]) }

// Heads is the attention geometry: Q query heads share KV key-value heads, Q a multiple of KV, Dim elements each.
type Heads struct{ Q, KV, Dim int }

// Rope rotates and stores: see Backend.RopeAppend.
type Rope struct {
	Heads        Heads
	QNorm, KNorm Tensor // [1 x Dim] F32, or absent; applied per head before the rotation (Qwen3)
	Eps          float32
	Cos, Sin     Tensor // [rows x Dim/2] F32, from Rotary
	Layer        int
}

// Attn is the rest of an attention call: see Backend.Attention.
type Attn struct {
	Heads  Heads
	Scale  float32
	Window int // positions seen, itself included; 0: all (Mistral's sliding window)
	Layer  int
}

// PageCopy copies the first Tokens positions of page Src to page Dst, all layers.
type PageCopy struct{ Src, Dst, Tokens int32 }

// Count is how often a token stands in a sequence's prompt and output.
type Count struct {
	Token          int32
	Prompt, Output int32
}

// SampleRow says how to choose a token from one row of logits. The order is: logprobs are taken from the raw logits;
// then bias, repetition, presence and frequency penalties, the mask; then temperature, top-k, top-p, min-p (each on what
// the one before left, renormalised), and a draw with the uniform number U. Ties go to the lower id.
//
// In detail: a penalised or biased logit is F32; repetition divides a positive logit and multiplies any other (0 and 1
// are off); top-k keeps exactly k; top-p keeps the fewest likeliest tokens whose sum reaches TopP (<= 0 and >= 1 are
// off); min-p keeps p >= MinP * the largest p; the draw takes the lowest id at which the sum of probabilities, in rising
// order of ids, exceeds U. A NaN counts as -Inf and is never chosen, +Inf counts as the largest F32, and when nothing is
// above -Inf the token is 0.
type SampleRow struct {
	Forced      int32 // >= 0: choose nothing, score this token; -1: sample
	Temperature float32
	TopK        int
	TopP, MinP  float32
	Repetition  float32
	Presence    float32
	Frequency   float32
	Counts      []Count // tokens of the sequence so far; needed only when a penalty is on
	BiasToken   []int32
	BiasValue   []float32
	Masked      []int32 // ids that may not be chosen
	U           float64 // [0,1)
	Logprobs    int     // -1: none, else also that many likeliest alternatives
}

// SampleOut is the choice for one row.
type SampleOut struct {
	Token   int32
	Logprob float32 // of Token under the raw logits; when asked for
	Rank    int32   // 1 + number of tokens with a larger raw logit; when asked for
	TopID   []int32
	TopLog  []float32
}

// Flight is a step that was handed to the device.
type Flight interface {
	// Wait returns when the step has ended, with its first error; what Sample was to choose is then known. Call it once.
	Wait() error
}

// Pipeline is a Backend that can take a step while the one before it still runs. Its Run is Submit and Wait.
type Pipeline interface {
	// Submit executes the queue and empties it without waiting for the end.
	Submit() (Flight, error)
}

// Clocked is a Backend that measures its device.
type Clocked interface {
	// Clock is how long the device worked on steps, and how long it waited between two that followed each other, since
	// the last call.
	Clock() (busy, idle time.Duration)
}

// Fused is what a Backend may offer beside its operations: a product together with what follows it. Each reports whether
// it took the product; when not, nothing was queued and the caller queues the two operations one after the other.
type Fused interface {
	// LinearAdd: dst [n x out] F32 += x [n x in] act times w transposed, plus bias [1 x out] F32 if present.
	LinearAdd(dst, x Tensor, w Weight, bias Tensor) bool
	// LinearSwiGLU: dst [n x m] act = silu(gate) * up, where gate and up are the first and the last m columns of x times w
	// [2m x in] transposed, plus bias [1 x 2m] F32 if present.
	LinearSwiGLU(dst, x Tensor, w Weight, bias Tensor) bool
}

// Backend runs operations on one device. A Backend is used by one goroutine at a time.
type Backend interface {
	// Name is a short description such as "cpu avx512-bf16 x2".
	Name() string
	// Act is the activation type that GEMM inputs are stored in.
	Act() DType
	// Alloc returns zeroed memory for n elements.
	Alloc(d DType, n int) (Buffer, error)
	// Pack reads the parts and stacks them by rows into one Weight (all parts have the same Cols). It keeps BF16 as
	// BF16 when Act is BF16, converts F16 and F32 to Act otherwise. Returns read errors.
	Pack(parts ...Matrix) (Weight, error)
	// NewKV reserves the pool; memory it does not touch yet need not be resident.
	NewKV(s KVShape) (KV, error)

	// Upload queues a copy of src ([]float32 or []int32, taken at the call) to dst, of the same element type.
	Upload(dst Tensor, src any)
	// Begin sets the layout of the step for Rotary, RopeAppend and Attention until the next Begin. r is copied.
	Begin(r *Ragged)
	// CopyPages queues the copies.
	CopyPages(kv KV, copies []PageCopy)
	// Resolve replaces each id -1-s in ids [1 x n] I32 by last[s] ([1 x slots] I32).
	Resolve(ids, last Tensor)
	// Embed gathers rows of table: dst [n x in] F32, ids [1 x n] I32.
	Embed(dst Tensor, table Weight, ids Tensor)
	// RMSNorm: if add is present, x += add first (x F32, add F32); then dst = x / rms(x) * weight. dst is act or F32;
	// weight [1 x cols] F32. (Zhang & Sennrich 2019.)
	RMSNorm(dst, x, add, weight Tensor, eps float32)
	// Linear: dst [n x out] F32 = x [n x in] act times w transposed, plus bias [1 x out] F32 if present.
	Linear(dst, x Tensor, w Weight, bias Tensor)
	// Rotary fills cos and sin [rows x Dim/2] F32 for the step's positions: angle = position * invFreq[j], each scaled
	// by scale. invFreq [1 x Dim/2] F32.
	Rotary(cos, sin, invFreq Tensor, scale float32)
	// RopeAppend takes qkv [rows x (Q+2*KV)*Dim] F32, applies the optional norms and the rotate-half rotation to queries
	// and keys, writes the queries to q [rows x Q*Dim] F32 and appends keys and values to kv.
	RopeAppend(q, qkv Tensor, kv KV, r Rope)
	// Attention: dst [rows x Q*Dim] act = causal softmax(scale * q k^T) v over each row's own sequence.
	Attention(dst, q Tensor, kv KV, a Attn)
	// SwiGLU: dst [n x m] act = silu(gateUp[:, :m]) * gateUp[:, m:], gateUp [n x 2m] F32.
	SwiGLU(dst, gateUp Tensor)
	// Gather copies rows: dst[i] = src[rows[i]], both of one type.
	Gather(dst, src Tensor, rows []int32)
	// Sample queues one choice for each row of logits [n x vocab] F32; out[i] is valid after Run. When slots is not nil,
	// the token of row i also goes to last[slots[i]] ([1 x slots] I32) unless slots[i] < 0. It may overwrite logits.
	Sample(out []SampleOut, logits Tensor, rows []SampleRow, last Tensor, slots []int32)
	// Download copies src to dst ([]float32, widening BF16, or []int32) after running what is queued.
	Download(dst any, src Tensor) error

	// Run executes the queue and empties it.
	Run() error
	// Close frees everything the backend holds, weights included.
	Close() error
}
