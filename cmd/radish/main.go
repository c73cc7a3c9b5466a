// Command radish takes a bare machine to a healthy, prefix-cached LLM endpoint. See README.md, or radish --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"radish/cmd/internal/ui"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, ui.Standard(), os.Args[1:])
	stop()
	os.Exit(code)
}
