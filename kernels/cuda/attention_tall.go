package cuda

import (
	"fmt"
	"math/bits"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// tallArgs is Tall in src/attn_hopper.cu.
type tallArgs struct {
	pages driver.TensorMap
	attentionArgs
	box int32
	_   [15]int32
}

// attendTall queues the tiles of sequences with many rows, and of prefixes that several sequences share.
func (b *Backend) attendTall(w *wave, k *kv, h kernels.Heads, layer int, args attentionArgs) {
	if w.tall.count == 0 {
		return
	}
	args.items = w.tall.at
	if m := b.boxes(k, h); m != nil {
		t := tallArgs{pages: m[layer], attentionArgs: args, box: int32(boxRows(k.shape.PageSize))}
		launch(b, fmt.Sprintf("attn_tall_%d", h.Dim), grid{x: b.card.SMs, threads: 384, shared: hopperShared(h.Dim)}, t)
		return
	}
	dim := padded(h.Dim)
	launch(b, fmt.Sprintf("attn_prefill_%d", dim), grid{x: w.tall.count * h.KV, threads: 256, shared: tallShared(dim)}, args)
}

// boxRows is how many positions the copy engine takes at a time: a page, or the part of it that fits a block of keys.
func boxRows(pageSize int) int { return min(pageSize, 128) }

// hopperShared is the shared memory of a block of attn_tall_*: queries, two stages of 128 keys and of their values,
// barriers, flags.
func hopperShared(dim int) int { return 5*128*dim*2 + 128 + 4*tileRows }

// boxes describes a pool's layers to the copy engine, or is nil where the kernels for Hopper do not fit: other heads, odd
// pages, an old driver.
func (b *Backend) boxes(k *kv, h kernels.Heads) []driver.TensorMap {
	size, rows := k.shape.PageSize, 2*int64(k.shape.Pages)*int64(k.shape.KVHeads)*int64(k.shape.PageSize)
	if !b.hopper() || h.Dim != 64 && h.Dim != 128 || size < 8 || bits.OnesCount(uint(size)) != 1 || rows >= 1<<31 || k.noBoxes {
		return nil
	}
	for i := len(k.boxes); i < k.shape.Layers; i++ {
		m, err := driver.NewTensorMap(k.layer(i).p, int(rows), h.Dim, h.Dim, boxRows(size), 64, driver.Swizzle128)
		if err != nil {
			k.noBoxes = true // a driver before 12.0: the kernel for all cards does it
			return nil
		}
		k.boxes = append(k.boxes, m)
	}
	return k.boxes
}
