package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"radish/cmd/internal/ui"
)

// shown is every command that --help shows. cobra's own two explain themselves in cobra's words.
func shown(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	eachCommand(newRootCommand(&ui.Terminal{Out: io.Discard, Err: io.Discard}), func(c *cobra.Command) {
		if !c.Hidden && c.Name() != "help" && c.Name() != "completion" {
			all = append(all, c)
		}
	})
	if len(all) < 8 {
		t.Fatalf("only %d commands are shown", len(all))
	}
	return all
}

var statusLine = regexp.MustCompile(`^  (\d+)(?:-\d+)?  +\S`)

// TestEveryCommandExplainsItself: an example that a user can copy, and what each exit code means.
func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range shown(t) {
		if mistakes := helpMistakes(c); len(mistakes) > 0 {
			t.Errorf("%s: its help (Long, in the form of the other commands) has\n  %s", c.CommandPath(), strings.Join(mistakes, "\n  "))
		}
	}
}

func helpMistakes(c *cobra.Command) []string {
	var all []string
	text, status, found := strings.Cut(c.Long, "\nEXIT STATUS\n")
	if !found {
		all = append(all, "no line EXIT STATUS")
	}
	example := regexp.MustCompile(`(?m)^  .*\b` + regexp.QuoteMeta(c.CommandPath()) + `\b`)
	if !example.MatchString(text) && !example.MatchString(c.Example) {
		all = append(all, "no example: a line that begins with two blanks and holds "+c.CommandPath())
	}
	codes := map[int]bool{}
	for line := range strings.Lines(status) {
		if m := statusLine.FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return append(all, err.Error())
			}
			codes[n] = true
		}
	}
	for _, n := range []int{exitOK, exitError, exitUsage} {
		if found && !codes[n] {
			all = append(all, "no line for exit code "+strconv.Itoa(n))
		}
	}
	for line := range strings.Lines(c.Long) {
		if len(strings.TrimRight(line, "\n")) > 120 {
			all = append(all, "a line longer than 120: "+line)
		}
	}
	if c.Short == "" || strings.HasSuffix(c.Short, ".") {
		all = append(all, "no short text, or one that ends in a full stop")
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Usage == "" {
			all = append(all, "--"+f.Name+" without a word")
		}
	})
	return all
}

// TestHelpMistakesAreSeen keeps the test above from passing by seeing nothing.
func TestHelpMistakesAreSeen(t *testing.T) {
	c := &cobra.Command{Use: "mute", Long: "Nothing.\n\n  radish other\n\nEXIT STATUS\n  0    well\n  1    error\n"}
	if got := helpMistakes(c); len(got) != 3 {
		t.Errorf("found %q", got)
	}
}

func TestManualPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1790000000")
	dir := filepath.Join(t.TempDir(), "man1")
	if err := writeMan(&ui.Terminal{Out: io.Discard, Err: io.Discard}, dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range shown(t) {
		file := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		page := string(b)
		for _, want := range []string{".SH EXIT STATUS", "Sep 2026", c.Short} {
			if !strings.Contains(strings.ReplaceAll(page, `\-`, "-"), want) {
				t.Errorf("%s has no %q", filepath.Base(file), want)
			}
		}
		if strings.Contains(page, "```") {
			t.Errorf("%s has a fence in it", filepath.Base(file))
		}
	}
}
