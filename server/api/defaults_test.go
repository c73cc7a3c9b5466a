package api

import (
	"net/http"
	"strings"
	"testing"

	"radish/server/engine"
)

// What a request does not say comes from the model's recommendation; what it says wins.
func TestSamplingDefaults(t *testing.T) {
	var seen []engine.Request
	w := newWorld(t, func(o *Options, _ *fakeRunner) {
		o.Engine = spy{o.Engine, &seen}
		o.Defaults = Sampling{Temperature: 0.5, TopP: 0.75, Repetition: 1.25, TopK: 20}
	})
	for _, body := range []string{
		`{"model":"tiny","prompt":"a","max_tokens":1}`,
		`{"model":"tiny","prompt":"a","max_tokens":1,"temperature":0,"top_p":1,"top_k":-1,"repetition_penalty":1}`,
	} {
		res, err := http.Post(w.URL+"/v1/completions", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", body, res.Status)
		}
	}
	type four struct {
		t, p, r float32
		k       int
	}
	for i, want := range []four{{0.5, 0.75, 1.25, 20}, {0, 1, 1, -1}} {
		p := seen[i].Params
		if got := (four{p.Temperature, p.TopP, p.Repetition, p.TopK}); got != want {
			t.Errorf("request %d: %+v, want %+v", i, got, want)
		}
	}
}
