package bench

import (
	"slices"
	"strings"
)

// Exchange is one request of a workload as text: the whole prompt with its history, and the answer where it is known.
type Exchange struct{ Prompt, Answer string }

// Overlap is how much of a workload's prompts an unlimited prefix cache would hold already, in bytes. It bounds what a
// cache of a real size, in pages of tokens, can save.
type Overlap struct {
	Requests int     `json:"requests"`
	Bytes    int     `json:"bytes"`           // of all prompts
	Shared   float64 `json:"shared"`          // share of them that an earlier prompt and answer begin with
	Rest     *Spread `json:"rest_bytes"`      // of a prompt, what is left to compute
	Whole    *Spread `json:"prompt_bytes"`    // of a prompt
	Distinct int     `json:"distinct_bytes"`  // that the cache holds in the end
	Hits     float64 `json:"requests_shared"` // share of requests that find at least half of their prompt
}

// MeasureOverlap takes requests in the order in which they were sent.
func MeasureOverlap(sent []Exchange) Overlap {
	o := Overlap{Requests: len(sent)}
	if len(sent) == 0 {
		return o
	}
	var rest, whole []float64
	hits, shared := 0, 0
	for i, n := range earlier(sent) {
		size := len(sent[i].Prompt)
		o.Distinct += size + len(sent[i].Answer) - n
		n = min(n, size)
		o.Bytes += size
		shared += n
		rest, whole = append(rest, float64(size-n)), append(whole, float64(size))
		if n*2 >= size && size > 0 {
			hits++
		}
	}
	o.Shared = float64(shared) / float64(max(1, o.Bytes))
	o.Rest, o.Whole = NewSpread(rest), NewSpread(whole)
	o.Hits = float64(hits) / float64(len(sent))
	return o
}

// earlier is, for each text (prompt and answer), the longest beginning that it shares with one before it. In sorted
// order the nearest relatives of a text are its neighbours; taking the texts out from the last to the first
// leaves exactly the earlier ones as neighbours. That is O(n log n) comparisons.
func earlier(sent []Exchange) []int {
	n := len(sent)
	texts, order := make([]string, n), make([]int, n)
	for i, a := range sent {
		texts[i], order[i] = a.Prompt+a.Answer, i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(texts[a], texts[b]) })
	before, after := make([]int, n), make([]int, n) // neighbours by index in texts; -1: none
	for k, i := range order {
		before[i], after[i] = -1, -1
		if k > 0 {
			before[i] = order[k-1]
		}
		if k < n-1 {
			after[i] = order[k+1]
		}
	}
	found := make([]int, n)
	for i := n - 1; i >= 0; i-- {
		a, b := before[i], after[i]
		if a >= 0 {
			found[i] = begin(texts[i], texts[a])
			after[a] = b
		}
		if b >= 0 {
			found[i] = max(found[i], begin(texts[i], texts[b]))
			before[b] = a
		}
	}
	return found
}

// begin is the length of the beginning that a and b share.
func begin(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// reuseSessions is how many sessions Reuse looks at.
const reuseSessions = 64

// Reuse is the share of its prompts that the workload implies to be cached once it runs: MeasureOverlap over its second
// sessions and later, without answers.
func (w *Workload) Reuse() float64 {
	first, sent := len(w.Session(0)), w.exchanges(min(reuseSessions, w.distinct()))
	shared, all := 0, 0
	for i, n := range earlier(sent) {
		if i >= first {
			shared += min(n, len(sent[i].Prompt))
			all += len(sent[i].Prompt)
		}
	}
	return float64(shared) / float64(max(1, all))
}
