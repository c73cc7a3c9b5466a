// Package sched decides which sequences run in the next step. It owns the waiting and the running sequences, the
// prefix tree and the page pool; it has no goroutine and no clock, so that every decision can be replayed in a test.
//
// # A step
//
// Next fills one seq.Batch: a decode row for every running sequence that has its prompt behind it, then chunks of
// prompts, running ones first and newly admitted ones after them, within the token budget. The caller launches the
// batch, may call Next once more while it runs (two steps launched at most), reads the oldest step's rows with
// Oldest, appends what was sampled, and calls Collected.
//
// # Pages
//
// A sequence's leading pages may belong to the tree (found there, or inserted after each chunk), the rest is its own:
//
//	Pages  0          shared             len(Pages)
//	       |-- tree's --|-- the sequence's own --|
//
// The tree's are kept alive by a lock on the node that ends them. A page goes back to the pool, a lock and a slot are
// given back, only when no launched step refers to them: until then they hang on the record of that step. What a
// finished or retracted sequence computed goes to the tree first, up to the token; what a prefill computed goes there
// as whole pages as soon as its chunk is in a batch, because steps run in order.
//
// # Admission
//
// Admission takes the pages of the whole prompt and keeps a share (the ratio, SGLang's new_token_ratio) of what
// the running sequences may still generate, so the pool is over-committed, but boundedly. If it runs out all the
// same, the sequence that is cheapest to recompute is retracted: it goes to the front of the queue with its tokens.
// The oldest running sequence is never retracted and takes pages first, so one always proceeds, and New and Add refuse
// what could not run alone: there is no livelock.
//
// A sequence that does not fit is passed by smaller ones, but only so often; then admission waits for it.
//
// # Order
//
// Waiting sequences are in a heap. Ageing is part of the key: each admission after a sequence's arrival is
// worth as much to it as a fixed number of matched tokens, priority steps and so on. As all age alike, keys need not
// change with time, an order costs O(log n), and nobody is overtaken more than a bounded number of times. Keys that
// depend on the tree (lpm) or on the other waiting sequences (dfs-weight) are brought up to date a few per step, in
// turn: the work of a step does not grow with the queue, and lpm need not fall back to fcfs when it is long, as
// SGLang's does above 128.
//
// Of several sequences with the same uncached beginning one computes it; the others stay in the queue for as long as
// its chunks are in the batches, and then find it in the tree.
package sched
