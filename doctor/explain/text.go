package explain

import (
	"fmt"
	"strings"
)

// Text is the report for a person, in ASCII and without colour.
func (r *Report) Text() string {
	var b strings.Builder
	if r.Cause != nil {
		b.WriteString("cause: ")
		r.Cause.write(&b)
	} else {
		fmt.Fprintf(&b, "no cause found in %d lines\n", r.Lines)
		if len(r.Echoes) > 0 {
			b.WriteString("  what follows is said because of something that this log does not show: look further up, or in the kernel's log\n")
		}
	}
	section(&b, "also", r.Also)
	section(&b, "echo", r.Echoes)
	section(&b, "harmless", r.Benign)
	if r.Telemetry != nil {
		r.Telemetry.write(&b)
	}
	return b.String()
}

// section writes findings one line each, or in full if there is no cause that would explain them.
func section(b *strings.Builder, name string, fs []Finding) {
	for i := range fs {
		f := &fs[i]
		fmt.Fprintf(b, "\n%s: ", name)
		if f.Because == "" && f.Class != Cause {
			f.write(b)
			continue
		}
		fmt.Fprintf(b, "%s [%s]%s\n  %s\n", f.Title, f.ID, f.times(), f.where())
		if f.Because != "" {
			fmt.Fprintf(b, "  because of %s\n", f.Because)
		}
	}
}

func (f *Finding) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s [%s]%s\n  %s\n  %s\n", f.Title, f.ID, f.times(), f.where(), f.Why)
	if f.Note != "" {
		fmt.Fprintf(b, "  %s\n", f.Note)
	}
	if f.Survived {
		b.WriteString("  the server became ready, or was started again, after this\n")
	}
	for _, x := range f.Fix {
		x.write(b)
	}
	if f.Parks {
		b.WriteString("  a restart alone does not help\n")
	}
	fmt.Fprintf(b, "  source: %s\n", f.Source)
}

func (x Fix) write(b *strings.Builder) {
	switch {
	case len(x.Argv) == 0:
		fmt.Fprintf(b, "  fix: %s\n", x.Do)
	case x.Do == "":
		fmt.Fprintf(b, "  fix: %s\n", shell(x.Argv))
	default:
		fmt.Fprintf(b, "  fix: %s: %s\n", strings.TrimSuffix(x.Do, ":"), shell(x.Argv))
	}
}

func (f *Finding) where() string {
	if f.Phase == "" {
		return fmt.Sprintf("line %d: %s", f.Line, f.Text)
	}
	return fmt.Sprintf("line %d (%s): %s", f.Line, f.Phase, f.Text)
}

func (f *Finding) times() string {
	if f.Count < 2 {
		return ""
	}
	return fmt.Sprintf(" x%d", f.Count)
}

// shell writes a command so that it can be pasted.
func shell(argv []string) string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = a
		if strings.ContainsAny(a, " *?|<>;&()'\"$`\\") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func (t *Telemetry) write(b *strings.Builder) {
	fmt.Fprintf(b, "\ntelemetry: %d lines; at most %.0f running, %.0f waiting, KV pool %.0f %% full; %.0f tok/s on average, %.0f at most\n",
		t.Lines, t.PeakRunning, t.PeakQueued, t.PeakUsage*100, t.MeanGen, t.PeakGen)
	if all := t.NewTokens + t.CachedTokens; all > 0 {
		fmt.Fprintf(b, "  %.0f of %.0f prompt tokens came from the prefix cache (%.0f %%)\n", t.CachedTokens, all, t.CachedTokens/all*100)
	}
	for _, term := range t.Glossary {
		fmt.Fprintf(b, "  %-17s %s\n", term.Field, term.Meaning)
	}
}
