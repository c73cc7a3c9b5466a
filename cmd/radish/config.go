package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

const envPrefix = "RADISH_"

// kernelsEnv forces a CPU path; it is a variable only, because no user should need it.
const kernelsEnv = "RADISH_CPU"

// imageEnv forces a GPU image: compute_80 runs the portable code on a newer card.
const imageEnv = "RADISH_GPU_IMAGE"

// envOnly are variables that are not flags.
var envOnly = append([]string{kernelsEnv}, daemonEnv...)

// layer fills flags that were not given on the command line from RADISH_* variables and then from the YAML file, so
// that the order is flag, environment, file, default. A key that no flag has is an error that names the nearest one.
func layer(c *cobra.Command, file string) error {
	v := viper.New()
	v.SetEnvPrefix(strings.TrimSuffix(envPrefix, "_"))
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if err := checkEnv(c.Flags(), os.Environ()); err != nil {
		return &usageError{cmd: c, err: err}
	}
	if file != "" {
		if err := readFile(v, c.Flags(), file); err != nil {
			return &usageError{cmd: c, err: err}
		}
	}
	var errs []error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed && v.IsSet(f.Name) {
			if err := f.Value.Set(v.GetString(f.Name)); err != nil {
				errs = append(errs, fmt.Errorf("set %s from %s: %w", f.Name, origin(f.Name, file), err))
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return &usageError{cmd: c, err: err}
	}
	return nil
}

func origin(key, file string) string {
	name := envPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
	if _, ok := os.LookupEnv(name); ok {
		return name
	}
	return file
}

func readFile(v *viper.Viper, flags *pflag.FlagSet, file string) error {
	v.SetConfigFile(file)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		var missing viper.ConfigFileNotFoundError
		if errors.As(err, &missing) || errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read config: %s does not exist", file)
		}
		return fmt.Errorf("read config %s: %w", file, err)
	}
	for key := range v.AllSettings() {
		if flags.Lookup(key) == nil {
			return fmt.Errorf("read config %s: unknown key %q%s", file, key, didYouMean(key, flagNames(flags)))
		}
	}
	return nil
}

func checkEnv(flags *pflag.FlagSet, environ []string) error {
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		rest, ok := strings.CutPrefix(name, envPrefix)
		if !ok || slices.Contains(envOnly, name) {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		if flags.Lookup(key) == nil {
			return fmt.Errorf("read environment: %s sets nothing%s", name, didYouMean(key, flagNames(flags)))
		}
	}
	return nil
}

func flagNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// didYouMean names the closest candidate, if one is close.
func didYouMean(word string, candidates []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(word, c); d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diag+cost)
			diag, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
