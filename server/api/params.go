package api

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"radish/server/seq"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// sampling reads what all routes have in common into j.
func (s *server) sampling(o *object, j *job) {
	p, d := &j.params, s.Defaults
	p.Temperature = float32(o.number("temperature", float64(d.Temperature)))
	p.TopP = float32(o.number("top_p", float64(d.TopP)))
	p.TopK = int(o.whole("top_k", int64(d.TopK)))
	p.MinP = float32(o.number("min_p", 0))
	p.Repetition = float32(o.number("repetition_penalty", float64(d.Repetition)))
	p.Presence = float32(o.number("presence_penalty", 0))
	p.Frequency = float32(o.number("frequency_penalty", 0))
	p.IgnoreEOS = o.flag("ignore_eos", false)
	p.Bias = s.bias(o)
	p.Stop = s.stopTokens(o)
	p.Logprobs, p.PromptLogprobs = -1, -1
	j.output.stops = newStops(o.stops())
	j.output.keepStop = o.flag("no_stop_trim", false)
	j.output.skipSpecial = o.flag("skip_special_tokens", true)
	if s.Tokenizer == nil && len(j.output.stops.words) > 0 {
		o.fail("stop", "%v", errNoTokenizer)
	}
}

// seed reads a seed, or draws one.
func (o *object) seed(name string) uint64 {
	if !o.has(name) {
		o.used[name] = true
		return rand.Uint64()
	}
	return uint64(o.whole(name, 0))
}

// choices reads n and best_of, which may only repeat it.
func (s *server) choices(o *object) int {
	n := o.whole("n", 1)
	if n > int64(s.Limits.N) {
		o.fail("n", "n must be between 1 and %d", s.Limits.N)
	}
	if best := o.whole("best_of", n); best != n {
		o.fail("best_of", "best_of must equal n: nothing is ranked here")
	}
	return int(n)
}

// routing reads who asks: what may share a prefix, how urgent it is, and by which name it can be aborted.
func (o *object) routing(j *job) {
	j.salt, j.extra = o.text("cache_salt"), o.text("extra_key")
	j.uncached = !o.flag("cache_prompt", true)
	j.rid = o.text("rid")
	j.priority = int(o.whole("priority", 0))
}

// streaming reads stream and stream_options.
func (o *object) streaming(j *job) {
	j.output.stream = o.flag("stream", false)
	c := o.child("stream_options")
	if c == nil {
		return
	}
	if !j.output.stream {
		o.fail("stream_options", "stream_options needs stream to be true")
	}
	j.output.usage = c.flag("include_usage", false)
	j.output.usageAlways = c.flag("continuous_usage_stats", false)
	o.adopt(c)
}

// stops reads one stop string or a list of them.
func (o *object) stops() []string {
	v, ok := o.raw("stop")
	if !ok {
		return nil
	}
	items := []jsontext.Value{v}
	if v.Kind() == '[' {
		items = o.list("stop", v, maxStops)
	}
	var stops []string
	for _, item := range items {
		var stop string
		switch err := json.Unmarshal(item, &stop); {
		case err != nil || item.Kind() != '"':
			o.fail("stop", "stop must be a string or a list of strings")
		case len(stop) > maxStopBytes:
			o.fail("stop", "a stop string must have at most %d bytes", maxStopBytes)
		case stop != "":
			stops = append(stops, stop)
		}
	}
	return stops
}

func (s *server) stopTokens(o *object) []seq.Token {
	v, ok := o.raw("stop_token_ids")
	if !ok {
		return nil
	}
	return s.ids(o, "stop_token_ids", v, maxStopTokens)
}

// ids reads a list of token ids, each inside the vocabulary. Prompts of a hundred thousand ids come this way, so it makes
// no value of each.
func (s *server) ids(o *object, name string, v jsontext.Value, max int) []seq.Token {
	d := jsontext.NewDecoder(bytes.NewBuffer(v))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '[' {
		o.fail(name, "%s must be an array", name)
		return nil
	}
	ids := make([]seq.Token, 0, min(max, len(v)/4+1))
	for d.PeekKind() != ']' {
		item, err := d.ReadValue()
		if err != nil {
			o.fail(name, "%s must be an array", name)
			return nil
		}
		if len(ids) == max {
			o.fail(name, "%s must have at most %d items", name, max)
			return nil
		}
		id, err := strconv.ParseInt(string(item), 10, 32)
		if err != nil || !s.known(id) {
			o.fail(name, "%s has something that is not a token id of this model", name)
			return nil
		}
		ids = append(ids, seq.Token(id))
	}
	return ids
}

// known reports whether id is in the vocabulary.
func (s *server) known(id int64) bool {
	return id >= 0 && id < int64(s.vocab())
}

func (s *server) vocab() int {
	if s.Tokenizer != nil {
		return s.Tokenizer.VocabSize()
	}
	return s.Model.Vocab
}

// bias reads logit_bias: {"token id": -100..100}.
func (s *server) bias(o *object) []seq.Bias {
	v, ok := o.raw("logit_bias")
	if !ok {
		return nil
	}
	var m map[string]jsontext.Value
	if json.Unmarshal(v, &m) != nil {
		o.fail("logit_bias", "logit_bias must be an object of token ids and numbers")
	}
	if len(m) > maxBiases {
		o.fail("logit_bias", "logit_bias must have at most %d entries", maxBiases)
		return nil
	}
	var biases []seq.Bias
	for name, value := range m {
		id, err := strconv.ParseInt(name, 10, 32)
		x, err2 := strconv.ParseFloat(string(value), 32)
		if err != nil || !s.known(id) {
			o.fail("logit_bias", "logit_bias has a key that is not a token id of this model")
		} else if err2 != nil || value.Kind() != '0' || x < -maxBias || x > maxBias {
			o.fail("logit_bias", "logit_bias must have values between -%d and %d", maxBias, maxBias)
		}
		biases = append(biases, seq.Bias{Token: seq.Token(id), Value: float32(x)})
	}
	slices.SortFunc(biases, func(a, b seq.Bias) int { return int(a.Token) - int(b.Token) })
	return biases
}

// format refuses every response_format but text, by its own name.
func (o *object) format() {
	c := o.child("response_format")
	if c == nil {
		return
	}
	if t := c.text("type"); c.err == nil && t != "text" {
		o.fail("response_format", "response_format %s is not supported by this server, only text", printable(t))
	}
	o.adopt(c)
}

// model checks the model's name; an absent one means the model that is served.
func (s *server) model(o *object) *Error {
	name := o.text("model")
	if o.err != nil {
		return o.err
	}
	if name == "" || s.serves(name) {
		return nil
	}
	return noModel(name)
}

func (s *server) serves(name string) bool {
	return name == s.Model.Name || slices.Contains(s.Model.Aliases, name)
}

func noModel(name string) *Error {
	return &Error{Status: 404, Param: "model", Code: "model_not_found",
		Message: "the model " + strconv.Quote(strings.ToValidUTF8(name[:min(len(name), 256)], "")) + " does not exist"}
}
