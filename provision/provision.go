// Package provision brings a machine to a stated end by steps that can be repeated. A step first looks at how things
// stand, which changes nothing and is all that Plan does; Apply then does what is not done yet. It may be killed at any
// point and called again: what an earlier run has reached is found again by looking at the thing itself, never believed
// because the journal says so.
//
//	steps := append([]provision.Step{machine, memory}, model.Pull(), model.Verify(), start, ready)
//	results, err := provision.Plan(ctx, steps, nil)              // dry run
//	results, err = provision.Apply(ctx, steps, journal, tell)
//
// The package knows how to bring a model here and to know it whole (Model). What needs the doctor, the server or the
// supervisor comes in as steps of whoever calls.
package provision

import (
	"context"
	"fmt"
	"time"
)

// Step is one thing to be so.
type Step struct {
	Name string
	// Look says how things stand. It changes nothing, and does not mind that the steps before it were not done.
	Look func(context.Context) (Standing, error)
	// Do brings the step about, after Look said that it is not done. Killed at any point, it can be called again. Nil:
	// looking is all there is to do, and what is not done then is an error of Look.
	Do func(context.Context) (Standing, error)
	// Changes says that Do changes the machine: it is written into the journal before and after.
	Changes bool
}

// Standing is how things stand with a step.
type Standing struct {
	Done    bool
	Text    string   // what is there, or what is to be done
	Changed []string // paths and processes that Do made, changed or ended
}

// State is what became of a step.
type State string

// The states. A step is OK that only had to look, Already if it was done before, Would in a dry run.
const (
	Begun   State = "begun" // told before Do
	OK      State = "ok"
	Already State = "already"
	Done    State = "done"
	Would   State = "would"
	Failed  State = "failed"
)

// Result is a step and what became of it.
type Result struct {
	Step    string   `json:"step"`
	State   State    `json:"state"`
	Text    string   `json:"text"`
	Changed []string `json:"changed,omitempty"`
	Seconds float64  `json:"seconds"`
	Err     error    `json:"-"`
}

// Tell is told of every step: once when it begins to be done, once when it is over. It may be nil.
type Tell func(Result)

// Plan looks at every step and changes nothing. It ends with the first error.
func Plan(ctx context.Context, steps []Step, tell Tell) ([]Result, error) {
	return each(steps, tell, func(s Step) (State, Standing, error) {
		now, err := s.Look(ctx)
		if err == nil && !now.Done {
			return Would, now, nil
		}
		return s.looked(), now, err
	})
}

// Apply does what is not done, step by step, and ends with the first error.
func Apply(ctx context.Context, steps []Step, j *Journal, tell Tell) ([]Result, error) {
	if err := j.recover(); err != nil {
		return nil, err
	}
	return each(steps, tell, func(s Step) (State, Standing, error) {
		now, err := s.Look(ctx)
		if err != nil || now.Done {
			return s.looked(), now, err
		}
		if err := ctx.Err(); err != nil {
			return Failed, now, err
		}
		if tell != nil {
			tell(Result{Step: s.Name, State: Begun, Text: now.Text})
		}
		now, err = s.do(ctx, j, now.Text)
		return Done, now, err
	})
}

// looked is the state of a step that looking has shown to be done.
func (s Step) looked() State {
	if s.Do == nil {
		return OK
	}
	return Already
}

// do runs Do between two entries of the journal: who is killed in between leaves the first.
func (s Step) do(ctx context.Context, j *Journal, intent string) (Standing, error) {
	if !s.Changes {
		return s.Do(ctx)
	}
	if err := j.begin(s.Name, intent); err != nil {
		return Standing{}, err
	}
	now, err := s.Do(ctx)
	if jerr := j.end(now, err); err == nil {
		err = jerr
	}
	return now, err
}

func each(steps []Step, tell Tell, run func(Step) (State, Standing, error)) ([]Result, error) {
	var all []Result
	for _, s := range steps {
		began := time.Now()
		state, now, err := run(s)
		r := Result{Step: s.Name, State: state, Text: now.Text, Changed: now.Changed, Seconds: time.Since(began).Seconds()}
		if err != nil {
			r.State, r.Text, r.Err = Failed, err.Error(), err
		}
		all = append(all, r)
		if tell != nil {
			tell(r)
		}
		if err != nil {
			return all, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return all, nil
}
