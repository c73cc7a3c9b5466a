package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Port is one TCP port and, where it is taken, who has it.
type Port struct {
	Number int
	Taken  bool
	Err    string // a bind error other than "in use"
	Owner  *Owner // nil: free, or held by a process that cannot be seen from here
	Speaks string // what answers HTTP there, where no owner can be seen
	Free   int    // a free port instead; 0: none was found
}

// Owner is a process as much as may be shown: its arguments can hold keys and are left out.
type Owner struct {
	PID  int
	Name string // the kernel's name, and the module of a Python -m
	Dir  string // its working directory
}

func (o Owner) String() string {
	if o.Dir == "" {
		return fmt.Sprintf("%s (pid %d)", o.Name, o.PID)
	}
	return fmt.Sprintf("%s (pid %d, in %s)", o.Name, o.PID, o.Dir)
}

// readPorts binds the wanted port and the two that people confuse it with: 8000 (most servers) and 8888 (Jupyter).
func readPorts(ctx context.Context, o Options) []Port {
	var ports []Port
	for _, n := range []int{o.Port, 8000, 8888} {
		if len(ports) == 0 || n != o.Port {
			ports = append(ports, readPort(ctx, o, n))
		}
	}
	return ports
}

func readPort(ctx context.Context, o Options, n int) Port {
	p := Port{Number: n}
	err := o.System.Bind(n)
	switch {
	case err == nil:
		return p
	case errors.Is(err, syscall.EADDRINUSE):
		p.Taken = true
		p.Owner = owner(o.Root, n)
		if p.Owner == nil && o.Root == "/" {
			ctx, cancel := context.WithTimeout(ctx, askWait)
			defer cancel()
			p.Speaks = fingerprint(ctx, "http://127.0.0.1:"+strconv.Itoa(n))
		}
	default:
		p.Err = err.Error()
	}
	for i := 1; i <= 100 && n+i < 1<<16; i++ {
		if n+i != 8888 && o.System.Bind(n+i) == nil {
			p.Free = n + i
			break
		}
	}
	return p
}

// owner finds the listening socket's inode in /proc/net/tcp and tcp6, and the process that holds it in /proc/PID/fd.
func owner(root string, port int) *Owner {
	inodes := map[string]bool{}
	for _, name := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		listening(filepath.Join(root, name), port, inodes)
	}
	if len(inodes) == 0 {
		return nil
	}
	links, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*/fd/[0-9]*"))
	if err != nil {
		return nil
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err == nil && inodes[to] {
			return process(root, filepath.Base(filepath.Dir(filepath.Dir(link))))
		}
	}
	return nil
}

// listening adds "socket:[INODE]" of every listener on port in one /proc/net table (state 0A is TCP_LISTEN).
func listening(file string, port int, inodes map[string]bool) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		if len(w) < 10 || w[3] != "0A" {
			continue
		}
		_, hex, _ := strings.Cut(w[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port && w[9] != "0" {
			inodes["socket:["+w[9]+"]"] = true
		}
	}
}

func process(root, pid string) *Owner {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return nil
	}
	dir := filepath.Join(root, "proc", pid)
	o := &Owner{PID: n, Name: readWord(dir, "comm")}
	args := strings.Split(readWord(dir, "cmdline"), "\x00")
	if len(args) > 2 && args[1] == "-m" {
		o.Name += " -m " + args[2]
	}
	o.Dir, _ = os.Readlink(filepath.Join(dir, "cwd")) // not ours to read: the name alone
	return o
}
