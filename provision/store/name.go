package store

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// Repo is a model repository's id, "name" or "org/name", that passed ParseRepo.
type Repo string

// Commit is 40 hex digits.
type Commit string

// Ref is a branch, a tag or "refs/pr/1".
type Ref string

// Hash names a blob: 64 hex digits of a sha256, or 40 of a git-sha1.
type Hash string

// Path is a file's path inside a repository, with slashes.
type Path string

// ErrName says that a name cannot be one, or could lead out of its directory.
var ErrName = errors.New("not a valid name")

// The lengths that the hub keeps to, or more than it does.
const (
	maxRepo = 96
	maxName = 1024
)

var (
	repoShape   = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?/)?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$`)
	commitShape = regexp.MustCompile(`^[0-9a-f]{40}$`)
	hashShape   = regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{40})$`)
)

// ParseRepo checks an id by the rules of the Python client (utils/_validators.py, validate_repo_id).
func ParseRepo(s string) (Repo, error) {
	if len(s) > maxRepo || !repoShape.MatchString(s) || strings.Contains(s, "--") || strings.Contains(s, "..") || strings.HasSuffix(s, ".git") {
		return "", fmt.Errorf("repository %q: %w (ORG/NAME of letters, digits, '-', '_' and '.')", s, ErrName)
	}
	return Repo(s), nil
}

func (r Repo) folder() string { return "models--" + strings.ReplaceAll(string(r), "/", "--") }

func repoOf(folder string) (Repo, bool) {
	name, ok := strings.CutPrefix(folder, "models--")
	if !ok {
		return "", false
	}
	r, err := ParseRepo(strings.ReplaceAll(name, "--", "/"))
	return r, err == nil
}

// ParseCommit checks a commit.
func ParseCommit(s string) (Commit, error) {
	if !commitShape.MatchString(s) {
		return "", fmt.Errorf("commit %q: %w (40 hex digits)", s, ErrName)
	}
	return Commit(s), nil
}

// IsCommit says whether a revision needs no resolving.
func (r Ref) IsCommit() bool { return commitShape.MatchString(string(r)) }

// ParseRef checks a revision.
func ParseRef(s string) (Ref, error) {
	if !safePath(s) || strings.HasSuffix(s, ".lock") {
		return "", fmt.Errorf("revision %q: %w", s, ErrName)
	}
	return Ref(s), nil
}

// ParseHash checks a blob's name.
func ParseHash(s string) (Hash, error) {
	if !hashShape.MatchString(s) {
		return "", fmt.Errorf("hash %q: %w (sha256 or git-sha1)", s, ErrName)
	}
	return Hash(s), nil
}

// ParsePath checks a file's path: relative, clean, without "..".
func ParsePath(s string) (Path, error) {
	if !safePath(s) {
		return "", fmt.Errorf("path %q: %w", s, ErrName)
	}
	return Path(s), nil
}

func safePath(s string) bool {
	return s != "." && len(s) <= maxName && fs.ValidPath(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' })
}
