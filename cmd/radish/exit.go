package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/kernels/cuda"
	"radish/provision"
	"radish/server/supervise"
)

// The exit codes, promised in every --help.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNothing     = 3 // explain: no cause found
	exitDoesNotFit  = 4
	exitUnfit       = 5 // doctor: something failed
	exitUnsure      = 6 // doctor: something warned or is unknown
	exitRunning     = 9 // start: the instance runs already
	exitNoDevice    = 20
	exitInterrupted = 130
)

// The codes from 20 on tell what happened to the device; they are apart from all others so that an orchestrator can
// act on them.
const (
	exitDeviceLost   = 21 // it fell off the bus, or its memory is broken: take another machine
	exitDeviceFault  = 22 // a fault that ends every later call of this process; a new process may go on
	exitDeviceMemory = 23 // its memory ran out
	exitDeviceWrong  = 24 // it computes wrong results
)

// workerExits says which ends of radish serve the daemon tries again; every code without a row is tried again. Go ends a
// crashed program with 2 as well: only before the worker's first report does 2 mean a flag.
var workerExits = map[int]supervise.Verdict{
	exitUsage:        {Reason: "a flag or setting of radish serve is not right", Early: true},
	exitDoesNotFit:   {Reason: "the model and its settings do not fit this machine"},
	exitNoDevice:     {Reason: "the device that was asked for is not there"},
	exitDeviceLost:   {Reason: "the GPU is lost: no restart brings it back, this machine has to be replaced"},
	exitDeviceFault:  {Retry: true, Reason: "the GPU reported a fault that ends a process"},
	exitDeviceMemory: {Retry: true, Reason: "the GPU's memory ran out"},
	exitDeviceWrong:  {Reason: "the GPU computes wrong results: this machine has to be replaced"},
}

const exitStatus = `
EXIT STATUS
  0    it did what was asked
  1    an error, said on stderr
  2    a flag, argument or configuration key that is not right
  4    the model and its settings do not fit this machine
  20   no GPU that radish can use, and one was asked for
  21   the GPU is lost: another machine is needed
  22   the GPU reported a fault that ends a process; a new one may use it again
  23   the GPU's memory ran out
  24   the GPU computes wrong results
  130  interrupted
`

// usageError is a mistake in how the command was called.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// exitCodeOnly ends a command whose answer is complete, without a word on stderr.
type exitCodeOnly int

func (e exitCodeOnly) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// advised is an error with the next command for the user.
type advised struct {
	error
	advice string
}

func (e *advised) Unwrap() error { return e.error }

func advise(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &advised{error: err, advice: fmt.Sprintf(format, args...)}
}

// report says what went wrong and chooses the exit code.
func report(term *ui.Terminal, err error) int {
	if err == nil {
		return exitOK
	}
	var only exitCodeOnly
	if errors.As(err, &only) {
		return int(only)
	}
	term.Problem(err, adviceFor(err))
	return exitCode(err)
}

func exitCode(err error) int {
	var usage *usageError
	switch {
	case errors.As(err, &usage), isCobraUsage(err):
		return exitUsage
	case errors.Is(err, errDoesNotFit):
		return exitDoesNotFit
	case errors.Is(err, cuda.ErrNoGPU):
		return exitNoDevice
	case errors.Is(err, cuda.ErrLost):
		return exitDeviceLost
	case errors.Is(err, cuda.ErrFault):
		return exitDeviceFault
	case errors.Is(err, cuda.ErrMemory):
		return exitDeviceMemory
	case errors.Is(err, cuda.ErrWrong):
		return exitDeviceWrong
	case errors.Is(err, supervise.ErrRunning), errors.Is(err, provision.ErrBusy):
		return exitRunning
	case errors.Is(err, supervise.ErrNotRunning):
		return supervise.Stopped.ExitCode()
	case errors.Is(err, supervise.ErrUnreachable):
		return supervise.Lost.ExitCode()
	case errors.Is(err, supervise.ErrParked):
		return supervise.Parked.ExitCode()
	case errors.Is(err, errDoctorFail):
		return exitUnfit
	case errors.Is(err, errDoctorWarn):
		return exitUnsure
	case errors.Is(err, errCorrupt):
		return exitCorrupt
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	var c *coded
	if errors.As(err, &c) {
		return c.code
	}
	return exitError
}

func adviceFor(err error) string {
	var a *advised
	if errors.As(err, &a) {
		return a.advice
	}
	var usage *usageError
	if errors.As(err, &usage) && usage.cmd != nil {
		return usage.cmd.CommandPath() + " --help"
	}
	if isCobraUsage(err) {
		return "radish --help"
	}
	return ""
}

// isCobraUsage recognises the mistakes that cobra reports itself and gives no type to.
func isCobraUsage(err error) bool {
	return strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag")
}
