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

// Child is the live machine, with the driver's library asked by a child process: a driver in trouble can hang for ever
// or, with a symbol missing, end the process that asks. The program at Path, called as Argv says (its own name first),
// must print what Live.NVML answers as JSON.
type Child struct {
	Live
	Path  string
	Argv  []string
	Limit time.Duration // 0 means a little less than Read waits
}

// maxAnswer bounds what a child may say: 64 cards need far less.
const maxAnswer = 4 << 20

// NVML runs the child and waits for its answer, at most Limit. A child that cannot be killed is left behind.
func (c Child) NVML(ctx context.Context) NVML {
	if c.Path == "" || len(c.Argv) == 0 {
		return NVML{Err: "no command to ask the driver with"}
	}
	limit := c.Limit
	if limit == 0 {
		limit = slow - 100*time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Path)
	cmd.Args = c.Argv
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &bounded{&out}, &bounded{&problem}
	cmd.WaitDelay = 50 * time.Millisecond
	err := cmd.Run()
	if ctx.Err() != nil {
		return NVML{Err: fmt.Sprintf("no answer within %s", limit)}
	}
	if err != nil {
		return NVML{Err: fmt.Sprintf("asking the driver ended with %v: %s", err, lastLine(problem.String()))}
	}
	var n NVML
	if err := json.Unmarshal(out.Bytes(), &n); err != nil {
		return NVML{Err: fmt.Sprintf("decode the driver's answer: %v", err)}
	}
	return n
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
