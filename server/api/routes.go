package api

import (
	"net/http"
	"slices"
	"strings"
)

// route is one path and its methods.
type route struct {
	path    string
	methods string // separated by ", ", as the Allow header wants them
	serve   http.HandlerFunc
}

const (
	get  = "GET, HEAD"
	post = "POST"
	both = "GET, HEAD, POST"
)

func (s *server) table() []route {
	t := []route{
		{"/v1/completions", post, s.completions},
		{"/v1/chat/completions", post, s.chat},
		{"/v1/models", get, s.models},
		{"/v1/models/", get, s.oneModel},
		{"/generate", post, s.generate},
		{"/tokenize", post, s.tokenize},
		{"/detokenize", post, s.detokenize},
		{"/health", get, s.health},
		{"/healthz", get, s.health},
		{"/readyz", get, s.ready},
		{"/health_generate", get, s.healthGenerate},
		{"/server_info", get, s.serverInfo},
		{"/get_server_info", get, s.serverInfo},
		{"/model_info", get, s.modelInfo},
		{"/get_model_info", get, s.modelInfo},
		{"/flush_cache", both, s.flush},
		{"/abort_request", post, s.abort},
	}
	if s.Metrics != nil {
		t = append(t, route{"/metrics", get, s.Metrics.ServeHTTP})
	}
	return t
}

// routes dispatches by exact path; only /v1/models/ has something after it. It is no http.ServeMux because that answers
// unknown paths and methods in its own words, and redirects.
func (s *server) routes() http.Handler {
	table := map[string]route{}
	for _, rt := range s.table() {
		table[rt.path] = rt
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, ok := table[r.URL.Path]
		if !ok && strings.HasPrefix(r.URL.Path, "/v1/models/") {
			rt, ok = table["/v1/models/"]
		}
		if !ok {
			(&Error{Status: http.StatusNotFound, Code: "unknown_url",
				Message: "no such path: " + r.Method + " " + printable(r.URL.Path)}).write(w)
			return
		}
		if !slices.Contains(strings.Split(rt.methods, ", "), r.Method) {
			(&Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: rt.methods,
				Message: rt.path + " takes " + rt.methods}).write(w)
			return
		}
		stateOf(r).route = rt.path
		rt.serve(w, r)
	})
}
