package server

import (
	"context"
	"fmt"

	"radish/server/engine"
	"radish/server/seq"
)

// Stats is a cheap snapshot of the engine, for whoever watches the process.
func (s *Server) Stats() engine.Stats { return s.core.Engine.Stats() }

// Busy says whether requests run or wait.
func (s *Server) Busy() bool { return s.core.Engine.Heartbeat().Busy }

// Info is what /server_info tells of the settings: no secret is among them.
func (s *Server) Info() map[string]any { return s.info() }

// Warm makes one token the way every request does, and so shows that the whole path to the device works. Run must be
// running. The error is the engine's or ctx's.
func (s *Server) Warm(ctx context.Context) error {
	st, err := s.core.Engine.Submit(engine.Request{Prompt: []seq.Token{0}, Domain: "health", Params: seq.Params{
		MaxTokens: 1, TopP: 1, Repetition: 1, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}})
	if err != nil {
		return fmt.Errorf("make first token: %w", err)
	}
	defer st.Cancel()
	for {
		ev, err := st.Next(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("make first token: %w", err)
		case len(ev.Tokens) > 0:
			return nil
		case ev.Finish != nil:
			return fmt.Errorf("make first token: it ended with %s: %w", ev.Finish.Reason, ev.Finish.Err)
		}
	}
}
