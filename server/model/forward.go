package model

import "radish/kernels"

// Forward queues the pass of the n rows whose ids stand in ws.IDs(n), laid out as the last Begin said. It leaves the
// residual stream in ws for Logits and appends to kv.
func (m *Model) Forward(ws *Workspace, kv kernels.KV, n int) {
	b, s := m.b, m.spec
	b.Embed(ws.x.Head(n), m.embed, ws.IDs(n))
	cos, sin := ws.cos.Head(n), ws.sin.Head(n)
	b.Rotary(cos, sin, m.invFreq, 1)
	ws.added = true // the first norm has nothing to add
	for i := range m.layers {
		l := &m.layers[i]
		rope := kernels.Rope{
			Heads: s.Heads, QNorm: l.queryNorm, KNorm: l.keyNorm, Eps: s.Eps, Cos: cos, Sin: sin, Layer: i,
		}
		m.attention(ws, kv, l, rope)
		m.feedForward(ws, l, n)
	}
}

// attention queues the first half of a block; rope.Layer is its number.
func (m *Model) attention(ws *Workspace, kv kernels.KV, l *layer, rope kernels.Rope) {
	b, n := m.b, rope.Cos.Rows
	h := ws.act(n, m.spec.Hidden)
	b.RMSNorm(h, ws.x.Head(n), ws.pending(n), l.attnNorm, m.spec.Eps)
	qkv, q := ws.projections(m.spec.Heads, n)
	b.Linear(qkv, h, l.qkv, l.qkvBias)
	b.RopeAppend(q, qkv, kv, rope)
	a := ws.act(n, q.Cols) // h is not needed any more
	b.Attention(a, q, kv, kernels.Attn{
		Heads: rope.Heads, Scale: m.spec.attentionScale(), Window: l.window, Layer: rope.Layer,
	})
	m.project(ws, a, l.out, l.outBias)
}

// feedForward queues the second half of a block.
func (m *Model) feedForward(ws *Workspace, l *layer, n int) {
	b, s := m.b, m.spec
	h := ws.act(n, s.Hidden)
	b.RMSNorm(h, ws.x.Head(n), ws.pending(n), l.mlpNorm, s.Eps)
	mid := ws.middle(n, s.Hidden, s.Inter)
	if m.fused == nil || !m.fused.LinearSwiGLU(mid, h, l.gateUp, l.gateUpBias) {
		gateUp := ws.wide(n, 2*s.Inter)
		b.Linear(gateUp, h, l.gateUp, l.gateUpBias)
		b.SwiGLU(mid, gateUp)
	}
	m.project(ws, mid, l.down, l.downBias)
}

// project queues a product whose result goes to the residual stream: at once where the backend can, else to ws.delta for
// the next norm to add.
func (m *Model) project(ws *Workspace, in kernels.Tensor, w kernels.Weight, bias kernels.Tensor) {
	n := in.Rows
	ws.added = m.fused != nil && m.fused.LinearAdd(ws.x.Head(n), in, w, bias)
	if !ws.added {
		m.b.Linear(ws.delta.Head(n), in, w, bias)
	}
}

// Logits queues the logits [len(rows) x Vocab] F32 of some rows of the last Forward, at most ws.LogitRows of them. The
// answer is overwritten by the next call.
func (m *Model) Logits(ws *Workspace, rows []int32) kernels.Tensor {
	n := len(rows)
	x, d, h := ws.rowsX.Head(n), ws.rowsDelta.Head(n), ws.rowsAct.Head(n)
	m.b.Gather(x, ws.x, rows)
	if ws.added {
		d = kernels.Tensor{}
	} else {
		m.b.Gather(d, ws.delta, rows)
	}
	m.b.RMSNorm(h, x, d, m.norm, m.spec.Eps)
	logits := ws.logits.Head(n)
	m.b.Linear(logits, h, m.head, kernels.Tensor{})
	return logits
}
