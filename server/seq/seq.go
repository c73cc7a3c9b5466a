// Package seq holds the nouns that every room of the server shares: a Token, a Page of the KV pool, the sampling
// Params of a request, the Seq that a request becomes, and the Batch of ragged rows that one step computes.
// It has no behaviour beyond keeping its own numbers honest.
//
// The lengths of a sequence are one family:
//
//	0          Cached       Computed        len(Tokens)   len(Tokens)+Pending
//	|-- reused --|-- computed --|-- to compute --|-- launched, id not yet read --|
//
// Cached counts prompt tokens only and never changes after the first admission. Computed counts positions whose key
// and value stand in Pages or are being written by a launched step.
package seq

import "time"

// Token is an index into the model's vocabulary.
type Token int32

// Page is the number of a page of the KV pool: PageSize consecutive positions of one sequence, in all layers.
type Page int32

// ID names a sequence for the life of a process; zero is never used.
type ID uint64

// Bias is added to the logit of one token before sampling.
type Bias struct {
	Token Token
	Value float32
}

// Params says how the tokens of one sequence are chosen and when it ends. The zero value of every penalty means
// none, except Repetition and TopP, whose neutral value is 1.
type Params struct {
	MaxTokens   int     // most tokens to generate, >= 0 (0: score the prompt only)
	MinTokens   int     // stop tokens are masked before that many were generated
	Temperature float32 // 0: greedy
	TopK        int     // <= 0: off
	TopP        float32 // (0,1], 1: off
	MinP        float32 // [0,1), 0: off
	Repetition  float32 // > 0, 1: off; over prompt and output (CTRL, Keskar et al. 2019)
	Presence    float32 // OpenAI's: over output only
	Frequency   float32 // OpenAI's: over output only
	Seed        uint64  // with the position, the whole state of the random stream
	Bias        []Bias
	Stop        []Token // ids that end the sequence, the model's end-of-sequence ids included
	IgnoreEOS   bool    // generate to MaxTokens whatever Stop holds

	Logprobs       int // -1: none, 0: of the chosen token, n: and of the n likeliest
	PromptLogprobs int // -1: none; >= 0 scores the prompt and therefore reads nothing from the prefix cache
}

// Seq is one request inside the engine. Only the engine's own goroutine touches it.
type Seq struct {
	ID       ID
	Domain   string // cache domain: prefixes are shared only within one
	Uncached bool   // reads no prefix from the cache and leaves none there
	Priority int    // higher runs first under the priority policy
	Arrived  time.Time
	Params   Params

	Tokens   []Token // the prompt, then everything generated and read back; append-only
	Prompt   int     // length of the prompt, >= 1
	Cached   int     // prompt tokens found in the prefix cache at first admission
	Computed int     // positions computed or launched
	Pending  int     // sampled on the device, not read back yet: 0, 1, or 2 while two steps are launched
	Pages    []Page  // pages of positions [0, len(Pages)*PageSize)
	Slot     int     // the runner's state index while running, -1 otherwise
	Retracts int     // how often the sequence lost its pages to others
}

// Generated is the number of tokens produced and read back so far.
func (s *Seq) Generated() int { return len(s.Tokens) - s.Prompt }

// PageCopy copies the first Tokens positions of page Src to page Dst before the step computes anything.
type PageCopy struct {
	Src, Dst Page
	Tokens   int
}

// Row is one sequence's share of a step: N consecutive positions beginning at Start.
type Row struct {
	ID    ID
	Slot  int    // 0 <= Slot < the runner's MaxSeqs
	Fresh *Fresh // set when the slot begins to serve this sequence (again)

	// Tokens at positions Start, Start+1, ...; len N. Nil means: N is 1 and the token is the one that the slot
	// sampled last, which may still be on the device.
	Tokens []Token
	Start  int
	N      int
	Pages  []Page // page table of [0, Start+N); read by the runner until the step is collected

	Sample  bool    // sample the token that follows position Start+N-1
	Targets []Token // when the prompt is scored: the tokens after each position, len N or (at the prompt's end) N-1
}

// Fresh is what the runner must know of a sequence to sample for it.
type Fresh struct {
	Params  Params
	History []Token // tokens so far, for the penalties: the prompt, then what was generated before a retraction
	Prompt  int     // how many of them are the prompt
}

// Batch is one step: any mix of prefill chunks and decode rows.
type Batch struct {
	Step   uint64
	Copies []PageCopy
	Rows   []Row
}

// Tokens is the number of positions that the batch computes.
func (b *Batch) Tokens() int {
	n := 0
	for i := range b.Rows {
		n += b.Rows[i].N
	}
	return n
}

// Scored is a token with its natural-log probability after temperature-free softmax of the raw logits, and the
// likeliest alternatives in falling order, as many as Params asked for.
type Scored struct {
	Token   Token
	Logprob float32
	Rank    int // 1: the likeliest; 0 when not asked for
	Top     []Alternative
}

// Alternative is a likely token at a position.
type Alternative struct {
	Token   Token
	Logprob float32
}

// Output is what a step made for one row of its batch, in the batch's order; rows that neither sampled nor scored
// have none.
type Output struct {
	ID      ID
	Sampled bool
	Next    Scored   // when Sampled; Logprob and Top only if asked for
	Prompt  []Scored // one for each of Row.Targets
}

// Result is what Collect returns for one launched batch.
type Result struct {
	Step    uint64
	Outputs []Output
	Device  time.Duration // time the device was busy with the step
}
