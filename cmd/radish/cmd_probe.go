package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/doctor/host"
)

// newProbeCommand is what doctor runs as its own child, so that a driver that hangs or crashes takes nothing with it.
func newProbeCommand(term *ui.Terminal) *cobra.Command {
	return &cobra.Command{
		Use:       "__probe nvml|cuda",
		Short:     "ask the NVIDIA driver and print its answer as JSON",
		Hidden:    true,
		ValidArgs: []string{"nvml", "cuda"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == "cuda" {
				return term.JSON(host.Live{}.CUDA(c.Context()))
			}
			return term.JSON(host.Live{}.NVML(c.Context()))
		},
	}
}

// probe is this machine, its driver asked by children of this program that are given a little less than wait.
func probe(wait time.Duration) (host.System, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return host.Child{Path: self, Argv: []string{"radish", "__probe"}, Limit: wait - wait/20}, nil
}
