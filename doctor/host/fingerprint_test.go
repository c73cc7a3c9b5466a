package host

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestFingerprint asks servers that answer as the real ones do at the paths named.
func TestFingerprint(t *testing.T) {
	for want, c := range map[string]struct{ path, body, server string }{
		"an HTTP server that calls itself locked": {"/locked", `{"version":"1"}`, "locked"},
		"an sglang or radish server":              {"/get_model_info", `{"model_path":"meta/Llama","is_generation":true}`, "uvicorn"},
		"vLLM":                                    {"/version", `{"version":"0.11.0"}`, "uvicorn"},
		"ollama":                                  {"/api/version", `{"version":"0.5.1"}`, ""},
		"Jupyter":                                 {"/api", `{"version":"2.14.0"}`, "TornadoServer/6.4"},
		"Jupyter (TornadoServer/6.4)":             {"/none", "", "TornadoServer/6.4"},
		"an HTTP server that calls itself nginx/1.24": {"/none", "", "nginx/1.24"},
		"an HTTP server": {"/version", `["version"]`, ""},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.server != "" {
				w.Header().Set("Server", c.server)
			}
			if c.path == "/locked" {
				w.WriteHeader(http.StatusUnauthorized)
			} else if r.URL.Path != c.path {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
				return
			}
			fmt.Fprint(w, c.body)
		}))
		if got := fingerprint(t.Context(), s.URL); got != want {
			t.Errorf("%s: %q", want, got)
		}
		s.Close()
		if got := fingerprint(t.Context(), s.URL); got != "" {
			t.Errorf("nobody there, and yet %q", got)
		}
	}
}
