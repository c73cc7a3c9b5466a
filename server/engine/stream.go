package engine

import (
	"context"
	"io"
	"sync"

	"radish/server/seq"
)

// Stream is one request's events. One goroutine reads it; any may cancel it.
type Stream struct {
	mu     sync.Mutex
	next   Event // what happened since the last event was taken
	taken  Event // the last event taken: its slices are filled anew after the next one
	fresh  bool  // next has something
	over   bool  // next or taken has Finish
	drawn  bool  // taken has
	note   chan struct{}
	cancel func()
}

// Next blocks until something happened. After the event with Finish it returns io.EOF. When ctx ends it returns
// ctx.Err(), and the request goes on: Cancel ends it.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	for {
		ev, ok, err := s.take()
		if ok || err != nil {
			return ev, err
		}
		select {
		case <-s.note:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

func (s *Stream) take() (Event, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn {
		return Event{}, false, io.EOF
	}
	if !s.fresh {
		return Event{}, false, nil
	}
	ev := s.next
	clear(s.taken.Tokens)
	clear(s.taken.Prompt)
	s.next = Event{Tokens: s.taken.Tokens[:0], Prompt: s.taken.Prompt[:0], Cached: ev.Cached}
	s.taken, s.fresh, s.drawn = ev, false, ev.Finish != nil
	return ev, true, nil
}

// Cancel ends the request with ReasonAbort within one step, unless it has ended. It may be called often.
func (s *Stream) Cancel() { s.cancel() }

// token adds a sampled token.
func (s *Stream) token(t seq.Scored, cached int) {
	s.mu.Lock()
	s.next.Tokens = append(s.next.Tokens, t)
	s.next.Cached = cached
	s.signal()
}

// scores adds scores of the prompt.
func (s *Stream) scores(p []seq.Scored, cached int) {
	s.mu.Lock()
	s.next.Prompt = append(s.next.Prompt, p...)
	s.next.Cached = cached
	s.signal()
}

// finish adds the terminal cause; a second one is a programming error.
func (s *Stream) finish(f Finish, cached int) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		panic("engine: request ended twice")
	}
	s.over, s.next.Finish, s.next.Cached = true, &f, cached
	s.signal()
}

// signal unlocks s and wakes its reader.
func (s *Stream) signal() {
	s.fresh = true
	s.mu.Unlock()
	select {
	case s.note <- struct{}{}:
	default:
	}
}
