package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Verb is what can be asked of a supervisor.
type Verb string

// The verbs. Every answer is the status after it was taken in; none waits for its outcome.
const (
	VerbStatus  Verb = "status"
	VerbStop    Verb = "stop"
	VerbStopNow Verb = "stop-now" // without letting requests finish
	VerbRestart Verb = "restart"
)

// request is one line on the control socket.
type request struct {
	Verb   Verb `json:"verb"`
	answer chan response
}

type response struct {
	Error  string  `json:"error,omitempty"`
	Status *Status `json:"status,omitempty"`
}

const (
	controlTimeout = 5 * time.Second
	mostRequest    = 4 << 10
)

// listen opens the control socket, for our own user only.
func (s *Supervisor) listen() (net.Listener, error) {
	name := s.cfg.Place.socket()
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // we hold the lock: it is nobody's
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, fmt.Errorf("make control socket private: %w", errors.Join(err, l.Close()))
	}
	s.talks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.talks.Go(func() { s.talk(c.(*net.UnixConn)) })
		}
	})
	return l, nil
}

// talk answers one request.
func (s *Supervisor) talk(c *net.UnixConn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(controlTimeout))
	var q request
	out := response{Error: "not a request"}
	line, err := bufio.NewReader(io.LimitReader(c, mostRequest)).ReadBytes('\n')
	switch {
	case !ours(c):
		out.Error = "not your instance"
	case err == nil && json.Unmarshal(line, &q) == nil:
		out = s.ask(q)
	}
	json.NewEncoder(c).Encode(out) // a client that left does not matter
}

// ask puts a request to the loop.
func (s *Supervisor) ask(q request) response {
	q.answer = make(chan response, 1)
	late := time.After(controlTimeout)
	select {
	case s.inbox.requests <- q:
		return <-q.answer
	case <-s.over:
		return response{Error: hasEnded}
	case <-late:
		return response{Error: "the supervisor is busy"}
	}
}

// serve runs in the loop.
func (s *Supervisor) serve(q request) response {
	switch q.Verb {
	case VerbStatus:
	case VerbStop:
		s.stop(false, "asked to stop")
	case VerbStopNow:
		s.stop(true, "asked to stop now")
	case VerbRestart:
		s.restart("asked to restart")
	default:
		return response{Error: fmt.Sprintf("unknown verb %q", q.Verb)}
	}
	return response{Status: s.status()}
}

// ours says whether the other end is our user, or root.
func ours(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return false
	}
	return credErr == nil && (cred.Uid == 0 || int(cred.Uid) == os.Getuid())
}

// hasEnded is the answer to who came too late.
const hasEnded = "the supervisor has ended"

// Ask puts verb to the instance's supervisor and returns its status. Errors: ErrNotRunning, ErrEnded, ErrUnreachable.
func Ask(ctx context.Context, p Place, verb Verb) (*Status, error) {
	ctx, stop := context.WithTimeout(ctx, 2*controlTimeout)
	defer stop()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", p.socket())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		if held, _ := p.held(); !held {
			return nil, ErrNotRunning
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer c.Close()
	if until, ok := ctx.Deadline(); ok {
		c.SetDeadline(until)
	}
	var r response
	err = json.NewEncoder(c).Encode(request{Verb: verb})
	if err == nil {
		err = json.NewDecoder(io.LimitReader(c, mostState)).Decode(&r)
	}
	switch {
	case (hungUp(err) || r.Error == hasEnded) && p.released(ctx):
		return nil, ErrEnded
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	case r.Error != "" || r.Status == nil:
		return nil, fmt.Errorf("ask supervisor to %s: %s", verb, r.Error)
	}
	return r.Status, nil
}

// hungUp says that the other end closed the connection without an answer, as happens to those who wait to be heard when
// the socket is closed.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
