package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// State is how an instance is.
type State string

// The states. Lost means that nobody can say: the supervisor is gone or deaf, and what it left is not provably ours.
const (
	Stopped  State = "stopped"
	Starting State = "starting"
	Loading  State = "loading"
	Warming  State = "warming"
	Ready    State = "ready"
	Degraded State = "degraded"
	Draining State = "draining"
	Stopping State = "stopping"
	Backoff  State = "backoff"
	Parked   State = "parked"
	Lost     State = "lost"
)

// ExitCode is the state as the exit status of a status command: LSB's 0, 3 and 4, and from its range for applications
// 150 not ready yet, 151 degraded, 152 going down, 153 parked.
func (s State) ExitCode() int {
	switch s {
	case Ready:
		return 0
	case Stopped:
		return 3
	case Starting, Loading, Warming, Backoff:
		return 150
	case Degraded:
		return 151
	case Draining, Stopping:
		return 152
	case Parked:
		return 153
	}
	return 4
}

// Schema names the shape of a Status as JSON. It grows by additions only.
const Schema = "radish.status/1"

// Status is everything that is told of an instance. Times are wall clock and for people; no decision rests on them.
type Status struct {
	Schema     string       `json:"schema"`
	Name       string       `json:"name"`
	State      State        `json:"state"`
	Desired    string       `json:"desired"` // up or down
	Reason     string       `json:"reason"`
	Since      time.Time    `json:"since"` // of State
	At         time.Time    `json:"at"`    // when this was written
	Supervisor *Identity    `json:"supervisor,omitempty"`
	Worker     *Worker      `json:"worker,omitempty"`
	Report     *Report      `json:"report,omitempty"` // the worker's last
	Restarts   Restarts     `json:"restarts"`
	Cause      *Explanation `json:"cause,omitempty"` // of the last failure, where the log shows it
	Log        LogFacts     `json:"log"`
	Warnings   []string     `json:"warnings,omitempty"`
	Args       []string     `json:"args"`
}

// Worker is the process that runs.
type Worker struct {
	Identity
	Tag    string  `json:"tag"`    // in the environment of every process that the worker starts
	Uptime float64 `json:"uptime"` // seconds since it was started
	Ready  float64 `json:"ready"`  // seconds since it was ready; 0: it is not
	RSS    int64   `json:"rss"`    // bytes
}

// Restarts is the history of failures.
type Restarts struct {
	Total    int     `json:"total"`     // since the supervisor was started
	InWindow int     `json:"in_window"` // failures that count towards parking
	NextIn   float64 `json:"next_in"`   // seconds, in backoff
	History  []Exit  `json:"history"`   // the last ones, oldest first
}

// LogFacts says where the worker's output goes and what could not be kept.
type LogFacts struct {
	Path    string `json:"path"`
	Dropped int64  `json:"dropped"`         // bytes
	Error   string `json:"error,omitempty"` // the last one of writing
}

// write replaces the state file at once or not at all.
func (s *Status) write(file string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".state-*") // 0600
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = tmp.Write(append(b, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// mostState bounds what is read from a state file or the socket.
const mostState = 1 << 20

// readState is nil without a file.
func readState(file string) (*Status, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if info.Size() > mostState {
		return nil, fmt.Errorf("read state: %s is larger than %d bytes", file, mostState)
	}
	var s Status
	if err := json.NewDecoder(f).Decode(&s); err != nil {
		return nil, fmt.Errorf("read state %s: %w", file, err)
	}
	return &s, nil
}
