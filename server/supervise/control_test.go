package supervise

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A process whose first thread is gone is shown as a zombie, and still has its files and ports.
func TestHeadlessProcessIsAlive(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), roleEnv+"=headless")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := identify(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its first thread is gone", func() bool {
		st, err := readStat(id.PID)
		return err == nil && st.state == 'Z'
	})
	if !id.alive() {
		t.Error("it counts as gone")
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is gone", func() bool { return !id.alive() })
	_ = c.Wait() // killed
}

// A supervisor that hangs up on a question, because it ends just then, has ended; one that goes on is unreachable.
func TestAskWhileItEnds(t *testing.T) {
	for name, c := range map[string]struct {
		ends bool
		want error
	}{"ends": {true, ErrEnded}, "hangs up and goes on": {false, ErrUnreachable}} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "ask") // a socket's path has to be short
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			p, err := NewPlace(dir, dir, "x")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.make(); err != nil {
				t.Fatal(err)
			}
			lock, err := p.acquire()
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("unix", p.socket())
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Read(make([]byte, 1))
				l.Close()
				conn.Close()
				if c.ends {
					time.Sleep(50 * time.Millisecond) // the lock goes last
					lock.release()
				}
			}()
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			if c.ends {
				ctx = t.Context()
			}
			if _, err := Ask(ctx, p, VerbStop); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if !c.ends {
				lock.release()
			}
		})
	}
}
