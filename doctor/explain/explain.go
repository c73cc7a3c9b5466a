// Package explain reads the log of any model server, installer or kernel and names the first cause of what went wrong
// in it, not the echo that comes last.
//
//	rep, err := explain.Read(file, explain.Facts{SM: 86})
//	rep.Cause.Title // "no kernel image for this GPU", with the line, the why and the commands that mend it
//
// What it knows is a table of rules (Rules), each a pattern with a class: a Cause is where the trouble began, an Echo
// is said by somebody whom the trouble reached later ("scheduler is dead"), a Benign line is one that people mistake for
// an error (telemetry). Causes come before echoes and the earliest cause wins; an echo points at the cause that the
// same run shows, if it shows one. A log of several starts is judged by its last run that has a cause: the start of a
// server, and its becoming ready, both end what came before.
//
// Some rules look at more than their line: at the phase that the log has reached (the same out-of-memory line asks for
// opposite settings at load and at graph capture), at the lines just before, at a silence between two timestamps, or
// at live facts of the machine that the caller passes in. A rule that a fact contradicts does not speak.
//
// A log may be of any size. It is read once, a line at a time; a line longer than 8 KiB is read in windows that overlap,
// so that nothing in it is missed; what is kept is one hit per rule. Colour codes go, a carriage return ends a line (as
// progress bars use it), and everything that leaves the package has secrets masked and control characters removed.
package explain

import (
	_ "embed"
	"fmt"
	"io"
	"sort"
	"time"
)

// Schema names the shape of a Report as JSON. It changes when a field changes its meaning or goes.
const Schema = "radish.explain/1"

// JSONSchema describes Report as JSON, in JSON Schema draft 2020-12.
//
//go:embed report.schema.json
var JSONSchema []byte

// Facts are what the caller knows about the machine that wrote the log. The zero value knows nothing.
type Facts struct {
	SM       int           `json:"sm,omitempty"`        // compute capability of the GPU, 86 for 8.6; 0: unknown
	Driver   string        `json:"driver,omitempty"`    // NVIDIA driver, "535.183.01"
	OOMKnown bool          `json:"oom_known,omitempty"` // OOMKills was read
	OOMKills int64         `json:"oom_kills,omitempty"` // processes that the kernel killed for memory in this cgroup
	Idle     time.Duration `json:"-"`                   // since the log was last written; 0: unknown
}

// Report is what a log says.
type Report struct {
	Schema    string     `json:"schema"`
	Rules     string     `json:"rules"` // date of the table
	Facts     Facts      `json:"facts"`
	Lines     int64      `json:"lines"`
	Bytes     int64      `json:"bytes"`
	Phase     Phase      `json:"phase"`            // that the log ended in; "" when no line told
	Cause     *Finding   `json:"cause"`            // the first cause; null: none is known
	Also      []Finding  `json:"also,omitempty"`   // further causes, in the order of the log
	Echoes    []Finding  `json:"echoes,omitempty"` // what followed from a cause
	Benign    []Finding  `json:"benign,omitempty"` // what looks like an error and is none
	Telemetry *Telemetry `json:"telemetry,omitempty"`
}

// Finding is one rule that spoke, with its first line in the run that is judged.
type Finding struct {
	ID        string `json:"id"`
	Signature int    `json:"signature,omitempty"`
	Class     Class  `json:"class"`
	Phase     Phase  `json:"phase"` // of the log at that line
	Title     string `json:"title"`
	Why       string `json:"why"`
	Note      string `json:"note,omitempty"` // what a live fact or the line's own numbers add
	Fix       []Fix  `json:"fix,omitempty"`
	Source    string `json:"source"`
	Parks     bool   `json:"parks"` // a restart cannot help
	Line      int64  `json:"line"`  // counted from 1
	Text      string `json:"text"`  // the line, masked and cut
	Count     int64  `json:"count"` // lines in the whole log
	Because   string `json:"because,omitempty"`
	Survived  bool   `json:"survived,omitempty"` // a server became ready, or was started anew, after it
}

// Fix is one step: a sentence, or a command, or both.
type Fix struct {
	Do   string   `json:"do,omitempty"`
	Argv []string `json:"argv,omitempty"`
}

// Read explains the log r. Its only error is that r could not be read.
func Read(r io.Reader, facts Facts) (*Report, error) {
	s := newScan(facts)
	if err := eachLine(r, s.line); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	s.end()
	return s.report(), nil
}

// report ranks what the scan has kept.
func (s *scan) report() *Report {
	rep := &Report{Schema: Schema, Rules: Dated, Facts: s.facts, Lines: s.lines, Bytes: s.bytes, Phase: s.phase, Telemetry: s.told.summary()}
	var causes []Finding
	for i, h := range s.hits {
		if h.count == 0 {
			continue
		}
		f := s.finding(&rules[i], h)
		switch f.Class {
		case Cause:
			causes = append(causes, f)
		case Echo:
			rep.Echoes = append(rep.Echoes, f)
		default:
			rep.Benign = append(rep.Benign, f)
		}
	}
	s.rank(rep, causes)
	return rep
}

// rank puts the earliest cause of the last run that has one first, the rest in the order of the log.
func (s *scan) rank(rep *Report, causes []Finding) {
	for _, fs := range [][]Finding{causes, rep.Echoes, rep.Benign} {
		sort.SliceStable(fs, func(i, j int) bool { return fs[i].Line < fs[j].Line })
	}
	if len(causes) == 0 {
		return
	}
	for i := range rep.Echoes {
		rep.Echoes[i].Because = s.causeOf(rep.Echoes[i].Line, causes)
	}
	start := s.runOf(causes[len(causes)-1].Line)
	first := 0
	for causes[first].Line < start {
		first++
	}
	rep.Cause = &causes[first]
	for i := range causes {
		if i != first {
			rep.Also = append(rep.Also, causes[i])
		}
	}
}

// causeOf is the first cause in the run that an echo's line belongs to, "" if that run shows none.
func (s *scan) causeOf(line int64, causes []Finding) string {
	for _, c := range causes {
		if s.runOf(c.Line) == s.runOf(line) {
			return c.ID
		}
	}
	return ""
}
