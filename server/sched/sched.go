package sched

import "errors"

// ErrTooLong is a sequence that could not run even if it were alone.
var ErrTooLong = errors.New("sequence is longer than the context or the KV pool")

// Stats are totals since the start.
type Stats struct {
	Retracts uint64  // sequences that lost their pages
	Evicted  uint64  // pages taken from the prefix cache
	Ratio    float64 // the share of max_tokens that admission reserves now
	Lagging  int     // waiting sequences whose cached prefix was measured on an older tree (lpm)
}
