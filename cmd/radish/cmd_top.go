package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/supervise"
)

type topFlags struct {
	instance
	every time.Duration
}

func newTopCommand(term *ui.Terminal) *cobra.Command {
	f := &topFlags{}
	c := &cobra.Command{
		Use:   "top",
		Short: "watch an instance live in the terminal",
		Long: `Watch an instance live: what radish status tells, and how the last minutes went. It needs a terminal;
q ends it, and nothing else about the instance is touched.

  radish top
  radish top --name small --interval 5s
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTop(c.Context(), f) },
	}
	f.add(c)
	c.Flags().DurationVar(&f.every, "interval", time.Second, "time between two looks, at least 100ms")
	return c
}

var errNoTerminal = errors.New("watch instance: this is not a terminal")

func runTop(ctx context.Context, f *topFlags) error {
	if f.every < 100*time.Millisecond {
		return &usageError{err: fmt.Errorf("interval %s is shorter than 100ms", f.every)}
	}
	if !ui.IsTerminal(os.Stdin) || !ui.IsTerminal(os.Stdout) {
		return advise(errNoTerminal, "radish status --name %s", f.name)
	}
	m := &topModel{flags: f, ctx: ctx}
	_, err := tea.NewProgram(m, tea.WithContext(ctx)).Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, tea.ErrInterrupted):
		return context.Canceled
	case err != nil:
		return fmt.Errorf("watch instance: %w", err)
	}
	return nil
}

// mostPoints is how far back the curves go.
const mostPoints = 60

// topModel is the screen: the last look and the curves.
type topModel struct {
	flags  *topFlags
	ctx    context.Context
	status *supervise.Status
	err    error
	out    []float64 // tokens per second
	kv     []float64 // 0 to 1
	queue  []float64
}

// looked is the result of one look.
type looked struct {
	status *supervise.Status
	err    error
}

// Init implements tea.Model.
func (m *topModel) Init() tea.Cmd { return m.look }

func (m *topModel) look() tea.Msg {
	st, err := m.flags.look(m.ctx)
	return looked{st, err}
}

// Update implements tea.Model.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		}
	case looked:
		m.took(msg)
		return m, tea.Tick(m.flags.every, func(time.Time) tea.Msg { return m.look() })
	}
	return m, nil
}

func (m *topModel) took(l looked) {
	if m.err = l.err; l.err != nil {
		return
	}
	m.status = l.status
	f := &supervise.Figures{}
	if r := l.status.Report; r != nil && r.Figures != nil {
		f = r.Figures
	}
	m.out, m.kv, m.queue = push(m.out, f.TokensPerSec), push(m.kv, f.KVUsage), push(m.queue, float64(f.Queued))
}

func push(points []float64, v float64) []float64 {
	points = append(points, v)
	return points[max(0, len(points)-mostPoints):]
}

// View implements tea.Model.
func (m *topModel) View() tea.View {
	v := tea.NewView(m.text())
	v.AltScreen = true
	return v
}

func (m *topModel) text() string {
	var b strings.Builder
	switch {
	case m.err != nil:
		fmt.Fprintf(&b, "%v\n", m.err)
	case m.status == nil:
		b.WriteString("looking\n")
	default:
		b.WriteString(statusText(answerOf(m.status)))
		fmt.Fprintf(&b, "\n  tokens/s  %s  up to %.1f\n", curve(m.out, 0), peak(m.out))
		fmt.Fprintf(&b, "  queued    %s  up to %.0f\n", curve(m.queue, 0), peak(m.queue))
		fmt.Fprintf(&b, "  kv held   %s  up to %.1f %%\n", curve(m.kv, 1), 100*peak(m.kv))
	}
	b.WriteString("\n  q: quit\n")
	return b.String()
}

func peak(points []float64) (p float64) {
	for _, v := range points {
		p = max(p, v)
	}
	return p
}

// levels draw a value in ASCII, from nothing to the top of the scale.
const levels = " .:-=+*#%@"

// curve draws points against top; 0 means against their own peak.
func curve(points []float64, top float64) string {
	if top == 0 {
		top = peak(points)
	}
	b := []byte(strings.Repeat(" ", mostPoints-len(points)))
	for _, v := range points {
		i := 0
		if top > 0 && v > 0 {
			i = min(len(levels)-1, 1+int(v/top*float64(len(levels)-2)))
		}
		b = append(b, levels[i])
	}
	return "|" + string(b) + "|"
}
