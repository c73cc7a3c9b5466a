package hub

import (
	"time"

	"radish/provision/store"
)

// NoteKind says what a Note is about.
type NoteKind string

// The kinds of notes.
const (
	NoteWait    NoteKind = "wait"    // somebody else works on it, Text says who
	NoteRetry   NoteKind = "retry"   // a request failed with Text and is made again after Wait
	NoteStall   NoteKind = "stall"   // no byte came, or far fewer than elsewhere; the request is made again
	NoteExpired NoteKind = "expired" // a signed link ran out, the hub is asked for another
	NoteRestart NoteKind = "restart" // a file begins anew, Text says why
	NoteDone    NoteKind = "file"    // a file is there and verified
)

// Note is something that happened during a pull.
type Note struct {
	Kind NoteKind
	Path store.Path
	Text string
	Wait time.Duration
	Size int64
}

// Observer is told of a pull's progress, from several goroutines at once. It must not block.
type Observer interface {
	Note(Note)
	// Bytes tells of n more bytes of a file, or fewer if n is negative, because the file began anew.
	Bytes(p store.Path, n int64)
}

type nobody struct{}

func (nobody) Note(Note)               {}
func (nobody) Bytes(store.Path, int64) {}
