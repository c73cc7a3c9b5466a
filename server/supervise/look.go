package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Look says how an instance is, whether its supervisor runs, was stopped, was killed, or does not answer.
func Look(ctx context.Context, p Place) (*Status, error) {
	st, err := Ask(ctx, p, VerbStatus)
	if err == nil {
		return st, nil
	}
	old, readErr := readState(p.state())
	if readErr != nil {
		return nil, readErr
	}
	if old == nil {
		old = &Status{Schema: Schema, State: Stopped, Reason: "it was never started here", Log: LogFacts{Path: p.Log()}}
	}
	switch {
	case errors.Is(err, ErrUnreachable):
		old.State, old.Reason = Lost, err.Error()
	case !errors.Is(err, ErrNotRunning):
		return nil, err
	case old.Worker != nil && old.Worker.alive():
		old.State, old.Reason = Lost, fmt.Sprintf("the supervisor is gone, its worker %d still runs", old.Worker.PID)
	case old.State != Stopped && old.State != Parked:
		old.State, old.Reason = Stopped, fmt.Sprintf("the supervisor ended without a word while it was %s", old.State)
		old.Worker, old.Report = nil, nil
	default:
		if old.State == Parked {
			old.Reason = "parked: " + old.Reason
		}
		old.State = Stopped
	}
	return old, nil
}

// Rescue ends what a supervisor that does not answer, or that was killed, has left: the supervisor if it still has the
// lock, then its worker. Everything is signalled only if it is provably the process of the state file.
func Rescue(ctx context.Context, p Place) error {
	st, err := readState(p.state())
	if err != nil {
		return err
	}
	if st == nil {
		return ErrNotRunning
	}
	if held, err := p.held(); err != nil {
		return err
	} else if held {
		if st.Supervisor == nil {
			return fmt.Errorf("end supervisor: the state file does not name it")
		}
		if err := st.Supervisor.signal(syscall.SIGKILL); err != nil {
			return fmt.Errorf("end supervisor: %w", err)
		}
	}
	for held := true; held; {
		if held, err = p.held(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return endLeftovers(st, Policy{}.withDefaults().Sweep)
}

// clearLeftovers ends what an earlier supervisor of this instance left when it was killed. It runs with the lock held.
func (s *Supervisor) clearLeftovers() error {
	st, err := readState(s.cfg.Place.state())
	if err != nil {
		// A state file that cannot be read names nobody who could be signalled.
		s.warn(err.Error())
		return removeFile(s.cfg.Place.state())
	}
	return endLeftovers(st, s.cfg.Policy.Sweep)
}

// endLeftovers kills the worker of st and what carries its tag. A number that belongs to somebody else by now is left
// alone, and so is everything from another boot or pid namespace.
func endLeftovers(st *Status, patience time.Duration) error {
	if st == nil || st.Worker == nil || st.Worker.Tag == "" {
		return nil
	}
	leader := Identity{PID: -1} // nobody
	if st.Worker.alive() {
		leader = st.Worker.Identity
	}
	if left := sweep(leader, st.Worker.Tag, patience); len(left) > 0 {
		return fmt.Errorf("end what an earlier start left: processes %v survive SIGKILL", left)
	}
	return nil
}

func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}
