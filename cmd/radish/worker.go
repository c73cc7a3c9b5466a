package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"radish/server"
	"radish/server/supervise"
)

// reporting tells a supervisor how radish serve gets on. Without one it does nothing.
type reporting struct {
	link *supervise.Reporter
	last supervise.Report
	read int64 // bytes that this process had read before it began to load
}

// attach opens the line to the supervisor that started this process, if one did.
func attach() (*reporting, error) {
	link, err := supervise.Attach(os.Getenv(supervise.ReportEnv))
	if err != nil {
		return nil, err
	}
	return &reporting{link: link}, nil
}

// orphaned gives a context that also ends when the supervisor is gone: a worker must not outlive it.
func (r *reporting) orphaned(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-r.link.Orphaned():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// reportPause is the time between two reports. A supervisor waits for many of them before it worries.
const reportPause = time.Second

// loading reports until the function that it returns is called. Progress is what was read of the weights' bytes.
func (r *reporting) loading(plan *server.Plan, device string) (done func()) {
	if r.link == nil {
		return func() {}
	}
	r.read = int64(supervise.BytesRead(os.Getpid()))
	r.last = supervise.Report{Phase: supervise.PhaseLoading, Note: "loading the model", Total: plan.Weights, Memory: plan.Total(), Why: device}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			r.last.Done = min(int64(supervise.BytesRead(os.Getpid()))-r.read, r.last.Total)
			r.link.Send(r.last) // a supervisor that is gone is seen by orphaned
			select {
			case <-stop:
				return
			case <-time.After(reportPause):
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// serving makes the first token, says ready, and then tells the engine's figures until ctx ends.
func (r *reporting) serving(ctx context.Context, s *server.Server) {
	if r.link == nil {
		return
	}
	r.last.Note, r.last.Model, r.last.URL = "making the first token", s.Name(), reachable(s.Addr())
	r.last.Device = fmt.Sprintf("%v, %s", s.Info()["device"], s.Backend())
	r.link.Send(r.last)
	if err := s.Warm(ctx); err != nil {
		r.last.Note = err.Error()
		r.link.Send(r.last) // stays loading: the supervisor ends what does not get on
		return
	}
	r.last.Phase, r.last.Note, r.last.Done = supervise.PhaseReady, "", r.last.Total
	for ctx.Err() == nil {
		r.tell(s)
		select {
		case <-ctx.Done():
		case <-time.After(reportPause):
		}
	}
	r.last.Phase = supervise.PhaseDraining
	for ; ; time.Sleep(reportPause) { // until the process ends
		r.tell(s)
	}
}

func (r *reporting) tell(s *server.Server) {
	st := s.Stats()
	total := max(1, st.Pages.Total)
	r.last.Figures = &supervise.Figures{
		Steps: st.Steps, Busy: s.Busy(), Running: st.Running, Queued: st.Queued,
		TokensPerSec: st.GenThroughput, InputPerSec: st.InThroughput,
		KVUsage: st.Pages.Usage(), KVCached: float64(st.Pages.Cached) / float64(total), KVTokens: st.Pages.Total * st.Pages.Size,
		Prompt: st.Tokens.Prompt, Cached: st.Tokens.Cached, Generated: st.Tokens.Generated,
		Retracted: st.Sched.Retracts, Requests: st.Requests.Submitted,
	}
	r.link.Send(r.last)
}

// reachable is the URL of an address from this machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "http://" + addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
