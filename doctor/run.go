package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"radish/doctor/host"
)

const defaultTimeout = 2 * time.Second

// Run judges the facts with the checks and reports in the order in which the checks were given. A dependency that is not
// among the checks counts as well, because somebody left it out on purpose; a circle of dependencies is skipped.
func Run(ctx context.Context, facts *host.Facts, checks []Check) *Report {
	r := &Report{Schema: Schema, Time: facts.Time.UTC().Format(time.RFC3339), Findings: make([]Finding, len(checks))}
	done := make(map[string]chan struct{}, len(checks))
	place := make(map[string]int, len(checks))
	for i, c := range checks {
		done[c.ID], place[c.ID] = make(chan struct{}), i
	}
	circular := circles(checks)
	for i, c := range checks {
		go func() {
			defer close(done[c.ID])
			if circular[c.ID] {
				r.Findings[i] = label(c, Finding{State: Crashed, Summary: "depends on itself"})
				return
			}
			for _, d := range c.DependsOn {
				if _, known := done[d]; !known {
					continue
				}
				<-done[d]
				if s := r.Findings[place[d]].State; s != OK && s != Warn {
					r.Findings[i] = label(c, Finding{State: Skipped, Summary: fmt.Sprintf("needs %s, which is %s", d, s)})
					return
				}
			}
			r.Findings[i] = label(c, isolated(ctx, facts, c))
		}()
	}
	for _, c := range checks {
		<-done[c.ID]
	}
	r.count()
	return r
}

// isolated runs one check so that neither its panic nor its silence reaches anyone else. A check that is too late goes
// on alone; its answer is thrown away.
func isolated(ctx context.Context, facts *host.Facts, c Check) Finding {
	limit := c.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer := make(chan Finding, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer <- Finding{State: Crashed, Summary: fmt.Sprintf("the check itself crashed: %v", p)}
			}
		}()
		answer <- c.Run(ctx, facts)
	}()
	select {
	case f := <-answer:
		return f
	case <-ctx.Done():
		return Finding{State: Unknown, Summary: fmt.Sprintf("no answer within %s", limit), Rule: "each check has a deadline"}
	}
}

func label(c Check, f Finding) Finding {
	f.ID, f.Title, f.Family, f.Minor = c.ID, c.Title, c.Family, c.Minor
	f.Summary = printable(f.Summary)
	told := make([]Evidence, 0, len(f.Evidence))
	for _, e := range f.Evidence {
		told = append(told, Evidence{printable(e.Source), printable(e.Value)})
	}
	f.Evidence = told
	switch f.State {
	case OK, Warn, Fail, Unknown, Skipped, Crashed:
	default:
		f.State, f.Summary = Crashed, fmt.Sprintf("the check answered with state %q", f.State)
	}
	return f
}

// printable keeps names from elsewhere (processes, directories, cards) from speaking to the reader's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// circles names the checks that can reach themselves.
func circles(checks []Check) map[string]bool {
	next := map[string][]string{}
	for _, c := range checks {
		next[c.ID] = c.DependsOn
	}
	found := map[string]bool{}
	for _, c := range checks {
		seen := map[string]bool{}
		for todo := append([]string{}, c.DependsOn...); len(todo) > 0; {
			id := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if id == c.ID {
				found[c.ID] = true
				break
			}
			if !seen[id] {
				seen[id] = true
				todo = append(todo, next[id]...)
			}
		}
	}
	return found
}
