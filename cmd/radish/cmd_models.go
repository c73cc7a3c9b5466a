package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/provision/store"
)

const modelsExitStatus = `
EXIT STATUS
  0    it did what was asked
  1    an error, said on stderr
  2    a flag or argument that is not right
  130  interrupted
`

func newModelsCommand(term *ui.Terminal) *cobra.Command {
	c := &cobra.Command{
		Use:   "models",
		Short: "list, verify, remove and deduplicate the models on this disk",
		Long: `Look after the model directory, which is the cache of transformers, sglang and hf too.

  radish models list
  radish models verify ORG/NAME
  radish models rm ORG/NAME@v1
  radish models dedupe --dry-run
` + modelsExitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newModelsListCommand(term), newModelsVerifyCommand(term), newModelsRmCommand(term), newModelsDedupeCommand(term))
	return c
}

// storeAt opens the model directory that flag and environment name.
func storeAt(dir string) (*store.Store, error) {
	return openStore(readHubSettings(), dir)
}

func newModelsListCommand(term *ui.Terminal) *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "list the models on this disk",
		Long: `List the models on this disk: each commit with its names, files and size. "partial" says that a pull
has not been finished, "broken" that links lead nowhere, "of N" how many files the commit has at the hub.

  radish models list
  radish models list --json | jq '.models[].repo'
` + modelsExitStatus,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runModelsList(term, dir, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cacheFlag(c, &dir)
	return c
}

func runModelsList(term *ui.Terminal, dir string, asJSON bool) error {
	st, err := storeAt(dir)
	if err != nil {
		return err
	}
	models, err := st.List()
	if err != nil {
		return err
	}
	if asJSON {
		return term.JSON(map[string]any{"schema": "radish.models/1", "dir": st.Dir, "models": append([]store.Model{}, models...)})
	}
	if len(models) == 0 {
		term.Say("no models in %s", st.Dir)
		return nil
	}
	rows := [][]string{{"MODEL", "COMMIT", "NAMES", "FILES", "SIZE", "FETCHED", ""}}
	for _, m := range models {
		rows = append(rows, modelRows(m)...)
	}
	return ui.Table(term.Out, rows)
}

func modelRows(m store.Model) [][]string {
	var rows [][]string
	for _, r := range m.Revisions {
		files := fmt.Sprint(r.Files)
		if r.Listed > 0 {
			files += fmt.Sprintf(" of %d", r.Listed)
		}
		var notes []string
		if r.Broken > 0 {
			notes = append(notes, fmt.Sprintf("%d broken", r.Broken))
		}
		if m.Parts > 0 {
			notes = append(notes, ui.Bytes(m.Parts)+" partial")
		}
		rows = append(rows, []string{string(m.Repo), string(r.Commit[:12]), strings.Join(r.Refs, ","), files, ui.Bytes(r.Bytes),
			r.Used.Format("2006-01-02"), strings.Join(notes, ", ")})
	}
	if len(rows) == 0 {
		rows = append(rows, []string{string(m.Repo), "-", "", "0", ui.Bytes(m.Blobs), "", ui.Bytes(m.Parts) + " partial"})
	}
	return rows
}

func newModelsVerifyCommand(term *ui.Terminal) *cobra.Command {
	var dir string
	var asJSON, fix bool
	c := &cobra.Command{
		Use:   "verify [REPO[@REV]...]",
		Short: "read every byte of models and compare their hashes with the hub's",
		Long: `Read every file of the models named, or of all, and compare its sha256 or git hash with the one that the hub
gave when it was fetched. No network is needed. With --fix, what is corrupt or missing is taken out, so that radish pull
fetches it again.

  radish models verify
  radish models verify ORG/NAME@main --json
  radish models verify --fix ORG/NAME && radish pull ORG/NAME

EXIT STATUS
  0    every file is what the hub said
  1    an error, said on stderr
  2    a flag or argument that is not right
  11   a file is corrupt, missing, or nothing says what it should be
  130  interrupted
`,
		RunE: func(c *cobra.Command, args []string) error {
			st, err := storeAt(dir)
			if err != nil {
				return err
			}
			snaps, err := snapshots(c, st, args)
			if err != nil {
				return err
			}
			return runModelsVerify(c.Context(), term, st, snaps, fix, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&fix, "fix", false, "take out what is corrupt or missing")
	cacheFlag(c, &dir)
	return c
}

// snapshots are those that the arguments name, or all.
func snapshots(c *cobra.Command, st *store.Store, args []string) ([]store.Snapshot, error) {
	var all []store.Snapshot
	for _, arg := range args {
		repo, rev, err := parseModel(arg)
		if err != nil {
			return nil, &usageError{cmd: c, err: err}
		}
		snap, err := st.Find(repo, rev)
		if err != nil {
			return nil, adviseDisk(err, arg)
		}
		all = append(all, snap)
	}
	if len(args) > 0 {
		return all, nil
	}
	models, err := st.List()
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		for _, r := range m.Revisions {
			snap, err := st.Find(m.Repo, store.Ref(r.Commit))
			if err != nil {
				return nil, err
			}
			all = append(all, snap)
		}
	}
	return all, nil
}

func runModelsVerify(ctx context.Context, term *ui.Terminal, st *store.Store, snaps []store.Snapshot, fix, asJSON bool) error {
	files, bad := []store.Finding{}, 0
	for _, snap := range snaps {
		err := st.Verify(ctx, snap, fix, func(f store.Finding) {
			files = append(files, f)
			if f.State != store.Good {
				bad++
			}
			if asJSON || f.State == store.Good {
				return
			}
			term.Answer("%s: %s@%s %s", f.State, f.Repo, f.Commit[:12], f.Path)
			if f.State == store.Corrupt {
				term.Answer(": %s, should be %s", f.Got, f.Want)
			}
			term.Answer("\n")
		})
		if err != nil {
			return err
		}
	}
	if asJSON {
		if err := term.JSON(map[string]any{"schema": "radish.models.verify/1", "files": files, "bad": bad}); err != nil {
			return err
		}
	} else {
		term.Answer("%d files of %d snapshots, %d not well\n", len(files), len(snaps), bad)
	}
	if bad > 0 {
		return advise(fmt.Errorf("verify models: %d of %d files are %w", bad, len(files), errCorrupt), "radish models verify --fix, then radish pull")
	}
	return nil
}

func newModelsRmCommand(term *ui.Terminal) *cobra.Command {
	var dir string
	var asJSON, dry bool
	c := &cobra.Command{
		Use:   "rm REPO[@REV]",
		Short: "remove a model, or one revision of it",
		Long: `Remove a model from this disk, or with @REV one revision; files that another revision uses stay. A pull of
the same model that is running is waited for.

  radish models rm --dry-run ORG/NAME
  radish models rm ORG/NAME
  radish models rm ORG/NAME@v1
` + modelsExitStatus,
		Args: exactArg("REPO[@REV]"),
		RunE: func(c *cobra.Command, args []string) error {
			repo, rev, err := parseModel(args[0])
			if err != nil {
				return &usageError{cmd: c, err: err}
			}
			st, err := storeAt(dir)
			if err != nil {
				return err
			}
			got, err := st.Remove(c.Context(), repo, rev, dry)
			if err != nil {
				return advise(err, "radish models list")
			}
			if asJSON {
				return term.JSON(map[string]any{"schema": "radish.models.rm/1", "dry_run": dry, "removed": got})
			}
			verb := "removed"
			if dry {
				verb = "would remove"
			}
			term.Answer("%s %s: %d revisions, %d blobs, %s freed\n", verb, args[0], len(got.Commits), got.Blobs, ui.Bytes(got.Bytes))
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would go, remove nothing")
	cacheFlag(c, &dir)
	return c
}

func newModelsDedupeCommand(term *ui.Terminal) *cobra.Command {
	var dir string
	var asJSON, dry bool
	c := &cobra.Command{
		Use:   "dedupe [DIR...]",
		Short: "let equal files share their bytes on disk",
		Long: `Let files of different models that have the same hash share their bytes: by a reflink where the filesystem
has them, else by a hard link, which is safe because nobody writes into a cached file. In the directories named (such as
those of hf download --local-dir) equal files are found by size and hash, and shared by reflink only: a hard link would
let an editor change the cached file with the copy. Every file is read and compared before it is replaced.

  radish models dedupe --dry-run
  radish models dedupe
  radish models dedupe /workspace/models
` + modelsExitStatus,
		RunE: func(c *cobra.Command, args []string) error {
			st, err := storeAt(dir)
			if err != nil {
				return err
			}
			got, err := st.Dedupe(c.Context(), args, dry)
			if err != nil {
				return err
			}
			if asJSON {
				return term.JSON(map[string]any{"schema": "radish.models.dedupe/1", "dry_run": dry, "result": got})
			}
			return showDedupe(term, got, dry)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would be shared, change nothing")
	cacheFlag(c, &dir)
	return c
}

func showDedupe(term *ui.Terminal, got store.Deduped, dry bool) error {
	rows := [][]string{}
	for _, s := range got.Shared {
		rows = append(rows, []string{s.How, s.File, ui.Bytes(s.Bytes), "as " + s.With})
	}
	if err := ui.Table(term.Out, rows); err != nil {
		return err
	}
	verb := "freed"
	if dry {
		verb = "could be freed"
	}
	term.Answer("%s %s in %d files\n", ui.Bytes(got.Bytes), verb, len(got.Shared))
	return nil
}
