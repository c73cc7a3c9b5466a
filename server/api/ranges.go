package api

import (
	"fmt"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// row bounds one field, on every route that has it: a number in [low, high] ((low, high] when above), or a string of at
// most high bytes.
type row struct {
	name      string
	low, high float64
	above     bool // low itself is out
}

const maxTokens = 1 << 24 // beyond any context; keeps sums far from overflow

// rows is the range table.
var rows = []row{
	{name: "max_tokens", low: 0, high: maxTokens},
	{name: "max_completion_tokens", low: 1, high: maxTokens},
	{name: "max_new_tokens", low: 0, high: maxTokens},
	{name: "min_tokens", low: 0, high: maxTokens},
	{name: "min_new_tokens", low: 0, high: maxTokens},
	{name: "temperature", low: 0, high: 2},
	{name: "top_p", low: 0, high: 1, above: true},
	{name: "top_k", low: -1, high: 1 << 20},
	{name: "min_p", low: 0, high: 1},
	{name: "repetition_penalty", low: 0, high: 2, above: true},
	{name: "presence_penalty", low: -2, high: 2},
	{name: "frequency_penalty", low: -2, high: 2},
	{name: "seed", low: math.MinInt64, high: math.MaxInt64},
	{name: "sampling_seed", low: math.MinInt64, high: math.MaxInt64},
	{name: "n", low: 1, high: 128},
	{name: "best_of", low: 1, high: 128},
	{name: "logprobs", low: 0, high: 20},
	{name: "top_logprobs", low: 0, high: 20},
	{name: "top_logprobs_num", low: 0, high: 20},
	{name: "logprob_start_len", low: -1, high: maxTokens},
	{name: "priority", low: -100, high: 100},
	{name: "rid", high: 256},
	{name: "cache_salt", high: 256},
	{name: "extra_key", high: 256},
	{name: "user", high: 4096},
	{name: "model", high: 1024},
}

// Bounds on lists.
const (
	maxStops      = 32
	maxStopBytes  = 512
	maxStopTokens = 256
	maxBiases     = 1024
	maxBias       = 100
	maxMessages   = 4096
	maxParts      = 1024
	maxKwargs     = 16
)

var rowsByName = func() map[string]row {
	m := map[string]row{}
	for _, r := range rows {
		m[r.name] = r
	}
	return m
}()

// rowOf is the row of a field; a string field without one is bounded by the body.
func rowOf(name string) row { return rowsByName[name] }

func (r row) holds(x float64) bool {
	return x <= r.high && (x > r.low || !r.above && x == r.low)
}

// String reads after "must be".
func (r row) String() string {
	if r.above {
		return fmt.Sprintf("above %g and at most %g", r.low, r.high)
	}
	return fmt.Sprintf("between %.0f and %.0f", r.low, r.high)
}

// refusals are fields that ask for what this server does not do. A value that asks for nothing (null, false, 0, an
// empty string, list or object) passes.
var refusals = []string{
	"suffix", "tools", "functions", "function_call", "json_schema", "regex", "ebnf", "structural_tag", "stop_regex",
	"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "custom_logit_processor",
	"custom_params", "logits_processors", "lora_path", "session_id", "session_params", "image_data", "audio_data",
	"video_data", "input_embeds", "audio", "prediction", "web_search_options", "continue_final_message",
	"chat_template", "use_beam_search", "length_penalty", "prompt_embeds", "token_ids_logprob", "bootstrap_host",
}

// refuse finds a field that asks for something unsupported.
func (o *object) refuse() {
	for _, name := range refusals {
		v, ok := o.raw(name)
		if !ok || asksNothing(v) {
			continue
		}
		if name == "tools" && o.choseNone() {
			continue
		}
		o.fail(name, "%s is not supported by this server", name)
	}
}

// choseNone reports tool_choice "none", which makes tools void.
func (o *object) choseNone() bool {
	v, ok := o.fields["tool_choice"]
	var choice string
	return ok && json.Unmarshal(v, &choice) == nil && choice == "none"
}

func asksNothing(v jsontext.Value) bool {
	switch string(v) {
	case "false", "0", `""`, "[]", "{}":
		return true
	}
	return false
}
