package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server"
)

// askFlags are what generate and chat share: whom to ask, and how.
type askFlags struct {
	model  modelFlags
	sched  schedFlags
	url    string
	key    string
	name   string
	system string
	askOptions
}

func (f *askFlags) add(c *cobra.Command) {
	f.model.add(c)
	f.sched.policy = "lpm"
	fs := c.Flags()
	fs.StringVar(&f.url, "url", "", "ask the server at this address (http://127.0.0.1:30000) instead of loading a model")
	fs.StringVar(&f.key, "api-key", os.Getenv("RADISH_API_KEY"), "the server's API key")
	fs.StringVar(&f.name, "model", "", "the model's name at the server (default: the first one it lists)")
	fs.StringVar(&f.system, "system", "", "system prompt")
	fs.IntVar(&f.MaxTokens, "max-tokens", 0, "most tokens of an answer (default: the rest of the context)")
	fs.Float64Var(&f.Temperature, "temperature", 0, "0: the likeliest token each time")
	fs.Int64Var(&f.Seed, "seed", -1, "seed of the sampling")
}

// open gives a client: of the server at --url, or of one inside this process that loads --model-path. The function it
// returns stops the latter.
func (f *askFlags) open(ctx context.Context, term *ui.Terminal) (*client, func() error, error) {
	if f.url != "" {
		cl := &client{url: strings.TrimRight(f.url, "/"), key: f.key, model: f.name}
		return cl, func() error { return nil }, cl.pickModel(ctx)
	}
	cfg, err := f.model.config(&ui.Terminal{Err: term.Err}, &f.sched)
	if err != nil {
		return nil, nil, err
	}
	cfg.HTTP = server.HTTPConfig{Host: "127.0.0.1", DrainTimeout: time.Second}
	cfg.Log = slog.New(newLineHandler(term.Err, slog.LevelError))
	plan, err := server.MakePlan(cfg)
	if err != nil {
		return nil, nil, advisePlan(err, cfg)
	}
	s, err := server.New(cfg, plan)
	if err != nil {
		return nil, nil, err
	}
	return inProcess(ctx, s)
}

func inProcess(ctx context.Context, s *server.Server) (*client, func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := func() error {
		cancel()
		return <-ended
	}
	return &client{url: "http://" + s.Addr(), model: s.Name()}, stop, nil
}

func newGenerateCommand(term *ui.Terminal) *cobra.Command {
	f := &askFlags{}
	var asJSON bool
	c := &cobra.Command{
		Use:   "generate PROMPT",
		Short: "answer one prompt, with the builtin model, a model directory or a running server",
		Long: `Answer one prompt and print the answer as it comes. Without --url the model is loaded into this process;
the default is the small model inside the binary.

  radish generate "what is a KV pool?"
  radish generate --model-path DIR --max-tokens 64 "once upon a time"
  radish generate --url http://127.0.0.1:30000 --json "hello"
` + exitStatus,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return &usageError{cmd: c, err: err}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return runGenerate(c.Context(), term, f, args[0], asJSON)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object at the end instead of text")
	return c
}

func runGenerate(ctx context.Context, term *ui.Terminal, f *askFlags, prompt string, asJSON bool) error {
	cl, stop, err := f.open(ctx, term)
	if err != nil {
		return err
	}
	emit := func(s string) { term.Answer("%s", s) }
	if asJSON {
		emit = func(string) {}
	}
	a, err := cl.chat(ctx, f.conversation(prompt), f.askOptions, emit)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	if asJSON {
		return term.JSON(a)
	}
	term.Answer("\n")
	term.Say("%s", a.cost())
	return nil
}

func (f *askFlags) conversation(prompt string) []message {
	user := message{Role: "user", Content: prompt}
	if f.system == "" {
		return []message{user}
	}
	return []message{{Role: "system", Content: f.system}, user}
}

// cost is one line on what an answer took.
func (a answer) cost() string {
	return fmt.Sprintf("[%d prompt tokens, %d of them cached; %d tokens, %.1f tok/s; first after %.0f ms; %s]",
		a.Prompt, a.Cached, a.Completion, a.TokensPerSec, a.TTFT*1e3, a.Finish)
}

func newChatCommand(term *ui.Terminal) *cobra.Command {
	f := &askFlags{}
	c := &cobra.Command{
		Use:   "chat",
		Short: "talk to the builtin model, a model directory or a running server",
		Long: `Talk to a model, a line at a time, until end of file (Ctrl-D). /new forgets the conversation, /quit leaves.
After each answer a line says what it cost: the conversation so far is a prefix that the server has cached.

  radish chat
  radish chat --url http://127.0.0.1:30000
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runChat(c, term, f) },
	}
	f.add(c)
	return c
}

func runChat(c *cobra.Command, term *ui.Terminal, f *askFlags) error {
	cl, stop, err := f.open(c.Context(), term)
	if err != nil {
		return err
	}
	return errors.Join(converse(c, term, f, cl), stop())
}

func converse(c *cobra.Command, term *ui.Terminal, f *askFlags, cl *client) error {
	said := f.conversation("")
	fresh := len(said) - 1
	said = said[:fresh]
	lines := bufio.NewScanner(c.InOrStdin())
	for term.Prompt("> "); lines.Scan(); term.Prompt("> ") {
		line := strings.TrimSpace(lines.Text())
		switch line {
		case "":
			continue
		case "/quit":
			return nil
		case "/new":
			said = said[:fresh]
			continue
		}
		said = append(said, message{Role: "user", Content: line})
		a, err := cl.chat(c.Context(), said, f.askOptions, func(s string) { term.Answer("%s", s) })
		if err != nil {
			return err
		}
		term.Answer("\n")
		term.Say("%s", a.cost())
		said = append(said, message{Role: "assistant", Content: a.Text})
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read line: %w", err)
	}
	return nil
}
