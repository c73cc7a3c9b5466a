package cuda

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"radish/kernels/cuda/driver"
)

// measureRuns is how often a captured list is timed; the median counts.
const measureRuns = 5

// Measure is the device time of one of the n like operations that queue queues, as one graph between two events; the
// median of five runs after one that warms up. Nothing else may be queued.
func (b *Backend) Measure(n int, queue func()) (d time.Duration, err error) {
	if err := b.Run(); err != nil {
		return 0, err
	}
	queue()
	defer func() { err = errors.Join(err, b.Run()) }() // ends the stage that queue used
	l := &b.list
	body, params := slices.Clone(l.body), slices.Clone(l.params)
	l.body, l.params = l.body[:0], l.params[:0]
	if s := &l.stages[l.stage]; s.arenaUsed > 0 {
		l.head = append(l.head, driver.Op{Kind: driver.ToDevice, Dst: uint64(l.arena), Src: address(s.arena), Bytes: uint64(s.arenaUsed)})
	}
	if err := b.stream.Exec(l.head, nil); err != nil {
		return 0, err
	}
	l.head = l.head[:0]
	g, err := b.stream.Capture(body, params)
	if err != nil {
		return 0, fmt.Errorf("capture %d operations: %w", len(body), err)
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return b.replay(n, func() error { return b.stream.Launch(g) })
}

// replay times what run launches, n operations.
func (b *Backend) replay(n int, run func() error) (time.Duration, error) {
	var marks mark
	var err error
	if marks.begin, err = driver.NewEvent(true); err != nil {
		return 0, err
	}
	defer marks.begin.Close()
	if marks.end, err = driver.NewEvent(true); err != nil {
		return 0, err
	}
	defer marks.end.Close()
	var all []time.Duration
	for range measureRuns + 1 {
		if err := b.stream.Exec([]driver.Op{marks.begin.Op()}, nil); err != nil {
			return 0, err
		}
		if err := run(); err != nil {
			return 0, err
		}
		if err := b.stream.Exec([]driver.Op{marks.end.Op()}, nil); err != nil {
			return 0, err
		}
		if err := marks.end.Wait(); err != nil {
			return 0, err
		}
		d, err := marks.end.Since(marks.begin)
		if err != nil {
			return 0, err
		}
		all = append(all, d)
	}
	all = all[1:]
	slices.Sort(all)
	return all[len(all)/2] / time.Duration(n), nil
}

// CopyRate measures the card's copy bandwidth, bytes read and written added, a second: the ceiling of everything that
// only moves memory. The copies are no graph: as one, an H200 copies 2.7 TB/s where a stream of them does 4.2.
func (b *Backend) CopyRate() (float64, error) {
	const n, times = 1 << 30, 10
	at, err := driver.Alloc(2 * n)
	if err != nil {
		return 0, named(err)
	}
	defer driver.Free(at)
	var ops []driver.Op
	for range times {
		ops = append(ops, driver.Op{Kind: driver.OnDevice, Dst: uint64(at), Src: uint64(at) + n, Bytes: n})
	}
	d, err := b.replay(times, func() error { return b.stream.Exec(ops, nil) })
	if err != nil {
		return 0, err
	}
	return 2 * n / d.Seconds(), nil
}
