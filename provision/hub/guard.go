package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// guard decides which addresses are spoken to. It looks at the address that a connection is made to, after the name was
// resolved, so that a name which means something else the second time gets nowhere.
type guard struct {
	endpoint *url.URL
	opts     Options
	dialer   net.Dialer

	mu      sync.Mutex
	trusted map[string]bool     // host:port of the endpoint and of proxies
	homes   map[netip.Addr]bool // addresses that the endpoint itself has
}

func newGuard(endpoint *url.URL, o Options) *guard {
	g := &guard{endpoint: endpoint, opts: o, dialer: net.Dialer{Timeout: 15 * time.Second}}
	g.trusted, g.homes = map[string]bool{hostPort(endpoint): true}, map[netip.Addr]bool{}
	return g
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && hostPort(a) == hostPort(b) }

func (g *guard) proxy(r *http.Request) (*url.URL, error) {
	if g.opts.Proxy == nil {
		return nil, nil
	}
	u, err := g.opts.Proxy(r)
	if err == nil && u != nil {
		g.mu.Lock()
		g.trusted[hostPort(u)] = true
		g.mu.Unlock()
	}
	return u, err
}

// check refuses a redirect's target by what its URL says alone; behind a proxy that is all that can be known.
func (g *guard) check(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil:
		return fmt.Errorf("%w: not a plain http or https URL", ErrRedirect)
	case g.endpoint.Scheme == "https" && u.Scheme != "https":
		return fmt.Errorf("%w: %s is not encrypted", ErrRedirect, u.Host)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !sameOrigin(u, g.endpoint) {
		return g.allow(ip)
	}
	return nil
}

func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := g.dialer
	g.mu.Lock()
	trusted := g.trusted[addr]
	g.mu.Unlock()
	if !trusted {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%w: %s", ErrPrivate, address)
			}
			return g.allow(ap.Addr())
		}
	}
	conn, err := d.DialContext(ctx, network, addr)
	if err == nil && addr == hostPort(g.endpoint) {
		if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			g.mu.Lock()
			g.homes[a.AddrPort().Addr().Unmap()] = true
			g.mu.Unlock()
		}
	}
	return conn, err
}

// allow refuses addresses that only make sense inside a network, unless the endpoint lives at the same one.
func (g *guard) allow(ip netip.Addr) error {
	ip = ip.Unmap()
	g.mu.Lock()
	home := g.homes[ip]
	g.mu.Unlock()
	if home || g.opts.AllowPrivate || public(ip) {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrPrivate, ip)
}

// inside are networks that netip does not name: this host (RFC 1122), shared (6598), protocol assignments (6890),
// benchmarks (2544), reserved (1112), NAT64 (6052), 6to4 (3056), Teredo (4380).
var inside = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4", "64:ff9b::/96", "2002::/16", "2001::/32")

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func public(ip netip.Addr) bool {
	for _, p := range inside {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate()
}
