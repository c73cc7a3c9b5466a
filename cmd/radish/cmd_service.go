package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/supervise"
)

type serviceFlags struct {
	startFlags
	dryRun bool
	force  bool
	user   string
}

func newServiceCommand(term *ui.Terminal) *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "let systemd keep an instance",
		Long: `Let systemd keep an instance across reboots.

  radish service install --model-path /models/Llama-3.2-1B-Instruct
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newServiceInstallCommand(term))
	return c
}

func newServiceInstallCommand(term *ui.Terminal) *cobra.Command {
	f := &serviceFlags{}
	f.inner = &cobra.Command{Use: "serve"}
	c := &cobra.Command{
		Use:   "install",
		Short: "write a systemd unit that runs radish start in the foreground",
		Long: `Write a systemd unit for an instance: root's into /etc/systemd/system, anybody else's into their own
~/.config/systemd/user. It takes the flags of radish serve. systemctl start returns when a token was made, systemd is
told that the supervisor lives, and a parked instance is left alone. A key given with --api-key goes into a file of its
own that only its owner can read. Nothing is enabled or started: the commands for that are shown.

  radish service install --dry-run --model-path /models/Llama-3.2-1B-Instruct
  radish service install --name small --model-path builtin --port 30001
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := layer(f.inner, f.serve.file); err != nil {
				return err
			}
			return runServiceInstall(term, f)
		},
	}
	f.addServe(c)
	f.add(c)
	s := c.Flags()
	s.BoolVar(&f.dryRun, "dry-run", false, "print the unit and write nothing")
	s.BoolVar(&f.force, "force", false, "replace a unit of that name that is different")
	s.StringVar(&f.user, "user", "", "user that the instance runs as (system units only)")
	return c
}

// unitPlace is where units and their secrets go.
func unitPlace(name string) (unit, secrets, systemctl string, err error) {
	file := "radish-" + name + ".service"
	if os.Getuid() == 0 {
		return filepath.Join("/etc/systemd/system", file), filepath.Join("/etc/radish", name+".env"), "systemctl", nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", "", "", fmt.Errorf("find configuration directory: %w", err)
	}
	return filepath.Join(dir, "systemd/user", file), filepath.Join(dir, "radish", name+".env"), "systemctl --user", nil
}

func runServiceInstall(term *ui.Terminal, f *serviceFlags) error {
	if _, err := f.place(); err != nil {
		return err
	}
	unit, secrets, systemctl, err := unitPlace(f.name)
	if err != nil {
		return err
	}
	text, err := f.unit(secrets)
	if err != nil {
		return err
	}
	_, secret := f.pass()
	if f.dryRun {
		term.Say("would write %s%s", unit, map[bool]string{true: " and " + secrets}[len(secret) > 0])
		term.Answer("%s", text)
		return nil
	}
	if len(secret) > 0 {
		if err := writeOnce(secrets, []byte(strings.Join(secret, "\n")+"\n"), 0o600, f.force); err != nil {
			return err
		}
	}
	if err := writeOnce(unit, []byte(text), 0o644, f.force); err != nil {
		return err
	}
	service := strings.TrimSuffix(filepath.Base(unit), ".service")
	term.Say("wrote %s", unit)
	term.Say("  try: %s daemon-reload && %s enable --now %s", systemctl, systemctl, service)
	return nil
}

// unit is the text for these flags.
func (f *serviceFlags) unit(secrets string) (string, error) {
	exe, err := self()
	if err != nil {
		return "", err
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find working directory: %w", err)
	}
	args, _ := f.pass()
	u := supervise.Unit{Name: f.name, Dir: dir, User: f.user, EnvFile: secrets, Drain: f.serve.http.DrainTimeout,
		Argv: append([]string{exe, "start", "--foreground", "--name=" + f.name}, args...)}
	if home := os.Getenv(homeEnv); home != "" {
		u.Env = append(u.Env, homeEnv+"="+home)
	}
	text, err := u.File()
	if err != nil {
		return "", &usageError{err: err}
	}
	return text, nil
}

var errDifferent = errors.New("it exists and is different")

// writeOnce writes a file that is not there yet, or is the same already.
func writeOnce(name string, text []byte, mode os.FileMode, force bool) error {
	old, err := os.ReadFile(name)
	switch {
	case err == nil && bytes.Equal(old, text):
		return nil
	case err == nil && !force:
		return advise(fmt.Errorf("write %s: %w", name, errDifferent), "look at it, then the same command with --force")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".radish-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
