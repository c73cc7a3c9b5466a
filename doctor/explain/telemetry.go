package explain

import (
	"strconv"
	"strings"
)

// Telemetry sums up the Prefill and Decode lines of a log.
type Telemetry struct {
	Lines        int64   `json:"lines"`
	PeakRunning  float64 `json:"peak_running"`     // requests
	PeakQueued   float64 `json:"peak_queued"`      // requests
	PeakUsage    float64 `json:"peak_token_usage"` // of the KV pool, 0 to 1
	MeanGen      float64 `json:"mean_gen_tok_s"`   // mean over the decode lines, tokens/s of all requests
	PeakGen      float64 `json:"peak_gen_tok_s"`
	NewTokens    float64 `json:"new_tokens"`
	CachedTokens float64 `json:"cached_tokens"`
	Glossary     []Term  `json:"glossary"` // of the fields that occur
}

// Term is one field of a telemetry line.
type Term struct {
	Field   string `json:"field"`
	Meaning string `json:"meaning"`
}

// glossary is in the order in which the fields stand on the lines.
var glossary = []Term{
	{"#new-seq", "requests whose prompt is computed in this step"},
	{"#new-token", "prompt tokens computed in this step; the fewer, the more came from the prefix cache"},
	{"#cached-token", "prompt tokens that the prefix cache already had"},
	{"#running-req", "requests that are generating"},
	{"#token", "tokens that the KV pool holds for running requests; not a batch size and not an output length"},
	{"token usage", "share of the KV pool in use, 0 to 1; above 0.9 is good use, not danger"},
	{"cuda graph", "True: the step was replayed from a recording; False: launched kernel by kernel, normal for prefill"},
	{"gen throughput", "generated tokens per second, all requests together"},
	{"input throughput", "prompt tokens per second"},
	{"#queue-req", "requests that wait; some under load are normal"},
	{"#pending-token", "prompt tokens that wait to be computed"},
	{"#prealloc-req", "requests with memory reserved, waiting for KV from a prefill server"},
	{"#inflight-req", "requests whose KV is on its way to a decode server"},
	{"accept len", "tokens per step with speculative decoding"},
	{"accept rate", "share of guessed tokens that were right"},
	{"#retracted-req", "requests put back because the pool was full; many of them cost speed"},
}

// tally gathers telemetry as it comes. Its size is constant.
type tally struct {
	Telemetry
	gens    float64
	genSum  float64
	present [32]bool
}

func (t *tally) add(line string) {
	t.Lines++
	for i, term := range glossary {
		t.present[i] = t.present[i] || hasField(line, term.Field)
	}
	t.PeakRunning = max(t.PeakRunning, field(line, "#running-req: "))
	t.PeakQueued = max(t.PeakQueued, field(line, "#queue-req: "))
	t.PeakUsage = max(t.PeakUsage, field(line, "token usage: "))
	t.NewTokens += field(line, "#new-token: ")
	t.CachedTokens += field(line, "#cached-token: ")
	gen := max(field(line, "gen throughput (token/s): "), field(line, "gen throughput: "))
	if gen > 0 {
		t.PeakGen = max(t.PeakGen, gen)
		t.gens++
		t.genSum += gen
	}
}

func (t *tally) summary() *Telemetry {
	if t.Lines == 0 {
		return nil
	}
	if t.gens > 0 {
		t.MeanGen = t.genSum / t.gens
	}
	for i, term := range glossary {
		if t.present[i] {
			t.Glossary = append(t.Glossary, term)
		}
	}
	return &t.Telemetry
}

// hasField: the name followed by a colon, or by its unit in brackets.
func hasField(line, name string) bool {
	i := strings.Index(line, name)
	if i < 0 {
		return false
	}
	rest := line[i+len(name):]
	return strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, " (")
}

// field is the number behind a name, 0 where there is none. What no server prints (negative, not finite) counts as 0.
func field(line, name string) float64 {
	i := strings.Index(line, name)
	if i < 0 {
		return 0
	}
	rest := line[i+len(name):]
	end := 0
	for end < len(rest) && end < 18 && (rest[end] >= '0' && rest[end] <= '9' || rest[end] == '.') {
		end++
	}
	v, err := strconv.ParseFloat(strings.TrimRight(rest[:end], "."), 64)
	if err != nil {
		return 0
	}
	return v
}
