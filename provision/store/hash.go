package store

import (
	"crypto/sha1" //nolint:gosec // git names its blobs so
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
)

// readBlock is how much is read at once to be hashed.
const readBlock = 1 << 20

// Hasher computes what a blob of the given size is called: sha256 of its bytes, or what git calls them, by the length of
// the name it should get.
func (h Hash) Hasher(size int64) hash.Hash {
	if len(h) == sha256.Size*2 {
		return sha256.New()
	}
	d := sha1.New() //nolint:gosec // see above
	fmt.Fprintf(d, "blob %d\x00", size)
	return d
}

// Sum is the name that the hasher's bytes get.
func Sum(d hash.Hash) Hash { return Hash(hex.EncodeToString(d.Sum(nil))) }

// HashFile computes a file's name in the same kind of hash as want.
func HashFile(file string, want Hash) (Hash, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("hash file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("hash file: %w", err)
	}
	d := want.Hasher(info.Size())
	if _, err := io.CopyBuffer(struct{ io.Writer }{d}, struct{ io.Reader }{f}, make([]byte, readBlock)); err != nil {
		return "", fmt.Errorf("hash file: %w", err)
	}
	return Sum(d), nil
}
