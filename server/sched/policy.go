package sched

import "fmt"

// Policy is the order in which waiting sequences are admitted. Every policy ages: see the package comment.
type Policy uint8

// The policies, named as SGLang names them (docs/advanced_features/server_arguments.md).
const (
	FCFS      Policy = iota // first come, first served
	LPM                     // longest cached prefix first
	DFSWeight               // the largest group of requests with a common beginning first
	Random                  // a seeded shuffle
	Priority                // higher seq.Priority first
)

var policyNames = [...]string{FCFS: "fcfs", LPM: "lpm", DFSWeight: "dfs-weight", Random: "random", Priority: "priority"}

// String is the name that ParsePolicy reads.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return "invalid"
}

// ParsePolicy reads a policy's name.
func ParsePolicy(name string) (Policy, error) {
	for p, n := range policyNames {
		if n == name {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("parse schedule policy: %q is none of %v", name, policyNames)
}
