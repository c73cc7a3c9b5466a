package hub

import (
	"fmt"
	"regexp"
	"strings"
)

// CheckGlobs refuses patterns that cannot be read.
func CheckGlobs(globs []string) error {
	for _, g := range globs {
		if _, err := compile(g); err != nil {
			return fmt.Errorf("read pattern %q: %w", g, err)
		}
	}
	return nil
}

func matchAny(globs []string, path string) bool {
	for _, g := range globs {
		if re, err := compile(g); err == nil && re.MatchString(path) {
			return true
		}
	}
	return false
}

// compile turns a pattern of Python's fnmatch, which the hub's client uses, into a regular expression: * and ? match a
// slash as well, [!a] is a negation, an unclosed [ is itself, and there is no escape.
func compile(glob string) (*regexp.Regexp, error) {
	if strings.HasSuffix(glob, "/") {
		glob += "*"
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for rest := []rune(glob); len(rest) > 0; {
		n := 1
		switch rest[0] {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		case '[':
			var set string
			set, n = class(rest)
			b.WriteString(set)
		default:
			b.WriteString(regexp.QuoteMeta(string(rest[0])))
		}
		rest = rest[n:]
	}
	b.WriteString(`\z`)
	return regexp.Compile(b.String())
}

// class reads "[...]", where a ] right after [ or [! is a member, and gives the length read.
func class(s []rune) (set string, n int) {
	end := 1
	if end < len(s) && s[end] == '!' {
		end++
	}
	if end < len(s) && s[end] == ']' {
		end++
	}
	for end < len(s) && s[end] != ']' {
		end++
	}
	if end >= len(s) {
		return `\[`, 1
	}
	body := string(s[1:end])
	negated := strings.HasPrefix(body, "!")
	body = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `&`, `\&`, `~`, `\~`).Replace(strings.TrimPrefix(body, "!"))
	if negated {
		return "[^" + body + "]", end + 1
	}
	return "[" + body + "]", end + 1
}
