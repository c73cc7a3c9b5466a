package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const secret = "hf_SENTINELSENTINELSENTINEL"

// fakeHub answers as provision's protocol notes say the real one does.
func fakeHub(t *testing.T, elsewhere string, log func(*http.Request)) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/whoami-v2", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("RateLimit", `"api";r=7;t=55`)
		if r.Header.Get("Authorization") != "Bearer "+secret {
			w.Header().Set("X-Error-Message", "Invalid credentials in Authorization header")
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	mux.HandleFunc("GET /api/models", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "[]") })
	mux.HandleFunc("GET /old/name/resolve/main/config.json", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/a/x/resolve/main/config.json", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("GET /a/x/resolve/main/config.json", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"model_type":"llama","num_hidden_layers":32,"num_attention_heads":32,"num_key_value_heads":8,"hidden_size":4096}`)
	})
	mux.HandleFunc("GET /a/x/resolve/main/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+"/signed?X-Amz-Signature=SENTINEL", http.StatusFound)
	})
	mux.HandleFunc("GET /api/models/a/x/tree/main", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", `<x>; rel="next"`)
		fmt.Fprint(w, `[{"type":"file","path":"config.json","size":100},{"type":"directory","path":"original","size":0},
			{"type":"file","path":"original/consolidated.pth","size":9000},{"type":"file","path":"model-1.safetensors","size":3000},
			{"type":"file","path":"model-2.safetensors","size":2000},{"type":"file","path":"bad.json","size":-5},{"type":"file","path":"pytorch_model.bin","size":5000}]`)
	})
	mux.HandleFunc("GET /gated/x/resolve/main/config.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Error-Code", "GatedRepo")
		w.WriteHeader(http.StatusForbidden)
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log(r)
		w.Header().Set("Date", time.Now().Add(-100*time.Second).UTC().Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestNetwork(t *testing.T) {
	strangers := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers++ }))
	defer elsewhere.Close()
	hub := fakeHub(t, elsewhere.URL, func(*http.Request) {})
	read := func(repo string, env ...string) *Facts {
		o := Options{Root: t.TempDir(), Environ: append(env, "HF_ENDPOINT="+hub.URL, "HOME=/h"), Model: repo, System: fake{}, Wait: time.Minute}
		if repo == "" {
			o.Network = AskAlways
		}
		return Read(t.Context(), o)
	}
	f := read("a/x", "HF_TOKEN="+secret)
	n, r := f.Network, f.Model.Remote
	if !n.Asked || n.Hub.Status != 200 || !n.Hub.WithToken || n.Access.Status != 200 || n.Rate != (Rate{true, 7, 55}) || n.Resolved == 0 {
		t.Errorf("network %+v", n)
	}
	if n.Skew < 97*time.Second || n.Skew > 103*time.Second || !n.Dated {
		t.Errorf("the hub's clock is 100 s behind, and yet %s", n.Skew)
	}
	if r == nil || r.Files != 3 || r.Bytes != 5100 || r.Weights != 5000 || r.Largest != 3000 || !r.Cut || r.Config.KVBytes() != 131072 {
		t.Errorf("remote %+v", r)
	}
	if n.CDN.Host != "127.0.0.1" || strangers != 0 {
		t.Errorf("link to %+v, %d requests left the hub", n.CDN, strangers)
	}
	if all := fmt.Sprintf("%+v %+v", *f, *r); strings.Contains(all, "SENTINEL") {
		t.Errorf("a secret is kept: %s", all)
	}
	if f = read("", "HF_TOKEN=hf_wrongwrongwrongwrong"); f.Network.Hub.Status != 401 || !f.Network.Hub.BadToken {
		t.Errorf("a wrong token: %+v", f.Network)
	}
	if f = read(""); f.Network.Hub.Status != 200 || f.Network.Hub.WithToken || f.Network.Rate.Known {
		t.Errorf("no token: %+v", f.Network)
	}
	if f = read("gated/x"); f.Network.Access.Status != 403 || f.Network.Access.Code != "GatedRepo" || f.Model.Remote.Err == "" {
		t.Errorf("gated: %+v", f.Network.Access)
	}
	if f = read("old/name"); f.Network.Access.Status != 200 || f.Model.Remote.Config == nil {
		t.Errorf("renamed: %+v", f.Network.Access)
	}
}

// TestNobodyIsAsked holds the promise of the default and of offline mode.
func TestNobodyIsAsked(t *testing.T) {
	asked := 0
	hub := fakeHub(t, "", func(*http.Request) { asked++ })
	root := fixture(t, map[string]string{"c/models--a--x/refs/main": "c0ffee", "c/models--a--x/snapshots/c0ffee/config.json": `{"model_type":"llama"}`})
	for _, o := range []Options{
		{Environ: []string{"HF_TOKEN=" + secret}},
		{Model: "b/y", Environ: []string{"HF_HUB_OFFLINE=1"}},
		{Model: "b/y", Network: AskNever},
		{Model: "a/x"},
	} {
		o.Wait, o.Root, o.System, o.Environ = time.Minute, root, fake{}, append(o.Environ, "HF_ENDPOINT="+hub.URL, "HF_HUB_CACHE=/c")
		f := Read(t.Context(), o)
		if asked != 0 || f.Network.Asked {
			t.Errorf("%+v: the hub was asked", o)
		}
		if o.Model == "a/x" && (f.Model.Config == nil || f.Model.Dir != filepath.Join(root, "c/models--a--x/snapshots/c0ffee")) {
			t.Errorf("a cached repository: %+v", f.Model)
		}
		if o.Model == "b/y" && (f.Model.Dir != "" || f.Model.Repo != "b/y") {
			t.Errorf("a repository elsewhere: %+v", f.Model)
		}
	}
}

func TestTokenStaysHome(t *testing.T) {
	for endpoint, sent := range map[string]bool{"https://hub.example": true, "http://hub.example": false, "http://127.0.0.1:1": true, "http://localhost:1": true} {
		h, err := newHub(Options{}, envOf("/", []string{"HF_ENDPOINT=" + endpoint}), "t")
		if err != nil || (h.token != "") != sent {
			t.Errorf("%s: token %q, %v", endpoint, h.token, err)
		}
	}
	for _, bad := range []string{"ftp://hub", "hub.example", "https://"} {
		if _, err := newHub(Options{}, envOf("/", []string{"HF_ENDPOINT=" + bad}), "t"); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// TestNoNetwork has each way in which nothing answers.
func TestNoNetwork(t *testing.T) {
	e := envOf("/", []string{"HF_ENDPOINT=https://hub.invalid:1"})
	ctx, cancel := context.WithTimeout(t.Context(), NetworkWait)
	defer cancel()
	proxy := func(*http.Request) (*url.URL, error) { return url.Parse("http://u:SENTINEL@127.0.0.1:1") }
	n, _ := readNetwork(ctx, Options{Proxy: proxy}, e, "", "")
	if n.Proxy != "127.0.0.1:1" || n.Hub.Err == "" || n.Resolved != 0 || strings.Contains(fmt.Sprintf("%+v", n), "SENTINEL") {
		t.Errorf("a proxy that is not there: %+v", n)
	}
	h := &hub{lookup: func(context.Context, string) ([]string, error) {
		return nil, fmt.Errorf("lookup: %w", &net.DNSError{Err: "no such host", Name: "hub"})
	}}
	if _, why := h.resolve(ctx, "hub"); !strings.Contains(why, "no such host") {
		t.Errorf("dns: %s", why)
	}
	s := httptest.NewTLSServer(http.NotFoundHandler())
	s.Config.ErrorLog = nil
	defer s.Close()
	s.TLS.MinVersion = tls.VersionTLS12
	n, _ = readNetwork(ctx, Options{}, envOf("/", []string{"HF_ENDPOINT=" + s.URL}), "", "")
	if !n.Hub.Authority {
		t.Errorf("an unknown authority: %+v", n.Hub)
	}
	if text, _ := why(fmt.Errorf("get: %w", context.DeadlineExceeded)); !strings.Contains(text, "no answer within 6s") {
		t.Errorf("too late: %s", text)
	}
	if text, _ := why(fmt.Errorf("get https://u:p@h: %w", errors.New("refused"))); text != "refused" {
		t.Errorf("a cause: %s", text)
	}
}

func TestRateHeader(t *testing.T) {
	for header, want := range map[string]Rate{`"api";r=0;t=55`: {true, 0, 55}, "": {}, `"api";r=x`: {}, `"resolve"; r=12 ; t=1`: {true, 12, 1}} {
		if got := rate(header); got != want {
			t.Errorf("%q: %+v", header, got)
		}
	}
}
