package main

import (
	"context"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
)

// run executes one command line and returns its exit code.
func run(ctx context.Context, term *ui.Terminal, args []string) int {
	root := newRootCommand(term)
	root.SetArgs(args)
	root.SetOut(term.Out)
	root.SetErr(term.Err)
	err := root.ExecuteContext(ctx)
	return report(term, err)
}

func newRootCommand(term *ui.Terminal) *cobra.Command {
	root := &cobra.Command{
		Use:   "radish",
		Short: "from a bare machine to a healthy, prefix-cached LLM endpoint",
		Long: `radish serves language models over an OpenAI-compatible API with RadixAttention and
continuous batching, from one binary.

  radish setup ORG/NAME                    all of it: look, pull, verify, serve, ask once
  radish serve --model-path builtin        serve the small model inside the binary
  radish generate "what is a KV pool?"     ask it once, without a server
  radish chat                              talk to it
  radish start                             serve it in the background, kept up; then status, logs, stop
` + exitStatus,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetVersionTemplate("radish {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{cmd: c, err: err} })
	root.AddCommand(
		newVersionCommand(term),
		newDoctorCommand(term),
		newProbeCommand(term),
		newManCommand(term),
		newSetupCommand(term),
		newPullCommand(term),
		newModelsCommand(term),
		newServeCommand(term),
		newGenerateCommand(term),
		newChatCommand(term),
		newBenchCommand(term),
		newExplainCommand(term),
		newStartCommand(term),
		newStopCommand(term),
		newRestartCommand(term),
		newStatusCommand(term),
		newLogsCommand(term),
		newHealthCommand(term),
		newTopCommand(term),
		newServiceCommand(term),
		newSuperviseCommand(term),
	)
	return root
}

// completeWords offers the words that a flag takes to the shell. A flag that is not there is a mistake in this program.
func completeWords(c *cobra.Command, flag string, words ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}
