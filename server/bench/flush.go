package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

var errFlush = errors.New("cache was not flushed")

// flush asks for an empty cache. The server may still be ending the last requests.
func (a *asker) flush(ctx context.Context) error {
	err := errFlush
	for range 20 {
		if err = a.flushOnce(ctx); !errors.Is(err, errBusy) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

var errBusy = fmt.Errorf("%w: requests run or wait on the server", errFlush)

func (a *asker) flushOnce(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(a.target.URL, "/")+"/flush_cache", nil)
	if err != nil {
		return err
	}
	a.authorize(req)
	res, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errFlush, err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusBadRequest:
		return errBusy
	}
	return fmt.Errorf("%w: the server answers %s", errFlush, res.Status)
}
