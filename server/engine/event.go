package engine

import "radish/server/seq"

// Request is what Submit takes. The engine keeps Prompt and the slices of Params: do not change them afterwards.
type Request struct {
	Key      string // the caller's name for it, for Abort; need not be unique, "" has none
	Prompt   []seq.Token
	Params   seq.Params // Stop need not hold the model's end-of-sequence ids: Config.EOS is added
	Domain   string     // cache domain: prefixes are shared only within one
	Uncached bool       // reads no prefix from the cache and leaves none there, as with Config.DisableRadix
	Priority int        // for the priority policy, higher first, clamped to [-100, 100]
}

// Reason is why a request ended.
type Reason uint8

// The four ends.
const (
	ReasonStop   Reason = iota + 1 // a stop token was sampled
	ReasonLength                   // MaxTokens or the context were reached
	ReasonAbort                    // cancelled, or the engine shut down
	ReasonError                    // Finish.Err says why
)

// String is the word that logs and metrics use.
func (r Reason) String() string {
	switch r {
	case ReasonStop:
		return "stop"
	case ReasonLength:
		return "length"
	case ReasonAbort:
		return "abort"
	case ReasonError:
		return "error"
	}
	return "none"
}

// Finish is the terminal event's cause.
type Finish struct {
	Reason Reason
	Stop   seq.Token // the token that ended it, when Reason is ReasonStop
	Err    error     // when Reason is ReasonError
}

// Event is what happened to a request since the event before. Its slices are valid until the next call of Next.
type Event struct {
	Tokens []seq.Scored // sampled tokens; a stop token that ends the request is the last of them
	Prompt []seq.Scored // scores of prompt tokens 1, 2, ..., when asked for
	Cached int          // prompt tokens taken from the prefix cache
	Finish *Finish      // set on the last event, and only there
}
