// Package ui is the only one that writes to a terminal. Its rules: the answer goes to stdout, the conversation to
// stderr; colour only where the stream is a terminal and NO_COLOR is unset, and never as the only carrier of meaning;
// what --json prints is one JSON value and nothing else; ASCII in everything radish itself says, but for the marks of
// steps where the locale does not speak against them.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/fatih/color"
	"golang.org/x/sys/unix"
)

// Terminal is where a command speaks. The zero value is silent.
type Terminal struct {
	Out, Err io.Writer
	colour   bool
	live     bool // Err is a terminal: what was written there can be drawn over
	ascii    bool // the locale has no check mark
}

// Standard speaks to the process's own streams.
func Standard() *Terminal {
	t := &Terminal{Out: os.Stdout, Err: os.Stderr, colour: IsTerminal(os.Stderr) && os.Getenv("NO_COLOR") == ""}
	t.live = IsTerminal(os.Stderr) && os.Getenv("TERM") != "dumb"
	t.ascii = !utf8Locale(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG"))
	return t
}

// utf8Locale reads the variables in the order in which they win. Where none is set, as in most containers, whoever looks
// has UTF-8.
func utf8Locale(vars ...string) bool {
	for _, v := range vars {
		if v != "" {
			v = strings.ToLower(strings.ReplaceAll(v, "-", ""))
			return strings.Contains(v, "utf8")
		}
	}
	return true
}

// IsTerminal says whether f is a terminal, as opposed to a file or a pipe.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Answer writes to stdout as fmt.Fprintf does.
func (t *Terminal) Answer(format string, args ...any) { write(t.Out, format, args) }

// Say writes a line to stderr.
func (t *Terminal) Say(format string, args ...any) { write(t.Err, format+"\n", args) }

func write(w io.Writer, format string, args []any) {
	if w != nil {
		fmt.Fprintf(w, format, args...)
	}
}

// Problem writes an error and, if there is one, the advice that goes with it.
func (t *Terminal) Problem(err error, advice string) {
	t.Say("%s %s", t.paint(color.FgRed, "radish:"), err)
	if advice != "" {
		t.Say("%s %s", t.paint(color.FgCyan, "  try:"), advice)
	}
}

// Step writes the outcome of one step of several to stderr, and what to do about a failure.
func (t *Terminal) Step(ok bool, name, text, advice string) {
	mark, colour := "\u2713", color.FgGreen
	switch {
	case !ok && t.ascii:
		mark, colour = "FAIL", color.FgRed
	case !ok:
		mark, colour = "\u2717", color.FgRed
	case t.ascii:
		mark = "ok"
	}
	t.Say("%s %-8s %s", t.paint(colour, mark), name, text)
	if advice != "" {
		t.Say("%s %s", t.paint(color.FgCyan, "  try:"), advice)
	}
}

func (t *Terminal) paint(c color.Attribute, s string) string {
	p := color.New(c)
	if t.colour {
		p.EnableColor()
	} else {
		p.DisableColor()
	}
	return p.Sprint(s)
}

// JSON writes v to stdout, indented.
func (t *Terminal) JSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	t.Answer("%s\n", b)
	return nil
}

// JSONLine writes v to stdout on a line of its own: one event of many.
func (t *Terminal) JSONLine(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	t.Answer("%s\n", b)
	return nil
}

// Table writes rows to w with aligned columns.
func Table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, cell)
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// Bytes is n in the binary unit that suits it.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// Prompt writes s to stderr without a line end, for someone who types.
func (t *Terminal) Prompt(s string) { write(t.Err, "%s", []any{s}) }
