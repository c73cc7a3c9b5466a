package host

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// NetworkWait bounds everything that is asked over the network together.
const NetworkWait = 6 * time.Second

// Network is what the Hugging Face hub answered, when it was asked at all.
type Network struct {
	Asked    bool
	Endpoint string // without credentials
	Proxy    string // host and port of the proxy; empty: none
	Resolved int    // addresses of the endpoint's name; the proxy resolves for itself
	DNS      string // why the name has none
	Hub      Answer // the first answer, of whoami where there is a token
	Skew     time.Duration
	Dated    bool // Skew is known: local clock minus the hub's, half of the way there taken off
	Rate     Rate
	Access   Answer // to config.json of the named repository
	CDN      CDN
}

// Answer is an HTTP answer, or why there is none.
type Answer struct {
	URL       string // path only
	Status    int    // 0: none
	Code      string // X-Error-Code
	BadToken  bool   // the hub says that the token itself is wrong
	Err       string
	Authority bool // the certificate's issuer is not known here
	WithToken bool
}

// Rate is the hub's rate limit as its headers tell.
type Rate struct {
	Known     bool
	Remaining int // requests
	Reset     int // seconds
}

// CDN is the host that a weight file's link leads to.
type CDN struct {
	Host string // empty: nothing was linked
	DNS  string // why its name has no address
}

// hub asks the Hugging Face hub, or the mirror that HF_ENDPOINT names.
type hub struct {
	base   *url.URL
	token  string // sent to base's host only
	client *http.Client
	lookup func(context.Context, string) ([]string, error)
}

const (
	defaultEndpoint = "https://huggingface.co"
	maxAnswerBytes  = 8 << 20
)

// newHub refuses to send a token over plain HTTP to another machine: everybody on the way would have it.
func newHub(o Options, e Env, token string) (*hub, error) {
	text, ok := e.Get("HF_ENDPOINT")
	if !ok {
		text = defaultEndpoint
	}
	base, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("HF_ENDPOINT is no http or https address")
	}
	if base.Scheme == "http" && !loopback(base.Hostname()) {
		token = ""
	}
	h := &hub{base: base, token: token, lookup: net.DefaultResolver.LookupHost}
	h.client = &http.Client{Transport: &http.Transport{Proxy: o.Proxy, ForceAttemptHTTP2: true}, CheckRedirect: h.sameHost}
	return h, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sameHost follows renamed repositories, and stops where a link leaves the hub: the token must not go there.
func (h *hub) sameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Host != h.base.Host || req.URL.Scheme != h.base.Scheme || len(via) > 3 {
		return http.ErrUseLastResponse
	}
	return nil
}

func (h *hub) do(ctx context.Context, method, path string) (*http.Response, Answer) {
	a := Answer{URL: path, WithToken: h.token != ""}
	req, err := http.NewRequestWithContext(ctx, method, h.base.String()+path, nil)
	if err != nil {
		a.Err = "the address cannot be used"
		return nil, a
	}
	req.Header.Set("User-Agent", "radish-doctor")
	req.Header.Set("Accept-Encoding", "identity")
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	res, err := h.client.Do(req)
	if err != nil {
		a.Err, a.Authority = why(err)
		return nil, a
	}
	a.Status, a.Code = res.StatusCode, res.Header.Get("X-Error-Code")
	a.BadToken = strings.Contains(res.Header.Get("X-Error-Message"), "Invalid credentials")
	return res, a
}

// why is an error's last cause: what wraps it repeats the address, which can hold credentials.
func why(err error) (text string, authority bool) {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return "the certificate is signed by an authority that is not known here", true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + NetworkWait.String(), false
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error(), false
}

// readNetwork asks side by side: the name, the hub itself, and the named repository.
func readNetwork(ctx context.Context, o Options, e Env, token, repo string) (Network, *Remote) {
	n := Network{Asked: true}
	h, err := newHub(o, e, token)
	if err != nil {
		n.Hub.Err = err.Error()
		return n, nil
	}
	n.Endpoint = withoutPassword(h.base.String())
	n.Proxy = h.proxy()
	var all sync.WaitGroup
	if n.Proxy == "" {
		all.Go(func() { n.Resolved, n.DNS = h.resolve(ctx, h.base.Hostname()) })
	}
	all.Go(func() { h.greet(ctx, &n) })
	var remote *Remote
	if repo != "" {
		all.Go(func() { remote = h.repository(ctx, &n, repo) })
	}
	all.Wait()
	return n, remote
}

func (h *hub) proxy() string {
	t, ok := h.client.Transport.(*http.Transport)
	if !ok || t.Proxy == nil {
		return ""
	}
	u, err := t.Proxy(&http.Request{URL: h.base})
	if err != nil || u == nil {
		return ""
	}
	return u.Host
}

func (h *hub) resolve(ctx context.Context, name string) (addresses int, why string) {
	found, err := h.lookup(ctx, name)
	if err != nil {
		for errors.Unwrap(err) != nil {
			err = errors.Unwrap(err)
		}
		return 0, err.Error()
	}
	return len(found), ""
}

// greet asks who the token belongs to, or anything at all without one; the answer's headers tell time and rate limit.
func (h *hub) greet(ctx context.Context, n *Network) {
	path := "/api/models?limit=1"
	if h.token != "" {
		path = "/api/whoami-v2"
	}
	begin := time.Now()
	res, a := h.do(ctx, http.MethodGet, path)
	n.Hub = a
	if res == nil {
		return
	}
	defer res.Body.Close()
	now := time.Now()
	if there, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		// The header has whole seconds: the hub's clock stands half a second later on average.
		n.Skew, n.Dated = now.Add(-now.Sub(begin)/2).Sub(there.Add(time.Second/2)).Round(time.Millisecond), true
	}
	n.Rate = rate(res.Header.Get("Ratelimit"))
}

// rate reads `"api";r=0;t=55` (draft-ietf-httpapi-ratelimit-headers).
func rate(header string) Rate {
	var r Rate
	for part := range strings.SplitSeq(header, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		v, err := strconv.Atoi(value)
		switch {
		case err != nil:
		case key == "r":
			r.Remaining, r.Known = v, true
		case key == "t":
			r.Reset = v
		}
	}
	return r
}

// Remote is a repository on the hub.
type Remote struct {
	Files   int    // that a server needs
	Bytes   uint64 // of those
	Weights uint64 // of the safetensors among them
	Largest uint64 // one file
	Cut     bool   // the list has more pages: the figures are lower bounds
	Config  *Config
	Err     string
}

// repository asks for access, the list of files, config.json, and where a weight file's link leads.
func (h *hub) repository(ctx context.Context, n *Network, repo string) *Remote {
	id := "/" + repo
	res, a := h.do(ctx, http.MethodGet, id+"/resolve/main/config.json")
	n.Access = a
	r := &Remote{}
	if res != nil {
		defer res.Body.Close()
	}
	if a.Status != http.StatusOK {
		r.Err = "no access to the repository"
		return r
	}
	var c Config
	if err := json.NewDecoder(io.LimitReader(res.Body, maxConfig)).Decode(&c); err == nil {
		r.Config = &c
	}
	h.tree(ctx, n, repo, r)
	return r
}

func (h *hub) tree(ctx context.Context, n *Network, repo string, r *Remote) {
	res, a := h.do(ctx, http.MethodGet, "/api/models/"+repo+"/tree/main?recursive=true&expand=false")
	if res == nil || a.Status != http.StatusOK {
		r.Err = fmt.Sprintf("the list of files could not be had: %d %s", a.Status, a.Err)
		return
	}
	defer res.Body.Close()
	var list []struct {
		Type, Path string
		Size       int64
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswerBytes)).Decode(&list); err != nil {
		r.Err = "the list of files is no JSON"
		return
	}
	r.Cut = strings.Contains(res.Header.Get("Link"), `rel="next"`)
	weight := ""
	for _, f := range list {
		if f.Type != "file" || f.Size < 0 || !needed(f.Path) {
			continue
		}
		size := uint64(f.Size)
		r.Files++
		r.Bytes += size
		r.Largest = max(r.Largest, size)
		if strings.HasSuffix(f.Path, ".safetensors") {
			r.Weights += size
			weight = f.Path
		}
	}
	if weight != "" {
		h.link(ctx, n, "/"+repo+"/resolve/main/"+url.PathEscape(weight))
	}
}

// link looks where a weight file would come from: often another host, which must have an address too.
func (h *hub) link(ctx context.Context, n *Network, path string) {
	res, _ := h.do(ctx, http.MethodHead, path)
	if res == nil {
		return
	}
	res.Body.Close()
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || to.Hostname() == "" {
		return
	}
	n.CDN.Host = to.Hostname()
	if n.Proxy == "" {
		_, n.CDN.DNS = h.resolve(ctx, n.CDN.Host)
	}
}

// needed keeps what radish pull fetches unless told otherwise: configuration, tokenizer, safetensors of the top level.
func needed(path string) bool {
	if strings.Contains(path, "/") {
		return false
	}
	for _, end := range []string{".safetensors", ".json", ".txt", ".model", ".jinja"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}
