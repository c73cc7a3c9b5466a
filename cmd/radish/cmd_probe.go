package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/doctor/host"
)

// newProbeCommand is what doctor runs as its own child, so that a driver that hangs or crashes takes nothing with it.
func newProbeCommand(term *ui.Terminal) *cobra.Command {
	return &cobra.Command{
		Use:    "__probe",
		Short:  "ask the NVIDIA driver and print its answer as JSON",
		Hidden: true,
		Args:   noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return term.JSON(host.Live{}.NVML(c.Context()))
		},
	}
}

func probe() (host.System, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return host.Child{Path: self, Argv: []string{"radish", "__probe"}}, nil
}
