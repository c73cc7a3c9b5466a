package hub

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"radish/provision/store"
)

// What makes a request be made again otherwise than after a failure.
var (
	errSlow    = errors.New("far slower than the other connections")
	errExpired = errors.New("the signed link has expired")
	errWhole   = errors.New("the server sends the whole file only")
	errStale   = errors.New("the server has no such range")
	errOver    = errors.New("the file began anew")
	errLength  = errors.New("the answer's length is not the file's")
	errBody    = errors.New("the answer broke off")
	errDisk    = errors.New("the disk does not take it")
)

// enough bytes to call a failed request progress; fewer, again and again, count as failures in a row.
const enough = 64 << 10

// fetch brings one range, as often as it takes.
func (t *transfer) fetch(ctx context.Context, j job, buf []byte) error {
	var h struct{ failures, stalls, slow, expired int }
	for {
		n, asked, err := t.fetchOnce(ctx, j, buf)
		if n >= enough {
			h.failures, h.stalls, h.expired = 0, 0, 0
		}
		switch {
		case err == nil, errors.Is(err, errOver):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case store.IsNoSpace(err), errors.Is(err, errDisk):
			return err
		case errors.Is(err, errSlow) && h.slow < slowTries:
			h.slow++
			t.note(NoteStall, err.Error())
			continue
		case errors.Is(err, ErrStalled) && h.stalls < t.pl.client.opts.Retry.Tries:
			h.stalls++
			t.note(NoteStall, err.Error())
			continue
		case errors.Is(err, errExpired) && h.expired < t.pl.client.opts.Retry.Tries:
			h.expired++
			t.note(NoteExpired, "")
			continue
		case errors.Is(err, errWhole):
			return t.restart(j.round, fmt.Errorf("fetch %s: %w", t.name(), err), true)
		case errors.Is(err, ErrChanged):
			return t.changed(ctx, j, err)
		case errors.Is(err, errStale):
			t.forget(j)
		}
		h.failures++
		t.pl.obs.Note(Note{Kind: NoteRetry, Path: t.name(), Text: err.Error(), Wait: asked})
		if err := t.pl.client.again(ctx, err, h.failures, asked); err != nil {
			return fmt.Errorf("fetch %s: %w", t.name(), err)
		}
	}
}

// changed begins a file anew whose bytes are of another one now, after a breath: the hub may be in between.
func (t *transfer) changed(ctx context.Context, j job, err error) error {
	if e := sleep(ctx, t.pl.client.opts.Retry.wait(1)); e != nil {
		return context.Cause(ctx)
	}
	return t.restart(j.round, fmt.Errorf("fetch %s: %w", t.name(), err), false)
}

// request is one on the wire, watched for stalls and slowness.
type request struct {
	cancel context.CancelCauseFunc
	bytes  atomic.Int64
	began  time.Time
	stall  *time.Timer
}

func (r *request) abandon(why error) { r.cancel(why) }

// slowest gives the request that a tenth of the median is too fast for, among those old enough to judge.
func slowest(live map[*request]bool) *request {
	type pace struct {
		r    *request
		rate float64
	}
	var all []pace
	for r := range live {
		if age := time.Since(r.began); age >= 2*slowLook {
			all = append(all, pace{r, float64(r.bytes.Load()) / age.Seconds()})
		}
	}
	if len(all) < 3 {
		return nil
	}
	slices.SortFunc(all, func(a, b pace) int {
		if a.rate < b.rate {
			return -1
		}
		return 1
	})
	if all[0].rate*slowShare < all[len(all)/2].rate {
		return all[0].r
	}
	return nil
}

// fetchOnce makes one request for what a range lacks and stores what comes. It tells how much that was, and for how long
// the server asked to be left alone.
func (t *transfer) fetchOnce(ctx context.Context, j job, buf []byte) (n int64, asked time.Duration, err error) {
	r, ok := t.at(j)
	if !ok {
		return 0, 0, errOver
	}
	if r.Full() {
		return 0, 0, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req := t.pl.begin(cancel)
	defer func() {
		t.pl.end(req)
		// The cancellation's cause says more than the read error that it led to.
		if cause := context.Cause(ctx); err != nil && (errors.Is(cause, ErrStalled) || errors.Is(cause, errSlow)) {
			err = cause
		}
	}()
	res, err := t.ask(ctx, r)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	body, err := t.judge(res, r)
	if err != nil {
		return 0, askedWait(res.Header, time.Now()), err
	}
	if n, err = t.receive(j, req, body, r.Len-r.Done, buf); errors.Is(err, errBody) {
		err = bare(err, res.Request.URL)
	}
	return n, 0, err
}

// receive stores bytes of a body until none are left to come.
func (t *transfer) receive(j job, req *request, body io.Reader, left int64, buf []byte) (n int64, err error) {
	for n < left {
		req.stall.Reset(t.pl.client.opts.Stall)
		k, err := body.Read(buf[:min(int64(len(buf)), left-n)])
		if k > 0 {
			n += int64(k)
			req.bytes.Add(int64(k))
			if err := t.store(j, buf[:k]); err != nil {
				return n, err
			}
		}
		if err != nil && n < left {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, fmt.Errorf("%w: %w", errBody, err)
		}
	}
	return n, nil
}

// begin puts a request under watch, end takes it away.
func (pl *puller) begin(cancel context.CancelCauseFunc) *request {
	r := &request{cancel: cancel, began: time.Now()}
	r.stall = time.AfterFunc(pl.client.opts.Stall, func() { r.abandon(ErrStalled) })
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.live[r] = true
	return r
}

func (pl *puller) end(r *request) {
	r.stall.Stop()
	pl.mu.Lock()
	defer pl.mu.Unlock()
	delete(pl.live, r)
}

// ask sends the request to the signed link, or if there is none yet to the hub, which answers with a link or the file.
func (t *transfer) ask(ctx context.Context, r store.Range) (*http.Response, error) {
	t.from.asking.Lock()
	t.mu.Lock()
	link, tag := t.from.link, t.from.tag
	t.mu.Unlock()
	h := http.Header{}
	off, end := r.Off+r.Done, r.Off+r.Len
	if off > 0 || end < t.want.Size {
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", off, end-1))
		if off > r.Off && tag != "" {
			h.Set("If-Range", tag)
		}
	}
	if link != nil {
		t.from.asking.Unlock()
		return t.askLink(ctx, link, h)
	}
	defer t.from.asking.Unlock()
	u, err := url.Parse(t.pl.client.opts.Endpoint + "/" + string(t.pl.plan.Repo) + "/resolve/" + string(t.pl.plan.Commit) + "/" + escape(t.name()))
	if err != nil {
		return nil, fmt.Errorf("make URL: %w", err)
	}
	res, out, err := t.pl.client.follow(ctx, http.MethodGet, u, h)
	if err != nil {
		return nil, err
	}
	if err := t.isOurs(res); err != nil {
		res.Body.Close()
		return nil, err
	}
	if out == nil {
		return res, nil
	}
	res.Body.Close()
	t.mu.Lock()
	t.from.link = out
	t.mu.Unlock()
	return t.askLink(ctx, out, h)
}

func escape(p store.Path) string {
	parts := strings.Split(string(p), "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// isOurs checks what the hub itself says of the file: that it is a hub, and that the hash is the listing's.
func (t *transfer) isOurs(res *http.Response) error {
	if res.StatusCode >= 400 {
		return nil // judge makes the error
	}
	if res.Header.Get("X-Repo-Commit") == "" {
		if isHTML(res) {
			return fmt.Errorf("fetch from %s: %w", place(res.Request.URL), ErrHTML)
		}
		return fmt.Errorf("fetch from %s: %w: no X-Repo-Commit", place(res.Request.URL), ErrNotHub)
	}
	tag := res.Header.Get("X-Linked-Etag")
	if tag == "" {
		tag = res.Header.Get("ETag")
	}
	if got := strings.Trim(strings.TrimPrefix(tag, "W/"), `"`); got != string(t.want.Hash) {
		return fmt.Errorf("%w: the hub calls it %s, its listing said %s", ErrChanged, clip(got), t.want.Hash)
	}
	return nil
}

// askLink follows a signed link through a few more redirects, none of which sees the token.
func (t *transfer) askLink(ctx context.Context, u *url.URL, h http.Header) (*http.Response, error) {
	first := u
	for range maxHops {
		if err := t.pl.client.guard.check(u); err != nil {
			return nil, err
		}
		res, err := t.pl.client.send(ctx, http.MethodGet, u, h)
		if err != nil {
			return nil, err
		}
		next, err := redirect(res)
		if err != nil || next == nil {
			if err == nil && (res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized) {
				err = t.expire(first)
			}
			if err != nil {
				res.Body.Close()
				return nil, err
			}
			return res, nil
		}
		res.Body.Close()
		u = next
	}
	return nil, fmt.Errorf("%w: more than %d from %s", ErrRedirect, maxHops, place(first))
}

// expire forgets the link, unless somebody has got another one already.
func (t *transfer) expire(link *url.URL) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.from.link == link {
		t.from.link = nil
	}
	return fmt.Errorf("fetch from %s: %w", place(link), errExpired)
}

// judge decides whether the answer is what was asked for, and gives its bytes.
func (t *transfer) judge(res *http.Response, r store.Range) (io.Reader, error) {
	off, end := r.Off+r.Done, r.Off+r.Len
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable:
		return nil, fmt.Errorf("fetch from %s: %w (%d-%d of %s)", place(res.Request.URL), errStale, off, end-1, clip(res.Header.Get("Content-Range")))
	default:
		return nil, statusError(res)
	}
	if isHTML(res) && !slices.Contains([]string{".html", ".htm", ".md"}, path.Ext(string(t.name()))) {
		return nil, fmt.Errorf("fetch from %s: %w", place(res.Request.URL), ErrHTML)
	}
	if err := t.sameTag(res); err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusPartialContent {
		return res.Body, t.isRange(res, off, end)
	}
	if off > 0 || end < t.want.Size {
		return nil, errWhole
	}
	if strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(res.Body)
		if err != nil {
			return nil, fmt.Errorf("unpack answer: %w", err)
		}
		return z, nil
	}
	if res.ContentLength >= 0 && res.ContentLength != t.want.Size {
		return nil, fmt.Errorf("fetch from %s: %w: %d of %d bytes", place(res.Request.URL), errLength, res.ContentLength, t.want.Size)
	}
	return res.Body, nil
}

// isRange refuses a part that is not the one asked for.
func (t *transfer) isRange(res *http.Response, off, end int64) error {
	if enc := res.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return errWhole // a part of a packed file is of no use
	}
	want := fmt.Sprintf("bytes %d-%d/%d", off, end-1, t.want.Size)
	if got := res.Header.Get("Content-Range"); got != want {
		return fmt.Errorf("fetch from %s: %w: %q instead of %q", place(res.Request.URL), errLength, clip(got), want)
	}
	return nil
}

// sameTag notices that the place holds another file than before. Only a strong tag says so.
func (t *transfer) sameTag(res *http.Response) error {
	tag := res.Header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.from.tag == "" {
		t.from.tag = tag
	}
	if t.from.tag != tag {
		return fmt.Errorf("%w: ETag %s was %s", ErrChanged, clip(tag), clip(t.from.tag))
	}
	return nil
}

func isHTML(res *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return kind == "text/html"
}
