package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"radish/cmd/internal/ui"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"radish": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, terminal(), os.Args[1:]))
	}})
}

// killEnv makes radish setup kill itself with SIGKILL when it is about to say a text.
const killEnv = "TEST_KILL_AT"

func terminal() *ui.Terminal {
	at := os.Getenv(killEnv)
	if at == "" || len(os.Args) < 2 || os.Args[1] != "setup" {
		return ui.Standard()
	}
	return &ui.Terminal{Out: killer{os.Stdout, at}, Err: killer{os.Stderr, at}}
}

// killer is a stream at which the process dies at a certain point, and gets no further.
type killer struct {
	io.Writer
	at string
}

func (k killer) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(k.at)) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // it cannot fail for ourselves
		select {}
	}
	return k.Writer.Write(b)
}

// TestScripts runs the commands as a user would; each script is a walk worth reading. $PORT is free.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
			scripts, err := filepath.Abs("../../scripts")
			if err != nil {
				return err
			}
			env.Setenv("SCRIPTS", scripts)
			home := filepath.Join(env.WorkDir, "h")
			env.Setenv(homeEnv, home)
			env.Defer(func() { endDaemons(home) })
			return l.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"waitfor": waitFor, "exits": exits, "listen": listen,
			"waitready": waitReady, "hub": startHub, "spoil": spoil},
	})
}

// waitFor polls a URL until it answers 200.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: waitfor URL")
	}
	for range 300 {
		res, err := http.Get(args[0])
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s never answered 200", args[0])
}
