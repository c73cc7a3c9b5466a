package supervise

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Unit describes a systemd service for one instance.
type Unit struct {
	Name string   // of the instance
	Argv []string // of the supervisor in the foreground, Argv[0] an absolute path
	Dir  string   // working directory, absolute
	Env  []string // NAME=value, without secrets: units can be read by everybody
	User string   // "": root
	// EnvFile holds variables that are secret; it may be missing. "": none.
	EnvFile string
	Drain   time.Duration // for running requests, at a stop
}

var errUnit = errors.New("cannot be written into a unit file")

// File is the unit's text. Type=notify makes "systemctl start" wait for the worker to be ready; the watchdog is fed while
// the worker is not wedged; a parked instance (exit status 153) is left alone.
func (u Unit) File() (string, error) {
	argv := make([]string, len(u.Argv))
	for i, a := range u.Argv {
		q, err := unitQuote(a)
		if err != nil {
			return "", err
		}
		argv[i] = q
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[Unit]\nDescription=radish instance %s\nAfter=network-online.target\nWants=network-online.target\n", u.Name)
	b.WriteString("\n[Service]\nType=notify\nNotifyAccess=main\n")
	fmt.Fprintf(&b, "ExecStart=%s\nWorkingDirectory=%s\n", strings.Join(argv, " "), strings.ReplaceAll(u.Dir, "%", "%%"))
	for _, e := range u.Env {
		q, err := unitQuote(e)
		if err != nil {
			return "", err
		}
		q = strings.ReplaceAll(q, "$$", "$") // a dollar means nothing here
		fmt.Fprintf(&b, "Environment=%s\n", q)
	}
	if u.EnvFile != "" {
		fmt.Fprintf(&b, "EnvironmentFile=-%s\n", u.EnvFile)
	}
	if u.User != "" {
		fmt.Fprintf(&b, "User=%s\n", u.User)
	}
	fmt.Fprintf(&b, "TimeoutStopSec=%d\n", int((u.Drain + time.Minute).Seconds()))
	b.WriteString(`Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 4 9 153
SuccessExitStatus=143
TimeoutStartSec=infinity
WatchdogSec=60
KillMode=mixed
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
`)
	return b.String(), nil
}

// unitQuote quotes as systemd.service(5) says, with specifiers and variables switched off.
func unitQuote(s string) (string, error) {
	if strings.ContainsAny(s, "\n\r\x00") {
		return "", fmt.Errorf("%q %w", s, errUnit)
	}
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(s)
	return `"` + s + `"`, nil
}
