package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/doctor/explain"
	"radish/doctor/host"
)

// liveWait is how long a broken driver may keep explain from answering.
const liveWait = 2 * time.Second

func newExplainCommand(term *ui.Terminal) *cobra.Command {
	var asJSON, noLive bool
	c := &cobra.Command{
		Use:   "explain [FILE|-]",
		Short: "name the first cause of what went wrong in a server's log",
		Long: `Read a log (of radish, SGLang, vLLM, pip, uv, the Hugging Face client, NCCL or the kernel) and name the
first cause of what went wrong in it, not the echo that comes last, with the commands that mend it. Lines that look like
errors and are none, telemetry above all, are explained too. A log of any size is read once; secrets are masked.

The GPU, the driver and the out-of-memory kills of this machine help to decide; --no-live leaves them out, for a log
that comes from elsewhere.

  radish explain server.log
  dmesg | radish explain -
  kubectl logs pod | radish explain --no-live --json

EXIT STATUS
  0    a cause was found
  1    an error, said on stderr
  2    a flag or argument that is not right
  3    no cause was found: the log shows nothing known, or only echoes and harmless lines
  130  interrupted
`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.MaximumNArgs(1)(c, args); err != nil {
				return &usageError{cmd: c, err: err}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			in, idle, err := openLog(c.InOrStdin(), args)
			if err != nil {
				return err
			}
			defer in.Close()
			facts := explain.Facts{}
			if !noLive {
				facts = liveFacts(c.Context())
			}
			facts.Idle = idle
			return runExplain(term, in, facts, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, schema "+explain.Schema)
	c.Flags().BoolVar(&noLive, "no-live", false, "do not look at this machine: the log is from another one")
	return c
}

// openLog gives the file named, or standard input, and for how long a file has not been written to.
func openLog(stdin io.Reader, args []string) (io.ReadCloser, time.Duration, error) {
	if len(args) == 0 || args[0] == "-" {
		return io.NopCloser(stdin), 0, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, 0, advise(err, "radish explain --help")
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("stat log: %w", err)
	}
	return f, max(0, time.Since(info.ModTime())), nil
}

func runExplain(term *ui.Terminal, in io.Reader, facts explain.Facts, asJSON bool) error {
	rep, err := explain.Read(in, facts)
	if err != nil {
		return err
	}
	if asJSON {
		err = term.JSON(rep)
	} else {
		term.Answer("%s", rep.Text())
	}
	if err == nil && rep.Cause == nil {
		return exitCodeOnly(exitNothing)
	}
	return err
}

// liveFacts is what this machine tells within liveWait; what it does not tell stays unknown. The driver is asked in a
// child: the log to be explained may be that of a driver that hangs.
func liveFacts(ctx context.Context) explain.Facts {
	var f explain.Facts
	if system, err := probe(liveWait); err == nil {
		n := system.NVML(ctx)
		f.Driver = n.Driver
		if len(n.Cards) > 0 {
			f.SM = n.Cards[0].Major*10 + n.Cards[0].Minor
		}
	}
	if kills := host.OOMKills(); kills.Err == "" {
		f.OOMKills, f.OOMKnown = int64(min(kills.Value, math.MaxInt64)), true
	}
	return f
}
