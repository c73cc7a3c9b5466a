package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
)

type versionAnswer struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersionCommand(term *ui.Terminal) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "print the version of this binary",
		Long: `Print the version of this binary, the Go release that built it, and the platform it is for.

  radish version
  radish version --json
` + exitStatus,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionAnswer{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			if asJSON {
				return term.JSON(v)
			}
			term.Answer("radish %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func noArgs(c *cobra.Command, args []string) error {
	if err := cobra.NoArgs(c, args); err != nil {
		return &usageError{cmd: c, err: err}
	}
	return nil
}
