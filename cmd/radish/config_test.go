package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
)

// layered parses args and layers environment and file under them, as every command does.
func layered(t *testing.T, file string, args ...string) (*cobra.Command, error) {
	t.Helper()
	c := newServeCommand(&ui.Terminal{})
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return c, layer(c, file)
}

func yaml(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "radish.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLayersInOrder(t *testing.T) {
	t.Setenv("RADISH_PAGE_SIZE", "32")
	t.Setenv("RADISH_PORT", "2")
	c, err := layered(t, yaml(t, "host: 127.0.0.2\nport: 3\npage-size: 64\n"), "--port", "1")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"port": "1", "page-size": "32", "host": "127.0.0.2", "schedule-policy": "lpm"} {
		if got := c.Flag(name).Value.String(); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

func TestUnknownKeysNameTheNearest(t *testing.T) {
	_, err := layered(t, yaml(t, "prot: 3\n"))
	if err == nil || !strings.Contains(err.Error(), `unknown key "prot", did you mean "port"?`) {
		t.Errorf("file: %v", err)
	}
	t.Setenv("RADISH_CONTEXT_LENGHT", "5")
	if _, err := layered(t, ""); err == nil || !strings.Contains(err.Error(), `did you mean "context-length"?`) {
		t.Errorf("environment: %v", err)
	}
	if exitCode(err) != exitUsage {
		t.Errorf("exit code %d", exitCode(err))
	}
}

func TestBadValuesNameTheirOrigin(t *testing.T) {
	t.Setenv("RADISH_PORT", "many")
	if _, err := layered(t, ""); err == nil || !strings.Contains(err.Error(), "RADISH_PORT") {
		t.Errorf("environment: %v", err)
	}
	if _, err := layered(t, yaml(t, "page-size: [1]\n")); err == nil {
		t.Error("a list became a number")
	}
	if _, err := layered(t, filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("missing file: %v", err)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"port", "prot", 2}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestKnownVariableThatIsNoFlag(t *testing.T) {
	t.Setenv("RADISH_CPU", "generic")
	if _, err := layered(t, ""); err != nil {
		t.Error(err)
	}
}
