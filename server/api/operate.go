package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"radish/server/engine"
	"radish/server/seq"
	"radish/server/token"
)

type modelBody struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Owner   string `json:"owned_by"`
	Root    string `json:"root"`
	Max     int    `json:"max_model_len"`
}

func (s *server) modelBody(id string) modelBody {
	return modelBody{id, "model", s.Model.Created.Unix(), "radish", s.Model.Name, s.Model.Context}
}

func (s *server) models(w http.ResponseWriter, _ *http.Request) {
	list := []modelBody{s.modelBody(s.Model.Name)}
	for _, a := range s.Model.Aliases {
		list = append(list, s.modelBody(a))
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": list})
}

func (s *server) oneModel(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/v1/models/")
	if !s.serves(name) {
		noModel(name).write(w)
		return
	}
	writeJSON(w, http.StatusOK, s.modelBody(name))
}

// tokenize answers {"prompt": "text"} with {"tokens", "count", "max_model_len"}; add_special_tokens is true by default.
func (s *server) tokenize(w http.ResponseWriter, r *http.Request) {
	o, e := s.readObject(w, r)
	if e == nil {
		e = s.model(o)
	}
	if e != nil {
		e.write(w)
		return
	}
	name := "prompt"
	if !o.has(name) {
		name = "text"
	}
	text, special := o.text(name), o.flag("add_special_tokens", true)
	if !o.has(name) {
		o.fail("prompt", "prompt is needed")
	}
	if o.err == nil && s.Tokenizer == nil {
		o.fail(name, "%v", errNoTokenizer)
	}
	if o.err != nil {
		o.err.write(w)
		return
	}
	ids, err := s.Tokenizer.Encode(text, token.EncodeOptions{AddSpecial: special})
	if err != nil {
		bad(name, "the text cannot be encoded: %v", err).write(w)
		return
	}
	if ids == nil {
		ids = []seq.Token{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"tokens": ids, "count": len(ids), "max_model_len": s.Model.Context})
}

// detokenize answers {"tokens": [ids]} with {"text"} (SGLang's name) and {"prompt"} (vLLM's).
func (s *server) detokenize(w http.ResponseWriter, r *http.Request) {
	o, e := s.readObject(w, r)
	if e == nil {
		e = s.model(o)
	}
	if e != nil {
		e.write(w)
		return
	}
	v, ok := o.raw("tokens")
	if !ok {
		o.fail("tokens", "tokens is needed")
	}
	skip := o.flag("skip_special_tokens", true)
	if o.err == nil && s.Tokenizer == nil {
		o.fail("tokens", "%v", errNoTokenizer)
	}
	var ids []seq.Token
	if o.err == nil {
		ids = s.ids(o, "tokens", v, maxTokens)
	}
	if o.err != nil {
		o.err.write(w)
		return
	}
	text := s.Tokenizer.Decode(ids, skip)
	writeJSON(w, http.StatusOK, map[string]any{"text": text, "prompt": text})
}

// pulse is ok, idle or stalled. A step that runs long is progress withheld only when it runs longer than a stall.
func (s *server) pulse() string {
	h := s.Engine.Heartbeat()
	switch {
	case h.Busy && max(h.StepAge, time.Since(h.Last)) > s.Limits.StallAfter:
		return "stalled"
	case h.Busy:
		return "ok"
	}
	return "idle"
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	status, pulse := http.StatusOK, s.pulse()
	if pulse == "stalled" {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, map[string]string{"status": pulse})
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.Engine.Stats().Draining:
		unavailable("draining").write(w)
	case s.pulse() == "stalled":
		unavailable("stalled").write(w)
	case s.Ready != nil && !s.Ready():
		unavailable("not ready").write(w)
	default:
		writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	}
}

// healthWait is SGLang's limit for /health_generate.
const healthWait = 20 * time.Second

// healthGenerate makes one token the way every request does.
func (s *server) healthGenerate(w http.ResponseWriter, r *http.Request) {
	ctx, stop := context.WithTimeout(r.Context(), healthWait)
	defer stop()
	st, err := s.Engine.Submit(engine.Request{Prompt: []seq.Token{0}, Domain: "health", Params: seq.Params{
		MaxTokens: 1, TopP: 1, Repetition: 1, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}})
	if err != nil {
		s.refused(err).write(w)
		return
	}
	defer st.Cancel()
	for {
		ev, err := st.Next(ctx)
		if err != nil || ev.Finish != nil && len(ev.Tokens) == 0 {
			unavailable("no token was made").write(w)
			return
		}
		if len(ev.Tokens) > 0 {
			writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
			return
		}
	}
}

// serverInfo is the facts that the operator's program listed, and counters; nothing else.
func (s *server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	out := maps.Clone(s.Info)
	if out == nil {
		out = map[string]any{}
	}
	st := s.Engine.Stats()
	tokens := st.Pages.Size * st.Pages.Total
	out["max_total_num_tokens"] = tokens
	out["internal_states"] = []map[string]any{{
		"last_gen_throughput": st.GenThroughput,
		"num_running_reqs":    st.Running,
		"num_queue_reqs":      st.Queued,
		"memory_usage":        map[string]any{"token_capacity": tokens},
	}}
	writeJSON(w, http.StatusOK, out)
}

func (s *server) modelInfo(w http.ResponseWriter, _ *http.Request) {
	out := maps.Clone(s.Model.Info)
	if out == nil {
		out = map[string]any{}
	}
	out["model_path"] = s.Model.Path
	out["served_model_name"] = s.Model.Name
	out["is_generation"] = true
	out["max_model_len"] = s.Model.Context
	writeJSON(w, http.StatusOK, out)
}

func (s *server) flush(w http.ResponseWriter, _ *http.Request) {
	err := s.Engine.Flush()
	switch {
	case errors.Is(err, engine.ErrBusy):
		(&Error{Status: http.StatusBadRequest, Code: "busy",
			Message: "the cache is not flushed: requests run or wait"}).write(w)
	case err != nil:
		s.refused(err).write(w)
	default:
		writeJSON(w, http.StatusOK, map[string]any{"success": true, "message": "cache flushed"})
	}
}

// abort ends the requests of one rid of the caller's key, or all.
func (s *server) abort(w http.ResponseWriter, r *http.Request) {
	o, e := s.readObject(w, r)
	if e != nil {
		e.write(w)
		return
	}
	rid, all := o.text("rid"), o.flag("abort_all", false)
	if rid == "" && !all {
		o.fail("rid", "rid is needed, or abort_all")
	}
	if o.err != nil {
		o.err.write(w)
		return
	}
	n := 0
	if all {
		n = s.Engine.AbortAll()
	} else {
		n = s.Engine.Abort(ownRID(r, rid))
	}
	writeJSON(w, http.StatusOK, map[string]any{"aborted": n})
}
