package bench

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Workload says what is asked. Session(i) is a pure function of it.
type Workload struct {
	Kind    string  `json:"kind"`    // diverse, rag, multiturn, json, file or sharegpt
	Words   int     `json:"words"`   // of one prompt (multi-turn: of one turn); a word is 1 to 3 tokens
	Overlap float64 `json:"overlap"` // rag: share of a prompt that is the same in all
	Turns   int     `json:"turns"`   // of the longest conversation
	Seed    uint64  `json:"seed"`
	Prompts int     `json:"prompts,omitempty"` // of a file: then they come again

	sessions [][]string // of a file
}

// The kinds of workload. File and ShareGPT are read, the others generated.
const (
	Diverse   = "diverse"
	RAG       = "rag"
	MultiTurn = "multiturn"
	JSON      = "json"
	File      = "file"
	ShareGPT  = "sharegpt"
)

// turnsOfMultiTurn is the length of a conversation.
const turnsOfMultiTurn = 5

// NewWorkload makes a generated workload of prompts with the given number of words. The overlap is of rag alone.
func NewWorkload(kind string, words int, overlap float64, seed uint64) (*Workload, error) {
	if words < 1 || words > MaxWords {
		return nil, fmt.Errorf("%w: %d words is not in 1..%d", ErrOptions, words, MaxWords)
	}
	w := &Workload{Kind: kind, Words: words, Turns: 1, Seed: seed}
	switch kind {
	case Diverse, JSON:
	case RAG:
		if !(overlap >= 0.30 && overlap <= 0.95) {
			return nil, fmt.Errorf("%w: overlap %v is not in 0.30..0.95", ErrOptions, overlap)
		}
		w.Overlap = overlap
	case MultiTurn:
		w.Turns = turnsOfMultiTurn
	default:
		return nil, fmt.Errorf("%w: workload %q is not diverse, rag, multiturn or json", ErrOptions, kind)
	}
	return w, nil
}

// words are made of syllables, so that no two prompts share more than chance, and tokenizers find them ordinary.
var syllables = strings.Fields("ba be bo da de do fa fi ga go ka ke ki la le lo ma me mi na ne no pa pe ra re ri sa se so ta te ti va vo za")

func words(rng *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		for range 2 {
			b.WriteString(syllables[rng.IntN(len(syllables))])
		}
	}
	return b.String()
}

// sharedStream is the random stream of the shared prefix; no session has this number.
const sharedStream = 1<<64 - 1

// Session returns the user's turns of conversation i: one for all but multi-turn.
func (w *Workload) Session(i int) []string {
	if w.sessions != nil {
		return w.sessions[i%len(w.sessions)]
	}
	rng := rand.New(rand.NewPCG(w.Seed, uint64(i)))
	turns := make([]string, w.Turns)
	shared := int(float64(w.Words)*w.Overlap + 0.5)
	for t := range turns {
		turns[t] = words(rng, w.Words-shared)
	}
	if shared > 0 {
		turns[0] = words(rand.New(rand.NewPCG(w.Seed, sharedStream)), shared) + " " + turns[0]
	}
	if w.Kind == JSON {
		turns[0] += jsonRequest
	}
	return turns
}

// jsonRequest ends a prompt of the json workload, and jsonFormat holds the answer to it.
const (
	jsonRequest = "\n\nDescribe this as a JSON record with a title, three tags and a score from 0 to 9."
	jsonFormat  = `{"type":"json_schema","json_schema":{"name":"record","strict":true,"schema":{"type":"object","properties":{` +
		`"title":{"type":"string","maxLength":40},"tags":{"type":"array","items":{"type":"string","maxLength":16},"minItems":3,"maxItems":3},` +
		`"score":{"type":"integer","minimum":0,"maximum":9}},"required":["title","tags","score"],"additionalProperties":false}}}`
)

// format is the response_format that every request of the workload asks for; nil: none.
func (w *Workload) format() json.RawMessage {
	if w != nil && w.Kind == JSON {
		return json.RawMessage(jsonFormat)
	}
	return nil
}

// hashed is the number of sessions that are hashed and compared; a file is hashed whole.
const hashed = 256

// Hash identifies the workload: SHA-256 over its settings and its first 256 sessions, or all of a file's prompts.
func (w *Workload) Hash() string {
	h := sha256.New()
	enc := json.NewEncoder(h) // a hash never refuses a write
	_ = enc.Encode(w)
	for i := range max(hashed, len(w.sessions)) {
		_ = enc.Encode(w.Session(i))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Shared measures how much of a prompt is the beginning of the one before it, in bytes: the mean over 256 neighbours.
func (w *Workload) Shared() float64 {
	sum := 0.0
	before := w.Session(0)[0]
	for i := 1; i <= hashed; i++ {
		p := w.Session(i)[0]
		n := 0
		for n < min(len(p), len(before)) && p[n] == before[n] {
			n++
		}
		sum += float64(n) / float64(len(p))
		before = p
	}
	return sum / hashed
}
