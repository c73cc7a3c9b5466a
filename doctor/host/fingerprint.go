package host

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// askWait bounds all questions to a listener whose owner cannot be seen.
const askWait = 700 * time.Millisecond

// question is a path, and the field of the JSON answer by which one server is known.
type question struct{ path, field, server string }

var questions = []question{
	{"/get_model_info", "model_path", "an sglang or radish server"},
	{"/api/version", "version", "ollama"},
	{"/version", "version", "vLLM"},
	{"/api", "version", "Jupyter"},
}

// fingerprint says what answers HTTP at base, "" if nothing that is known does. It asks this machine only, follows no
// redirect and sends nothing but GET.
func fingerprint(ctx context.Context, base string) string {
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true}}
	answers := make([]string, len(questions)+1)
	var all sync.WaitGroup
	for i, q := range questions {
		all.Go(func() { answers[i] = byField(ctx, c, base, q) })
	}
	all.Go(func() { answers[len(questions)] = byHeader(ctx, c, base) })
	all.Wait()
	for _, a := range answers {
		if a != "" {
			return a
		}
	}
	return ""
}

func byField(ctx context.Context, c *http.Client, base string, q question) string {
	res, err := get(ctx, c, base+q.path)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var fields map[string]any
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&fields) != nil {
		return ""
	}
	if _, ok := fields[q.field].(string); !ok {
		return ""
	}
	return q.server
}

// byHeader reads the Server header of the front page.
func byHeader(ctx context.Context, c *http.Client, base string) string {
	res, err := get(ctx, c, base+"/")
	if err != nil {
		return ""
	}
	res.Body.Close()
	name := res.Header.Get("Server")
	switch {
	case strings.HasPrefix(name, "TornadoServer"):
		return "Jupyter (" + name[:min(len(name), 40)] + ")"
	case name != "":
		return "an HTTP server that calls itself " + name[:min(len(name), 40)]
	}
	return "an HTTP server"
}

func get(ctx context.Context, c *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.Do(req)
}
