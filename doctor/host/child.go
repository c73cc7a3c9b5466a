package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Child is the live machine, with the driver's libraries asked by child processes: a driver in trouble can hang for ever
// or, with a symbol missing, end the process that asks. The program at Path, called as Argv says (its own name first)
// with "nvml" or "cuda" behind it, must print what Live.NVML or Live.CUDA answers as JSON.
type Child struct {
	Live
	Path  string
	Argv  []string
	Limit time.Duration // a little less than Read waits; 0 means a little less than DefaultWait
}

// maxAnswer bounds what a child may say: 64 cards need far less.
const maxAnswer = 4 << 20

// NVML asks a child, at most Limit. A child that cannot be killed is left behind.
func (c Child) NVML(ctx context.Context) NVML {
	var n NVML
	if why := c.ask(ctx, "nvml", &n); why != "" {
		return NVML{Err: why}
	}
	return n
}

// CUDA asks a child, as NVML does.
func (c Child) CUDA(ctx context.Context) CUDA {
	var a CUDA
	if why := c.ask(ctx, "cuda", &a); why != "" {
		return CUDA{Err: why}
	}
	return a
}

// ask runs the child and decodes its answer; what it returns says why there is none.
func (c Child) ask(ctx context.Context, what string, answer any) (why string) {
	if c.Path == "" || len(c.Argv) == 0 {
		return "no command to ask the driver with"
	}
	limit := c.Limit
	if limit == 0 {
		limit = DefaultWait - 100*time.Millisecond
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Path)
	cmd.Args = append(append([]string{}, c.Argv...), what)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &bounded{&out}, &bounded{&problem}
	cmd.WaitDelay = 50 * time.Millisecond
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Sprintf("no answer within %s", time.Since(begin).Round(10*time.Millisecond))
	}
	if err != nil {
		return fmt.Sprintf("asking the driver ended with %v: %s", err, lastLine(problem.String()))
	}
	if err := json.Unmarshal(out.Bytes(), answer); err != nil {
		return fmt.Sprintf("decode the driver's answer: %v", err)
	}
	return ""
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// bounded refuses to grow past maxAnswer.
type bounded struct{ b *bytes.Buffer }

func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > maxAnswer {
		return 0, errors.New("the answer is too long")
	}
	return w.b.Write(p)
}
