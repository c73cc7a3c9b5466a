package kerneltest

import (
	"fmt"

	"radish/kernels"
)

// SelfTest runs every operation against the oracle on one backend, in a second or two, and returns the first difference,
// which names the operation. It is what a program does before it trusts a card that it has not met.
func SelfTest(b kernels.Backend, seed uint64) (err error) {
	current := ""
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", current, p)
		}
	}()
	for i, c := range checks {
		current = c.name
		if err := judge(b, c, seed+uint64(i)); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}
