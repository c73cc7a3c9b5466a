package explain

import (
	"strings"
	"time"
)

// hit is what is kept of one rule, whatever the length of the log.
type hit struct {
	count int64
	line  int64 // of the first match in its latest run
	run   int64 // first line of that run
	phase Phase
	text  string
	note  string
	fix   []Fix
}

// armed is a line after which a silence would mean something.
type armed struct {
	rule int
	at   time.Time
	line int64
	view view
	ctx  Context
}

// scan is one pass over a log. Its size does not depend on the log's.
type scan struct {
	facts  Facts
	sift   *sieve
	hits   []hit
	lines  int64
	bytes  int64
	phase  Phase
	start  int64 // line at which the present run began
	before ring
	quiet  *armed
	told   tally
	found  candidates
}

func newScan(facts Facts) *scan {
	return &scan{facts: facts, sift: theSieve, hits: make([]hit, len(rules)), found: newCandidates(theSieve.ids)}
}

// line judges one line, or one window of a long one.
func (s *scan) line(v view) {
	s.bytes += v.fresh
	if v.first {
		s.lines++
	}
	v.number = s.lines
	s.listen(v)
	s.found.reset()
	s.sift.scan(v.text, &s.found)
	for _, id := range s.found.list {
		if id >= len(rules) {
			s.mark(&markers[id-len(rules)], v)
			continue
		}
		s.try(id, v)
	}
	if strings.TrimSpace(v.text) != "" {
		s.before.add(v.text)
	}
}

// try runs one rule whose literal the line holds.
func (s *scan) try(id int, v view) {
	r := &rules[id]
	groups := r.match(v.text)
	if groups == nil {
		return
	}
	ctx := Context{Facts: s.facts, Phase: s.phase, Groups: groups, before: &s.before}
	if r.When != nil && !r.When(&ctx) {
		return
	}
	if r.Signature == telemetrySignature {
		s.told.add(v.text)
	}
	if r.Silence > 0 {
		if at, ok := timestamp(v.text); ok {
			s.quiet = &armed{rule: id, at: at, line: v.number, view: v, ctx: ctx}
		}
		return
	}
	s.keep(id, v, &ctx)
}

// keep remembers the first match of a rule in the present run. A further window of the same line is not counted again.
func (s *scan) keep(id int, v view, ctx *Context) {
	h := &s.hits[id]
	if h.count > 0 && h.line == v.number {
		return
	}
	h.count++
	if h.count > 1 && h.run == s.start {
		return
	}
	r := &rules[id]
	h.line, h.run, h.phase = v.number, s.start, ctx.Phase
	h.text = evidence(v, ctx.Groups[0])
	h.fix = expand(r.Fix, ctx.Groups)
	h.note = ""
	if r.Note != nil {
		h.note = clean(r.Note(ctx, ctx.Groups))
	}
}

// listen compares the first timestamp after an armed line with that line's own.
func (s *scan) listen(v view) {
	if s.quiet == nil {
		return
	}
	at, ok := timestamp(v.text)
	if !ok {
		return
	}
	q := s.quiet
	s.quiet = nil
	if at.Sub(q.at) >= rules[q.rule].Silence {
		s.keep(q.rule, q.view, &q.ctx)
	}
}

// end judges a silence that the end of the log cut off, by the age of the log.
func (s *scan) end() {
	if s.quiet != nil && s.facts.Idle >= rules[s.quiet.rule].Silence {
		s.keep(s.quiet.rule, s.quiet.view, &s.quiet.ctx)
	}
}

// finding is a hit as the report shows it.
func (s *scan) finding(r *Rule, h hit) Finding {
	phase := h.phase
	if phase == "" {
		phase = r.Phase
	}
	return Finding{ID: r.ID, Signature: r.Signature, Class: r.Class, Phase: phase, Title: r.Title, Why: r.Why, Note: h.note, Fix: h.fix,
		Source: r.Source, Parks: r.Parks, Line: h.line, Text: h.text, Count: h.count, Survived: r.Class == Cause && h.run < s.start}
}

// runOf is the first line of the run in which a kept hit at that line was.
func (s *scan) runOf(line int64) int64 {
	for _, h := range s.hits {
		if h.count > 0 && h.line == line {
			return h.run
		}
	}
	return 0
}

// ring holds the last few lines, cut short.
type ring struct {
	lines [8]string
	next  int
}

func (r *ring) add(s string) {
	const most = 256
	if len(s) > most {
		s = s[:most]
	}
	r.lines[r.next%len(r.lines)] = s
	r.next++
}

func (r *ring) holds(s string) bool {
	for _, l := range r.lines {
		if strings.Contains(l, s) {
			return true
		}
	}
	return false
}
