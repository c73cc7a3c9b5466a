package explain

import (
	"regexp"
	"strings"
	"time"
)

// Dated is when the table of rules was last gone through.
const Dated = "2026-11"

// Class says what a line is worth.
type Class string

// The classes, best first.
const (
	Cause  Class = "cause"  // where the trouble began
	Echo   Class = "echo"   // said because of a cause elsewhere, mostly above
	Benign Class = "benign" // no trouble at all
)

// Phase is how far the life of a server had come. "" is unknown, and as the phase of a rule it means any.
type Phase string

// The phases in their order.
const (
	Install  Phase = "install"
	Import   Phase = "import"
	Download Phase = "download"
	Start    Phase = "start"
	Load     Phase = "load"
	Capture  Phase = "capture"
	Serve    Phase = "serve"
	Stop     Phase = "stop"
	Client   Phase = "client"
)

// Rule is one failure signature.
type Rule struct {
	ID        string
	Signature int // number in the catalogue of signatures that the rule comes from; several rules may share one
	Phase     Phase
	Class     Class
	Patterns  []string // RE2; any of them. Each holds a literal of at least 4 bytes, by which lines are sifted
	Title     string
	Why       string
	Fix       []Fix // in Argv, $1 to $9 stand for the groups of the pattern
	Source    string
	Parks     bool                            // no restart helps: a supervisor stops trying
	Silence   time.Duration                   // the rule speaks only if the next timestamp is at least this much later
	When      func(*Context) bool             // further condition; nil: none
	Note      func(*Context, []string) string // what the groups or the facts add to Why; nil: nothing

	res []*regexp.Regexp
}

// Context is what a rule may look at beside its line.
type Context struct {
	Facts  Facts
	Phase  Phase
	Groups []string // of the match; [0] is all of it
	before *ring
}

// SeenBefore tells whether one of the few lines before this one holds s.
func (c *Context) SeenBefore(s string) bool { return c.before.holds(s) }

// Rules is a copy of the table.
func Rules() []Rule { return append([]Rule(nil), rules...) }

// rules is the whole table, compiled once.
var rules = compile(pythonRules, startRules, driverRules, jitRules, memoryRules, processRules, groupRules, downloadRules, benignRules)

// compile joins tables and panics at a pattern that is wrong: the table is part of the program.
func compile(tables ...[]Rule) []Rule {
	var all []Rule
	for _, t := range tables {
		for _, r := range t {
			for _, p := range r.Patterns {
				r.res = append(r.res, regexp.MustCompile(p))
			}
			all = append(all, r)
		}
	}
	return all
}

// match gives the groups of the first pattern that matches, or nil.
func (r *Rule) match(line string) []string {
	for _, re := range r.res {
		if g := re.FindStringSubmatch(line); g != nil {
			return g
		}
	}
	return nil
}

func do(s string) Fix            { return Fix{Do: s} }
func fix(do, cmd string) Fix     { return Fix{Do: do, Argv: strings.Fields(cmd)} }
func cmd(line string) Fix        { return Fix{Argv: strings.Fields(line)} }
func steps(fixes ...Fix) []Fix   { return fixes }
func re(p ...string) []string    { return p }
func env(setting, do string) Fix { return Fix{Do: do, Argv: []string{"export", setting}} }

var groupRef = regexp.MustCompile(`\$[1-9]`)

// wordy is what a group may hold to be put into a command that somebody will paste into a shell.
var wordy = regexp.MustCompile(`^[A-Za-z0-9._+][A-Za-z0-9._+-]{0,63}$`)

// expand fills the groups of a match into the commands. A group with anything but a plain word stays a blank to fill.
func expand(fixes []Fix, groups []string) []Fix {
	out := make([]Fix, len(fixes))
	for i, f := range fixes {
		out[i].Do = f.Do
		for _, a := range f.Argv {
			out[i].Argv = append(out[i].Argv, groupRef.ReplaceAllStringFunc(a, func(ref string) string {
				n := int(ref[1] - '0')
				if n < len(groups) && wordy.MatchString(groups[n]) {
					return Mask(groups[n])
				}
				return "VALUE"
			}))
		}
	}
	return out
}
