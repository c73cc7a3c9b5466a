package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// maxLine bounds a line of a prompt file, and a conversation of a ShareGPT file, in bytes.
const maxLine = 4 << 20

// ReadWorkload reads JSONL, one {"prompt": "..."} or {"turns": ["...", ...]} a line, used in order and again from the
// start. Their number is bounded by MaxRequests.
func ReadWorkload(r io.Reader) (*Workload, error) {
	w := &Workload{Kind: File}
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for n := 1; in.Scan(); n++ {
		if strings.TrimSpace(in.Text()) == "" {
			continue
		}
		var line struct {
			Prompt string
			Turns  []string
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrOptions, n, err)
		}
		if line.Prompt != "" {
			line.Turns = append([]string{line.Prompt}, line.Turns...)
		}
		if len(line.Turns) == 0 {
			return nil, fmt.Errorf(`%w: line %d has neither "prompt" nor "turns"`, ErrOptions, n)
		}
		if err := w.append(line.Turns); err != nil {
			return nil, err
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read prompts: %w", err)
	}
	return w.read()
}

// ReadShareGPT reads a JSON array of {"conversations": [{"from": "human", "value": "..."}, ...]} and asks what the
// humans said, up to the given number of turns; conversations in which no human speaks are left out. They are shuffled
// by the seed.
func ReadShareGPT(r io.Reader, turns int, seed uint64) (*Workload, error) {
	if turns < 1 {
		return nil, fmt.Errorf("%w: %d turns", ErrOptions, turns)
	}
	w := &Workload{Kind: ShareGPT, Seed: seed}
	dec := json.NewDecoder(r)
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("%w: a ShareGPT file is a JSON array", ErrOptions)
	}
	for n := 1; dec.More(); n++ {
		var c struct {
			Conversations []struct{ From, Value string }
		}
		if err := dec.Decode(&c); err != nil {
			return nil, fmt.Errorf("%w: conversation %d: %w", ErrOptions, n, err)
		}
		var said []string
		for _, m := range c.Conversations {
			if (m.From == "human" || m.From == "user") && m.Value != "" && len(said) < turns {
				said = append(said, m.Value)
			}
		}
		if len(said) == 0 {
			continue
		}
		if err := w.append(said); err != nil {
			return nil, err
		}
	}
	rand.New(rand.NewPCG(seed, 0x73686172)).Shuffle(len(w.sessions), func(i, j int) {
		w.sessions[i], w.sessions[j] = w.sessions[j], w.sessions[i]
	})
	return w.read()
}

func (w *Workload) append(turns []string) error {
	if len(w.sessions) >= MaxRequests {
		return fmt.Errorf("%w: more than %d prompts", ErrOptions, MaxRequests)
	}
	w.sessions = append(w.sessions, turns)
	w.Turns = max(w.Turns, len(turns))
	return nil
}

func (w *Workload) read() (*Workload, error) {
	w.Prompts = len(w.sessions)
	if w.Prompts == 0 {
		return nil, fmt.Errorf("%w: no prompts", ErrOptions)
	}
	return w, nil
}
