package api

import "strings"

// stops finds the first of some words in a text that arrives in pieces.
type stops struct{ words []string }

func newStops(words []string) stops { return stops{words} }

// find returns the word that is complete first in s (of several, the one that begins first) and its place.
func (w stops) find(s string) (word string, at int, ok bool) {
	end := len(s) + 1
	for _, x := range w.words {
		i := strings.Index(s, x)
		if i < 0 || i+len(x) > end || i+len(x) == end && i >= at {
			continue
		}
		word, at, end, ok = x, i, i+len(x), true
	}
	return word, at, ok
}

// held is the number of bytes at the end of s that may be the beginning of a word.
func (w stops) held(s string) int {
	most := 0
	for _, x := range w.words {
		for k := min(len(x)-1, len(s)); k > most; k-- {
			if strings.HasSuffix(s, x[:k]) {
				most = k
			}
		}
	}
	return most
}
