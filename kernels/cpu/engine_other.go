//go:build !(amd64 && cgo && linux)

package cpu

func simdPaths() []string { return nil }

func newEngine(_ string, threads int, _ []int32) (engine, error) { return goEngine{threads}, nil }
