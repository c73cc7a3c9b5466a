package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// JournalSchema names the shape of a journal. It grows by additions only.
const JournalSchema = "radish.setup.journal/1"

// ErrBusy says that another process provisions the same thing right now.
var ErrBusy = errors.New("another set-up is at work")

// Entry is one change of the machine. State is begun, done, failed, or interrupted: its process was killed in between.
type Entry struct {
	Time    time.Time `json:"time"` // it began
	Step    string    `json:"step"`
	Intent  string    `json:"intent"`
	State   string    `json:"state"`
	Ended   time.Time `json:"ended,omitzero"`
	Changed []string  `json:"changed,omitempty"`
	Error   string    `json:"error,omitempty"`
}

const interrupted = "interrupted"

// Limits of a journal: entries kept, and bytes that are read.
const (
	mostEntries = 200
	mostJournal = 16 << 20
)

// Journal is what was changed, in a file that is replaced at once or not at all. It is written only when something
// changes. One process at a time has it.
type Journal struct {
	file string
	lock *os.File
	now  func() time.Time
	doc  struct {
		Schema   string             `json:"schema"`
		Entries  []Entry            `json:"entries"`            // oldest first
		Verified map[string][]stamp `json:"verified,omitempty"` // by snapshot directory
	}
}

// OpenJournal takes the journal at file, which need not exist; lock is a file on a local filesystem that says who has
// it. Errors: ErrBusy.
func OpenJournal(file, lock string) (*Journal, error) {
	for _, f := range []string{file, lock} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
	}
	l, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := syscall.Flock(int(l.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		l.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock journal: %w", err)
	}
	j, err := ReadJournal(file)
	if err != nil {
		l.Close()
		return nil, err
	}
	j.lock = l
	return j, nil
}

// ReadJournal reads the journal at file to look at it only.
func ReadJournal(file string) (*Journal, error) {
	j := &Journal{file: file, now: time.Now}
	j.doc.Schema = JournalSchema
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err == nil && info.Size() > mostJournal {
		err = fmt.Errorf("%d bytes, more than %d", info.Size(), mostJournal)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(file)
	}
	if err == nil {
		err = json.Unmarshal(b, &j.doc)
	}
	if err != nil {
		return nil, fmt.Errorf("read journal %s: %w", file, err)
	}
	return j, nil
}

// Close lets the journal go.
func (j *Journal) Close() error {
	if j.lock == nil {
		return nil
	}
	return j.lock.Close()
}

// Entries are the changes, oldest first.
func (j *Journal) Entries() []Entry { return j.doc.Entries }

// recover marks what an earlier process has begun and not ended.
func (j *Journal) recover() error {
	changed := false
	for i := range j.doc.Entries {
		if e := &j.doc.Entries[i]; e.State == string(Begun) {
			e.State, changed = interrupted, true
		}
	}
	if !changed {
		return nil
	}
	return j.write()
}

func (j *Journal) begin(step, intent string) error {
	j.doc.Entries = append(j.doc.Entries, Entry{Time: j.now().UTC(), Step: step, Intent: intent, State: string(Begun)})
	j.doc.Entries = j.doc.Entries[max(0, len(j.doc.Entries)-mostEntries):]
	return j.write()
}

func (j *Journal) end(now Standing, err error) error {
	e := &j.doc.Entries[len(j.doc.Entries)-1]
	e.State, e.Ended, e.Changed = string(Done), j.now().UTC(), now.Changed
	if err != nil {
		e.State, e.Error = string(Failed), err.Error()
	}
	return j.write()
}

func (j *Journal) write() error {
	b, err := json.MarshalIndent(&j.doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	// One name, so that a process killed here leaves nothing that the next one does not use again.
	fresh := j.file + ".new"
	out, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	_, err = out.Write(append(b, '\n'))
	if err = errors.Join(err, out.Sync(), out.Close()); err == nil {
		err = os.Rename(fresh, j.file)
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", errors.Join(err, os.Remove(fresh)))
	}
	return nil
}
