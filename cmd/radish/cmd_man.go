package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"radish/cmd/internal/ui"
)

// newManCommand is hidden: packagers need it once, from make man.
func newManCommand(term *ui.Terminal) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "write the manual pages of every command into a directory",
		Hidden: true,
		Long: `Write the manual pages of every command into a directory, which is made if it is not there. The date on the
pages is SOURCE_DATE_EPOCH's, if that is set.

  radish man share/man/man1
  man -l share/man/man1/radish-doctor.1
` + exitStatus,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return &usageError{cmd: c, err: err}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return writeMan(term, args[0]) },
	}
}

func writeMan(term *ui.Terminal, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	root := newRootCommand(term)
	eachCommand(root, func(c *cobra.Command) {
		c.Long = manText(c.Long)
		c.DisableAutoGenTag = true
	})
	header := &doc.GenManHeader{Section: "1", Source: "radish " + version, Manual: "radish"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	return nil
}

func eachCommand(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, do)
	}
}

// manText turns a command's help into the Markdown that cobra makes pages of: indented lines keep their breaks, and what
// stands in capitals alone on a line is a section.
func manText(long string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(long) {
		line = strings.TrimRight(line, "\n")
		if code := strings.HasPrefix(line, "  "); code != fenced && (code || line != "") {
			b.WriteString("```\n")
			fenced = code
		}
		if isSection(line) {
			line = "# " + line + "\n"
		}
		b.WriteString(line + "\n")
	}
	if fenced {
		b.WriteString("```\n")
	}
	return b.String()
}

func isSection(line string) bool {
	return line != "" && strings.Trim(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ ") == "" && !strings.HasPrefix(line, " ")
}
