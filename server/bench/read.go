package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// ErrSchema says that a file is no result, or one of another version.
var ErrSchema = errors.New("not a result of this version")

// resultLimit bounds a result file, in bytes.
const resultLimit = 1 << 30

// ReadResult reads a result's JSON.
func ReadResult(in io.Reader) (*Result, error) {
	var r Result
	if err := json.NewDecoder(io.LimitReader(in, resultLimit)).Decode(&r); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	if r.Schema != Schema || r.Workload.Hash == "" {
		return nil, fmt.Errorf("read result: schema %d, not %d: %w", r.Schema, Schema, ErrSchema)
	}
	return &r, nil
}

// Raw are the latencies of each level's complete, measured answers.
type Raw map[int]*rawTimes

type rawTimes struct{ ttft, tpot, e2e []float64 }

// ReadRaw reads the raw file, one Request a line.
func ReadRaw(in io.Reader) (Raw, error) {
	raw := Raw{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, answerLimit)
	for n := 1; lines.Scan(); n++ {
		var r Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read raw records: line %d: %w", n, err)
		}
		if !r.Measured || r.Outcome != Complete {
			continue
		}
		if raw[r.Level] == nil {
			raw[r.Level] = &rawTimes{}
		}
		raw[r.Level].add(&r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read raw records: %w", err)
	}
	return raw, nil
}

func (t *rawTimes) add(r *Request) {
	ttft, tpot, e2e := r.latencies()
	t.e2e = append(t.e2e, e2e)
	if !math.IsNaN(ttft) {
		t.ttft = append(t.ttft, ttft)
	}
	if !math.IsNaN(tpot) {
		t.tpot = append(t.tpot, tpot)
	}
}

// of gives the times that a figure is made of; nil where there are none.
func (t *rawTimes) of(figure string) []float64 {
	if t == nil {
		return nil
	}
	switch figure {
	case "ttft_p50_seconds", "ttft_p99_seconds":
		return t.ttft
	case "tpot_p50_seconds", "tpot_p99_seconds":
		return t.tpot
	case "e2e_p50_seconds", "e2e_p99_seconds":
		return t.e2e
	}
	return nil
}
