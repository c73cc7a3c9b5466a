package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"radish/doctor/host"
	"radish/provision/hub"
	"radish/provision/store"
	"radish/server"
)

// The exit codes of what has to do with the hub, beside those of exit.go.
const (
	exitRefused     = 7
	exitNoRoom      = 8
	exitUnreachable = 10
	exitCorrupt     = 11
)

var errCorrupt = errors.New("not what the hub said")

const hubEnvironment = `
ENVIRONMENT, as the Python client reads it
  HF_TOKEN, HF_TOKEN_PATH   who asks; without one, anonymous
  HF_HUB_CACHE, HF_HOME     where models are kept
  HF_ENDPOINT               another hub
  HF_HUB_OFFLINE            1: what is here must do
  HTTPS_PROXY, NO_PROXY     how to get out
`

// hubSettings is what the environment says of the hub and the model directory.
type hubSettings struct {
	endpoint, token, cache string
	offline                bool
}

// isTrue is what the Python client takes for true (constants.py).
func isTrue(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func readHubSettings() hubSettings {
	env, token := host.ReadEnv(os.Environ())
	s := hubSettings{endpoint: os.Getenv("HF_ENDPOINT"), cache: home(env.CacheDir()), token: token}
	offline := os.Getenv("HF_HUB_OFFLINE")
	if offline == "" {
		offline = os.Getenv("TRANSFORMERS_OFFLINE")
	}
	s.offline = isTrue(offline)
	if isTrue(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		s.token = ""
	}
	return s
}

// home expands a leading ~, which the shell leaves alone in HF_HOME="~/x".
func home(p string) string {
	rest, ok := strings.CutPrefix(p, "~/")
	dir, err := os.UserHomeDir()
	if !ok || err != nil {
		return p
	}
	return filepath.Join(dir, rest)
}

// cacheFlag is the flag of every command that works on the model directory.
func cacheFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "cache-dir", "", "model directory (default: $HF_HUB_CACHE, or hub in $HF_HOME)")
}

func openStore(s hubSettings, dir string) (*store.Store, error) {
	if dir == "" {
		dir = s.cache
	}
	locks := filepath.Join(os.TempDir(), fmt.Sprintf("radish-%d", os.Getuid()))
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		locks = filepath.Join(run, "radish")
	}
	return store.Open(dir, locks)
}

func (s hubSettings) options() hub.Options {
	return hub.Options{Endpoint: s.endpoint, Token: s.token, Offline: s.offline, UserAgent: "radish/" + version, Proxy: http.ProxyFromEnvironment}
}

// parseModel reads REPO or REPO@REV.
func parseModel(arg string) (store.Repo, store.Ref, error) {
	id, rev, named := strings.Cut(arg, "@")
	repo, err := store.ParseRepo(id)
	if err != nil || !named {
		return repo, "", err
	}
	ref, err := store.ParseRef(rev)
	return repo, ref, err
}

// coded is an error with an exit code of its own.
type coded struct {
	error
	code int
}

func (e *coded) Unwrap() error { return e.error }

// adviseHub adds what to do about an error of the hub or the model directory, and its exit code.
func adviseHub(err error, s hubSettings, model string) error {
	if err == nil {
		return nil
	}
	return &coded{adviceHub(err, s, model), exitCodeHub(err)}
}

func adviceHub(err error, s hubSettings, model string) error {
	page := s.endpoint
	if page == "" {
		page = hub.DefaultEndpoint
	}
	repo, _, _ := strings.Cut(model, "@")
	switch {
	case errors.Is(err, hub.ErrGated):
		return advise(err, "open %s/%s, accept the licence, and set HF_TOKEN to a token of that account", page, repo)
	case errors.Is(err, hub.ErrNotFound) && s.token == "":
		return advise(err, "check the name at %s/%s; for a private or gated repository set HF_TOKEN", page, repo)
	case errors.Is(err, hub.ErrNotFound):
		return advise(err, "check the name at %s/%s, and that the token's account may see it", page, repo)
	case errors.Is(err, hub.ErrToken):
		return advise(err, "make a new token at %s/settings/tokens and set HF_TOKEN to it, or unset HF_TOKEN for public models", page)
	case errors.Is(err, hub.ErrForbidden):
		return advise(err, "give the token read access to this repository at %s/settings/tokens", page)
	case errors.Is(err, hub.ErrRevision):
		return advise(err, "radish pull %s", repo)
	case errors.Is(err, hub.ErrNoFiles):
		return advise(err, "radish pull --dry-run --include '*' %s", model)
	case errors.Is(err, hub.ErrOffline):
		return advise(err, "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE")
	case errors.Is(err, hub.ErrLimited) && s.token == "":
		return advise(err, "set HF_TOKEN: without one the limit is that of the IP address, which pods share")
	case errors.Is(err, hub.ErrPrivate):
		return advise(err, "--allow-private-redirects, if this hub's files really lie in a private network")
	case errors.Is(err, hub.ErrNotHub), errors.Is(err, hub.ErrHTML), errors.Is(err, hub.ErrRedirect):
		return advise(err, "check HF_ENDPOINT and the proxy: something else answers in the hub's place")
	}
	return adviseDisk(err, model)
}

func adviseDisk(err error, model string) error {
	switch {
	case store.IsNoSpace(err):
		return advise(err, "radish models list shows what can go (radish models rm); HF_HUB_CACHE may name a larger disk")
	case errors.Is(err, store.ErrNotCached):
		return advise(err, "radish pull %s", model)
	case errors.Is(err, context.Canceled):
		return advise(err, "radish pull %s goes on where this stopped", model)
	case errors.Is(err, hub.ErrHash), hub.IsNetwork(err):
		return advise(err, "radish pull %s again: what has come is kept", model)
	}
	return err
}

// exitCodeHub is the exit code of an error of the hub.
func exitCodeHub(err error) int {
	for _, refused := range []error{hub.ErrNotFound, hub.ErrGated, hub.ErrToken, hub.ErrForbidden, hub.ErrDisabled, hub.ErrRevision, hub.ErrEntry, hub.ErrNoFiles} {
		if errors.Is(err, refused) {
			return exitRefused
		}
	}
	switch {
	case store.IsNoSpace(err):
		return exitNoRoom
	case errors.Is(err, hub.ErrHash):
		return exitCorrupt
	case errors.Is(err, hub.ErrLimited), errors.Is(err, hub.ErrOffline), errors.Is(err, hub.ErrNotHub), errors.Is(err, hub.ErrHTML), hub.IsNetwork(err):
		return exitUnreachable
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitError
}

// fromStore turns a path that is no directory but a model's id, ORG/NAME or ORG/NAME@REV, into where radish pull put it.
func fromStore(m *server.ModelConfig) error {
	if _, err := os.Stat(m.Path); err == nil || strings.Count(m.Path, "/") != 1 {
		return nil
	}
	repo, rev, err := parseModel(m.Path)
	if err != nil {
		return nil
	}
	st, err := storeAt("")
	if err != nil {
		return err
	}
	snap, err := st.Find(repo, rev)
	if errors.Is(err, store.ErrNotCached) {
		return advise(fmt.Errorf("find model: %s is neither a directory nor in %s", m.Path, st.Dir), "radish pull %s", m.Path)
	}
	m.Path, m.ServedName = snap.Dir, string(repo)
	return err
}
