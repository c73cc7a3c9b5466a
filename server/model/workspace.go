package model

import (
	"fmt"

	"radish/kernels"
)

// Workspace is the memory of one step. Its arenas are shared by tensors that are never alive together: the act arena
// holds first the normed rows, then attention's answer, then the normed rows and the feed-forward's middle behind them;
// the wide arena holds queries, keys and values, then gate and up.
type Workspace struct {
	ids              kernels.Buffer
	x, delta         kernels.Tensor // [rows x Hidden] F32
	added            bool           // delta is in x already
	cos, sin         kernels.Tensor // [rows x Dim/2] F32
	acts, wides      kernels.Buffer
	rowsX, rowsDelta kernels.Tensor // [logits x Hidden] F32
	rowsAct          kernels.Tensor // [logits x Hidden] act
	logits           kernels.Tensor // [logits x Vocab] F32
	room             Room
	bytes            int64
}

// Room is what a step has room for: Rows rows, and Logits rows whose logits exist at one time (0: LogitRows). Scoring a
// long prompt works through slices of Logits rows; a device that reads the whole output head for each slice wants them
// large.
type Room struct{ Rows, Logits int }

func (r Room) logits() int {
	if r.Logits > 0 {
		return r.Logits
	}
	return LogitRows
}

// arena is one allocation of a Workspace.
type arena struct {
	dtype      kernels.DType
	rows, cols int
}

func (a arena) bytes() int64 { return int64(a.rows) * int64(a.cols) * int64(a.dtype.Size()) }

// arenas lists the allocations for steps of that room; Plan adds them up and NewWorkspace makes them.
func (s *Spec) arenas(act kernels.DType, room Room) [10]arena {
	rows, logits := room.Rows, room.logits()
	f, h, half := kernels.F32, s.Hidden, s.Heads.Dim/2
	q := s.Heads.Q * s.Heads.Dim
	return [10]arena{
		{kernels.I32, rows, 1},
		{f, rows, h}, {f, rows, h},
		{f, rows, half}, {f, rows, half},
		{act, rows, max(q, h+s.Inter)},
		{f, rows, max(2*s.Inter, q+s.qkvRows())},
		{f, logits, h}, {f, logits, h},
		{act, logits, h},
	}
}

// NewWorkspace reserves memory for the steps that fit room.
func (m *Model) NewWorkspace(room Room) (*Workspace, error) {
	ws := &Workspace{room: room}
	var tensors [11]kernels.Tensor
	list := m.spec.arenas(m.b.Act(), room)
	for i, a := range append(list[:], arena{kernels.F32, room.logits(), m.spec.Vocab}) {
		buf, err := m.b.Alloc(a.dtype, a.rows*a.cols)
		if err != nil {
			return nil, fmt.Errorf("allocate workspace of %d rows: %w", room.Rows, err)
		}
		tensors[i] = kernels.Whole(buf, a.rows, a.cols)
		ws.bytes += a.bytes()
	}
	ws.ids = tensors[0].Buf
	ws.x, ws.delta = tensors[1], tensors[2]
	ws.cos, ws.sin = tensors[3], tensors[4]
	ws.acts, ws.wides = tensors[5].Buf, tensors[6].Buf
	ws.rowsX, ws.rowsDelta, ws.rowsAct, ws.logits = tensors[7], tensors[8], tensors[9], tensors[10]
	return ws, nil
}

// Rows is the most rows of a step.
func (ws *Workspace) Rows() int { return ws.room.Rows }

// LogitRows is the most rows that Logits takes.
func (ws *Workspace) LogitRows() int { return ws.room.logits() }

// Bytes is what was allocated.
func (ws *Workspace) Bytes() int64 { return ws.bytes }

// IDs is the [1 x n] I32 tensor that Forward reads the step's tokens from.
func (ws *Workspace) IDs(n int) kernels.Tensor { return kernels.Whole(ws.ids, 1, n) }

func (ws *Workspace) act(n, cols int) kernels.Tensor { return kernels.Whole(ws.acts, n, cols) }

// middle is the feed-forward's middle, behind the n x hidden rows that it is made from: one kernel may read them and
// write it.
func (ws *Workspace) middle(n, hidden, cols int) kernels.Tensor {
	t := ws.act(n, cols)
	t.Off = n * hidden
	return t
}

func (ws *Workspace) wide(n, cols int) kernels.Tensor { return kernels.Whole(ws.wides, n, cols) }

// pending is what the next norm is to add to the first n rows of x: absent when nothing is.
func (ws *Workspace) pending(n int) kernels.Tensor {
	if ws.added {
		return kernels.Tensor{}
	}
	return ws.delta.Head(n)
}

// projections splits the wide arena into queries, keys and values as projected, and the rotated queries after them.
func (ws *Workspace) projections(h kernels.Heads, n int) (qkv, q kernels.Tensor) {
	cols := (h.Q + 2*h.KV) * h.Dim
	qkv = ws.wide(n, cols)
	q = ws.wide(n, h.Q*h.Dim)
	q.Off = n * cols
	return qkv, q
}
