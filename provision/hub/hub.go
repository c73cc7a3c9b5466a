// Package hub fetches models from a Hugging Face hub into a store: the revision resolved once and pinned, the whole
// tree, ranges in parallel, every byte hashed before a file gets its name, an interrupted pull taken up where it was.
//
// The protocol is what huggingface_hub 2.4.0 speaks (file_download.py, hf_api.py, utils/_http.py); plain HTTP only, the
// hub serves its chunk-stored files that way too. Three promises: the token goes to the endpoint's own origin and
// nowhere else; a redirect never leads into a private network that the endpoint itself is not in; and nothing is
// visible under its final name unless its hash is the one the hub gave.
package hub

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"radish/provision/store"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// Options say how to reach the hub. The zero value of a field means what its comment says.
type Options struct {
	Endpoint  string // DefaultEndpoint
	Token     string // anonymous
	UserAgent string // "radish"
	Proxy     func(*http.Request) (*url.URL, error)
	// AllowPrivate lets redirects lead to private addresses, which a company's mirror may need.
	AllowPrivate bool
	Offline      bool // every request fails with ErrOffline

	Retry       Retry
	Stall       time.Duration // 30 s without a byte: the request is made again
	Connections int           // 8
	RangeSize   int64         // 64 MiB
	Disk        store.Disk    // store.LocalDisk
}

func (o *Options) fill() {
	o.Endpoint = strings.TrimRight(o.Endpoint, "/")
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	if o.UserAgent == "" {
		o.UserAgent = "radish"
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	if o.Connections <= 0 {
		o.Connections = 8
	}
	if o.RangeSize <= 0 {
		o.RangeSize = 64 << 20
	}
	if o.Disk == nil {
		o.Disk = store.LocalDisk{}
	}
	o.Retry.fill()
}

// Client speaks to one hub. It is safe for concurrent use.
type Client struct {
	opts     Options
	endpoint *url.URL
	http     *http.Client
	guard    *guard
	gate     gate
}

// New makes a client; it sends nothing.
func New(o Options) (*Client, error) {
	o.fill()
	u, err := url.Parse(o.Endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("read endpoint: not an http or https URL")
	}
	if u.User != nil {
		return nil, errors.New("read endpoint: a name or password in the URL would end up in logs")
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("read token: %w (it holds blanks or line ends)", ErrToken)
	}
	g := newGuard(u, o)
	t := &http.Transport{
		Proxy:               g.proxy,
		DialContext:         g.dial,
		DisableCompression:  true, // ranges and lengths are those of the file
		MaxIdleConnsPerHost: o.Connections + 4,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 15 * time.Second,
		ReadBufferSize:      64 << 10,
		// HTTP/2 would put all ranges on one connection and under one flow control.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	stop := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{opts: o, endpoint: u, guard: g, http: &http.Client{Transport: t, CheckRedirect: stop}}, nil
}

// Endpoint is the hub's URL.
func (c *Client) Endpoint() string { return c.opts.Endpoint }

// Offline says whether the client may not use the network.
func (c *Client) Offline() bool { return c.opts.Offline }
