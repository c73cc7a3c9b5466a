package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"radish/server/engine"
)

// fullEngine refuses everything.
type fullEngine struct{ Engine }

func (fullEngine) Submit(engine.Request) (Stream, error) { return nil, engine.ErrQueueFull }
func (fullEngine) RetryAfter() time.Duration             { return 1500 * time.Millisecond }

// mistake is a request that must be refused.
type mistake struct {
	path, body string
	status     int
	param      string
}

func completion(field string) mistake { // param is the field's own name
	name, _, _ := strings.Cut(strings.TrimPrefix(field, `"`), `"`)
	return mistake{"/v1/completions", `{"prompt":"a",` + field + `}`, 400, name}
}

func chatField(field string) mistake {
	m := completion(field)
	m.path, m.body = "/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],`+field+`}`
	return m
}

func native(field, param string) mistake {
	return mistake{"/generate", `{"text":"a",` + field + `}`, 400, param}
}

func mistakes() []mistake {
	list := []mistake{
		{"/v1/completions", ``, 400, ""},
		{"/v1/completions", `null`, 400, ""},
		{"/v1/completions", `[]`, 400, ""},
		{"/v1/completions", `"x"`, 400, ""},
		{"/v1/completions", `{`, 400, ""},
		{"/v1/completions", `{"prompt":"a"} x`, 400, ""},
		{"/v1/completions", `{"prompt":"a","n":1,"n":2}`, 400, "n"},
		{"/v1/completions", `{"prompt":"a","x":{"b":1,"b":2}}`, 400, "b"},
		{"/v1/completions", "{\"prompt\":\"a\xff\"}", 400, ""},
		{"/v1/completions", `{"prompt":"\ud800"}`, 400, ""},
		{"/v1/completions", `{"prompt":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`, 400, ""},
		{"/v1/completions", `{"prompt":"` + strings.Repeat("a", 10<<20) + `"}`, 413, ""},
		{"/v1/completions", `{}`, 400, "prompt"},
		{"/v1/completions", `{"PROMPT":"a"}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":""}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[[]]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":7}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":["a",1]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[1,"a"]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[-1]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[258]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[1.5]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[99999999999999999999]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":"` + strings.Repeat("a", context4k) + `"}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":"` + strings.Repeat("a", context4k+1) + `"}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":"` + strings.Repeat("a", context4k-9) + `","max_tokens":10}`, 400, "max_tokens"},
		{"/v1/completions", `{"prompt":"a","model":"other"}`, 404, "model"},
		{"/v1/completions", `{"prompt":"a","model":7}`, 400, "model"},
		{"/v1/completions", `{"prompt":"a","stream_options":{"include_usage":true}}`, 400, "stream_options"},
		{"/v1/completions", `{"prompt":"a","stream":true,"stream_options":{"include_usage":1}}`, 400, "stream_options.include_usage"},
		{"/v1/completions", `{"prompt":"a","min_tokens":20,"max_tokens":10}`, 400, "min_tokens"},
		{"/v1/chat/completions", `{}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":[]}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":"hi"}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":["hi"]}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":[{"role":"king","content":"a"}]}`, 400, "messages.role"},
		{"/v1/chat/completions", `{"messages":[{"content":"a"}]}`, 400, "messages.role"},
		{"/v1/chat/completions", `{"messages":[{"role":"user"}]}`, 400, "messages.content"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":5}]}`, 400, "messages.content"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}`, 400, "messages.content.type"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"text"}]}]}`, 400, "messages.content.text"},
		{"/v1/chat/completions", `{"messages":[{"role":"tool","content":"a"}]}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + strings.Repeat("a", 5000) + `"}]}`, 400, "messages"},
		{"/generate", `{}`, 400, "text"},
		{"/generate", `{"text":"a","input_ids":[1]}`, 400, "text"},
		{"/generate", `{"text":["a"]}`, 400, "text"},
		{"/generate", `{"input_ids":["a"]}`, 400, "input_ids"},
		native(`"sampling_params":3`, "sampling_params"),
		native(`"sampling_params":{"max_new_tokens":-1}`, "sampling_params.max_new_tokens"),
		native(`"sampling_params":{"regex":"a+"}`, "sampling_params.regex"),
		native(`"return_logprob":true,"logprob_start_len":3`, "logprob_start_len"),
		native(`"lora_path":"x"`, "lora_path"),
		{"/tokenize", `{}`, 400, "prompt"},
		{"/tokenize", `{"prompt":5}`, 400, "prompt"},
		{"/detokenize", `{}`, 400, "tokens"},
		{"/detokenize", `{"tokens":"a"}`, 400, "tokens"},
		{"/detokenize", `{"tokens":[999999]}`, 400, "tokens"},
		{"/abort_request", `{}`, 400, "rid"},
		{"/nowhere", `{}`, 404, ""},
		{"/v1/models/x", `{}`, 405, ""},
	}
	for _, field := range []string{
		`"temperature":-1`, `"temperature":1e308`, `"temperature":1e999`, `"temperature":2.1`, `"temperature":"hot"`,
		`"top_p":0`, `"top_p":1.1`, `"top_k":-2`, `"top_k":2147483648`, `"top_k":1.5`, `"min_p":-0.1`, `"min_p":2`,
		`"repetition_penalty":0`, `"presence_penalty":3`, `"frequency_penalty":-3`, `"max_tokens":-1`,
		`"max_tokens":1e3`, `"max_tokens":99999999999999999999`, `"max_tokens":true`, `"min_tokens":-1`, `"n":0`,
		`"n":9`, `"n":16384`, `"best_of":2`, `"seed":1.5`, `"seed":1e30`, `"seed":"x"`, `"stop":5`, `"stop":[1]`,
		`"stop":["` + strings.Repeat("x", 513) + `"]`, `"stop":[` + strings.Repeat(`"a",`, 40) + `"a"]`,
		`"stop_token_ids":[-1]`, `"stop_token_ids":[1000]`, `"stop_token_ids":7`, `"logit_bias":[]`,
		`"logit_bias":{"x":1}`, `"logit_bias":{"5":101}`, `"logit_bias":{"5":"1"}`, `"logit_bias":{"99999":1}`,
		`"ignore_eos":1`, `"stream":"yes"`, `"echo":"yes"`, `"logprobs":21`, `"logprobs":-1`, `"suffix":"x"`,
		`"rid":"` + strings.Repeat("r", 257) + `"`, `"cache_salt":5`, `"priority":1000`, `"json_schema":"{}"`,
		`"custom_logit_processor":"x"`, `"response_format":{"type":"json_object"}`,
	} {
		list = append(list, completion(field))
	}
	for _, field := range []string{
		`"max_tokens":0`, `"max_completion_tokens":0`, `"logprobs":5`, `"top_logprobs":2`, `"top_logprobs":21`,
		`"tools":[{"type":"function","function":{"name":"f"}}]`, `"functions":[{"name":"f"}]`, `"modalities":["audio"]`,
		`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}`, `"response_format":"json"`,
		`"chat_template_kwargs":{"messages":"x"}`, `"chat_template_kwargs":{"thinking":[1]}`, `"chat_template":"{{x}}"`,
	} {
		list = append(list, chatField(field))
	}
	return list
}

// complaint is the documented shape of an error.
type complaint struct {
	Error struct {
		Message, Type string
		Param, Code   *string
	}
}

func TestMistakesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for i, m := range mistakes() {
		name := fmt.Sprintf("%d %s %.60s", i, m.path, m.body)
		res := w.post(t, m.path, m.body)
		data, _ := io.ReadAll(res.Body)
		var c complaint
		if err := json.Unmarshal(data, &c); err != nil || c.Error.Message == "" || c.Error.Type != "invalid_request_error" {
			t.Errorf("%s: not an error of OpenAI's shape: %.200s", name, data)
		}
		param := ""
		if c.Error.Param != nil {
			param = *c.Error.Param
		}
		param = strings.TrimPrefix(param, "stream_options.x")
		if res.StatusCode != m.status || param != m.param && !strings.HasPrefix(param, m.param+".") {
			t.Errorf("%s: %d param %q (%s), want %d %q", name, res.StatusCode, param, c.Error.Message, m.status, m.param)
		}
		if res.Header.Get("X-Should-Retry") != "false" || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", name, res.Header)
		}
	}
	if st := w.engine.Stats(); st.Requests.Submitted != 0 {
		t.Errorf("%d mistakes reached the engine", st.Requests.Submitted)
	}
	if res := w.post(t, "/v1/completions", `{"prompt":"a"}`); res.StatusCode != 200 {
		t.Errorf("afterwards: %s", res.Status)
	}
}

func TestMethodsAndTypes(t *testing.T) {
	w := newWorld(t, nil)
	res, err := http.Get(w.URL + "/v1/completions")
	if err != nil || res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %v %v", res.Status, err)
	}
	res, _ = http.Post(w.URL+"/v1/completions", "text/plain", strings.NewReader(`{"prompt":"a"}`))
	if res.StatusCode != 415 {
		t.Errorf("text/plain: %s", res.Status)
	}
}

// What is accepted without effect must be named; what asks for nothing must pass.
func TestHarmlessFieldsPass(t *testing.T) {
	w := newWorld(t, nil)
	res := w.post(t, "/v1/completions", `{"prompt":"a","user":"u","metadata":{},"store":false,"suffix":null,"tools":[],
		"best_of":1,"ignore_eos":true,"temperature":0.0,"seed":-5,"stop":[],"logit_bias":{"5":-100},"max_tokens":3}`)
	if got := strings.Join(res.Header.Values("X-Radish-Ignored"), " "); res.StatusCode != 200 || got != "metadata store" {
		t.Errorf("%s, ignored %q", res.Status, got)
	}
}

// admitting says at once that there is no room.
type admitting struct{ fullEngine }

func (admitting) Admits() error { return engine.ErrQueueFull }

// TestFullBeforeReading: where the queue is full a request is refused before its body is looked at, broken or not.
func TestFullBeforeReading(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *fakeRunner) { o.Engine = admitting{fullEngine{o.Engine}} })
	for _, path := range []string{"/v1/completions", "/v1/chat/completions", "/generate"} {
		res := w.post(t, path, `{"this is no JSON`)
		if res.StatusCode != 429 || res.Header.Get("Retry-After-Ms") != "1500" {
			t.Errorf("%s: %d %s", path, res.StatusCode, body(t, res))
		}
	}
}
