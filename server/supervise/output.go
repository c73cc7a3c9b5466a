package supervise

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// event is one line of events.jsonl.
type event struct {
	Time     time.Time `json:"time"`
	State    State     `json:"state"`
	Reason   string    `json:"reason"`
	Restarts int       `json:"restarts"`
	Exit     *Exit     `json:"exit,omitempty"`
	Tail     string    `json:"tail,omitempty"` // last output of the run that ended
}

// mostEvents is the size at which the events begin anew; the file before is kept.
const mostEvents = 4 << 20

// output is where the worker's lines and the supervisor's events go. Nothing here waits for a disk.
type output struct {
	cfg  *Config
	disk *sink
	tee  *sink
	mu   sync.Mutex
	seen LogFacts
}

func newOutput(cfg *Config) *output {
	o := &output{cfg: cfg}
	log := newLogfile(cfg.Place.Logs, cfg.Logs)
	o.seen.Path = log.path()
	o.disk = newSink(func(b []byte) { o.toDisk(log, b) })
	if cfg.Tee != nil {
		o.tee = newSink(func(b []byte) { cfg.Tee.Write(b) })
	}
	return o
}

// The first byte of what is queued for the disk says what it is.
const (
	isLine  = 'l'
	isEvent = 'e'
	isBegin = 'b'
)

// toDisk runs on the sink's goroutine and owns log.
func (o *output) toDisk(log *logfile, b []byte) {
	now := o.cfg.Hooks.Now()
	log.zipped(false, now)
	switch b[0] {
	case isBegin:
		log.begin(now)
	case isEvent:
		log.note(appendEvent(o.cfg.Place.events(), b[1:]))
	default:
		log.write([]byte(o.cfg.Hooks.Mask(string(b[1:]))), now)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.Dropped = log.dropped
	if log.lastErr != nil {
		o.seen.Error = log.lastErr.Error()
	}
}

func appendEvent(name string, line []byte) error {
	if info, err := os.Stat(name); err == nil && info.Size() > mostEvents {
		if err := os.Rename(name, name+".1"); err != nil {
			return err
		}
	}
	f, err := openPrivate(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(line); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (o *output) begin() { o.disk.put([]byte{isBegin}) }

// take is given each line of the worker's output.
func (o *output) take(line []byte) {
	o.disk.put(append([]byte{isLine}, line...))
	if o.tee != nil {
		o.tee.put(line)
	}
}

// say puts a line of the supervisor's own among the worker's.
func (o *output) say(now time.Time, text string) {
	o.take(fmt.Appendf(nil, "[%s] supervisor: %s\n", now.Format(time.DateTime), text))
}

func (o *output) event(e event) {
	e.Tail = o.cfg.Hooks.Mask(e.Tail)
	b, err := json.Marshal(e)
	if err != nil {
		return // its fields are all ours and can be encoded
	}
	o.disk.put(append(append([]byte{isEvent}, b...), '\n'))
}

func (o *output) facts() LogFacts {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.seen
	f.Dropped += o.disk.lost()
	return f
}

// close gives the disk a few seconds to take what is queued.
func (o *output) close() {
	o.disk.close(3 * time.Second)
	if o.tee != nil {
		o.tee.close(time.Second)
	}
}
