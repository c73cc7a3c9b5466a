package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"radish/provision/store"
)

const (
	maxHops    = 10
	maxAnswer  = 64 << 20 // bytes of one JSON answer
	maxPages   = 10_000
	apiTimeout = 30 * time.Second
)

// send makes one request. The token goes along if the URL is of the endpoint's own origin.
func (c *Client) send(ctx context.Context, method string, u *url.URL, header http.Header) (*http.Response, error) {
	if c.opts.Offline {
		return nil, fmt.Errorf("reach %s: %w", place(u), ErrOffline)
	}
	if err := c.gate.wait(ctx); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", place(u), err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", c.opts.UserAgent)
	r.Header.Set("Accept-Encoding", "identity")
	if c.opts.Token != "" && sameOrigin(u, c.endpoint) {
		r.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, bare(err, u)
	}
	return res, nil
}

// follow sends a request and follows redirects inside the endpoint's origin: renamed repositories. One that leads out
// is given back with its target, to be followed without the token or not at all.
func (c *Client) follow(ctx context.Context, method string, u *url.URL, header http.Header) (res *http.Response, out *url.URL, err error) {
	for range maxHops {
		if res, err = c.send(ctx, method, u, header); err != nil {
			return nil, nil, err
		}
		next, err := redirect(res)
		if err != nil || next == nil {
			if err != nil {
				res.Body.Close()
			}
			return res, nil, err
		}
		if !sameOrigin(next, c.endpoint) {
			return res, next, nil
		}
		res.Body.Close()
		u = next
	}
	return nil, nil, fmt.Errorf("%w: more than %d from %s", ErrRedirect, maxHops, place(u))
}

// redirect is where a response sends to; nil if it is none.
func redirect(res *http.Response) (*url.URL, error) {
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	u, err := res.Location()
	if err != nil {
		return nil, fmt.Errorf("%w: %s names no place", ErrRedirect, place(res.Request.URL))
	}
	return u, nil
}

// answer asks for JSON until it comes or there is no hope, and gives the header too.
func (c *Client) answer(ctx context.Context, u *url.URL, into any) (http.Header, error) {
	for failures := 1; ; failures++ {
		h, err := c.answerOnce(ctx, u, into)
		if err == nil {
			return h, nil
		}
		if err := c.again(ctx, err, failures, askedWait(h, time.Now())); err != nil {
			return nil, err
		}
	}
}

func (c *Client) answerOnce(ctx context.Context, u *url.URL, into any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	res, out, err := c.follow(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if out != nil {
		return nil, fmt.Errorf("%w: the hub's API sends to %s", ErrRedirect, out.Host)
	}
	if res.StatusCode != http.StatusOK {
		return res.Header, statusError(res)
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/json" {
		return res.Header, fmt.Errorf("read %s: %w (%s)", place(u), ErrNotHub, clip(kind))
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into); err != nil {
		return res.Header, fmt.Errorf("read %s: %w", place(u), err)
	}
	return res.Header, nil
}

// api is the URL of a call; parts are escaped one by one, so that refs/pr/1 stays one of them.
func (c *Client) api(r store.Repo, parts ...string) *url.URL {
	raw := c.opts.Endpoint + "/api/models/" + string(r)
	for _, p := range parts {
		raw += "/" + url.PathEscape(p)
	}
	u, err := url.Parse(raw)
	if err != nil { // an endpoint that parsed, an id of letters and escaped parts do parse
		return c.endpoint
	}
	return u
}

// Resolve gives the commit that a revision (empty: main) stands for at the hub now.
func (c *Client) Resolve(ctx context.Context, r store.Repo, rev store.Ref) (store.Commit, error) {
	if rev == "" {
		rev = "main"
	}
	if rev.IsCommit() {
		return store.Commit(rev), nil
	}
	var info struct {
		SHA string `json:"sha"`
	}
	if _, err := c.answer(ctx, c.api(r, "revision", string(rev)), &info); err != nil {
		return "", fmt.Errorf("resolve %s@%s: %w", r, rev, err)
	}
	commit, err := store.ParseCommit(info.SHA)
	if err != nil {
		return "", fmt.Errorf("resolve %s@%s: %w: %w", r, rev, ErrNotHub, err)
	}
	return commit, nil
}

type treeEntry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
	Xet string `json:"xetHash"`
}

// Tree lists all files of a commit, page after page.
func (c *Client) Tree(ctx context.Context, r store.Repo, commit store.Commit) (store.Tree, error) {
	u := c.api(r, "tree", string(commit))
	u.RawQuery = "recursive=true&expand=false"
	tree := store.Tree{}
	for range maxPages {
		var page []treeEntry
		h, err := c.answer(ctx, u, &page)
		if err != nil {
			return nil, fmt.Errorf("list %s@%s: %w", r, commit, err)
		}
		for _, e := range page {
			if e.Type == "file" {
				tree[store.Path(e.Path)] = e.entry()
			}
		}
		next := nextPage(h)
		if next == "" {
			if err := tree.Check(); err != nil {
				return nil, fmt.Errorf("list %s@%s: %w", r, commit, err)
			}
			return tree, nil
		}
		if u, err = u.Parse(next); err != nil || !sameOrigin(u, c.endpoint) {
			return nil, fmt.Errorf("list %s@%s: %w: the next page is elsewhere", r, commit, ErrRedirect)
		}
	}
	return nil, fmt.Errorf("list %s@%s: %w: more than %d pages", r, commit, ErrNotHub, maxPages)
}

func (e treeEntry) entry() store.Entry {
	out := store.Entry{Size: e.Size, BlobID: e.OID}
	if len(e.Xet) == 64 {
		out.Xet = e.Xet
	}
	if e.LFS != nil {
		out.SHA256, out.LFS, out.Size = e.LFS.OID, e.LFS.Size, e.LFS.Size
	}
	return out
}

// nextPage reads `Link: <url>; rel="next"`.
func nextPage(h http.Header) string {
	for _, line := range h.Values("Link") {
		for _, one := range strings.Split(line, ",") {
			target, params, _ := strings.Cut(one, ";")
			if strings.Contains(strings.ReplaceAll(params, " ", ""), `rel="next"`) {
				return strings.Trim(strings.TrimSpace(target), "<>")
			}
		}
	}
	return ""
}
