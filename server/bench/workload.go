package bench

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// Workload says what is asked. Session(i) is a pure function of it.
type Workload struct {
	Kind    string  `json:"kind"`    // diverse, rag, multiturn or file
	Words   int     `json:"words"`   // of one prompt (multi-turn: of one turn); a word is 1 to 3 tokens
	Overlap float64 `json:"overlap"` // rag: share of a prompt that is the same in all
	Turns   int     `json:"turns"`
	Seed    uint64  `json:"seed"`

	prompts []string // of a file
}

// The kinds of workload that are generated.
const (
	Diverse   = "diverse"
	RAG       = "rag"
	MultiTurn = "multiturn"
	File      = "file"
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
	case Diverse:
	case RAG:
		if !(overlap >= 0.30 && overlap <= 0.95) {
			return nil, fmt.Errorf("%w: overlap %v is not in 0.30..0.95", ErrOptions, overlap)
		}
		w.Overlap = overlap
	case MultiTurn:
		w.Turns = turnsOfMultiTurn
	default:
		return nil, fmt.Errorf("%w: workload %q is not diverse, rag or multiturn", ErrOptions, kind)
	}
	return w, nil
}

// ReadWorkload reads prompts from JSONL, one {"prompt": "..."} a line, used in order and again from the start. Lines are
// bounded by 4 MiB and their number by MaxRequests.
func ReadWorkload(r io.Reader) (*Workload, error) {
	w := &Workload{Kind: File, Turns: 1}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 4<<20)
	for n := 1; in.Scan(); n++ {
		if strings.TrimSpace(in.Text()) == "" {
			continue
		}
		var line struct{ Prompt string }
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("read prompt of line %d: %w", n, err)
		}
		if line.Prompt == "" || len(w.prompts) >= MaxRequests {
			return nil, fmt.Errorf("%w: line %d has no prompt, or is one too many", ErrOptions, n)
		}
		w.prompts = append(w.prompts, line.Prompt)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read prompts: %w", err)
	}
	if len(w.prompts) == 0 {
		return nil, fmt.Errorf("%w: no prompts", ErrOptions)
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
	if w.Kind == File {
		return []string{w.prompts[i%len(w.prompts)]}
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
	return turns
}

// hashed is the number of sessions that are hashed and compared; a file is hashed whole.
const hashed = 256

// Hash identifies the workload: SHA-256 over its settings and its first 256 sessions, or all of a file's prompts.
func (w *Workload) Hash() string {
	h := sha256.New()
	enc := json.NewEncoder(h) // a hash never refuses a write
	_ = enc.Encode(w)
	for i := range max(hashed, len(w.prompts)) {
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
