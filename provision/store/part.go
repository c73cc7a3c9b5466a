package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Range is a stretch of a file that is fetched by one request, and how far that got. Numbers are bytes.
type Range struct {
	Off  int64  `json:"off"`
	Len  int64  `json:"len"`
	Done int64  `json:"done"` // bytes there, counted from Off
	CRC  uint32 `json:"crc"`  // Castagnoli's, of those bytes
}

// Full says whether the range is there.
func (r Range) Full() bool { return r.Done == r.Len }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Add takes note of the next bytes.
func (r *Range) Add(b []byte) {
	r.CRC = crc32.Update(r.CRC, castagnoli, b)
	r.Done += int64(len(b))
}

// Cut tiles a file with ranges of at most step bytes. An empty file has none.
func Cut(size, step int64) []Range {
	var all []Range
	for off := int64(0); off < size; off += step {
		all = append(all, Range{Off: off, Len: min(step, size-off)})
	}
	return all
}

// Part is a blob that is not there in full yet: a sparse file, and a journal beside it that says which ranges hold.
type Part struct {
	Hash   Hash
	Size   int64
	folder *Folder
	file   *os.File
}

type journal struct {
	Version int     `json:"version"`
	Hash    Hash    `json:"etag"`
	Size    int64   `json:"size"`
	Boot    string  `json:"boot"`
	Ranges  []Range `json:"ranges"`
}

const (
	partSuffix     = ".radish-part"
	journalSuffix  = partSuffix + ".json"
	journalVersion = 1
	maxJournal     = 16 << 20
)

// OpenPart opens the part of a blob, with the ranges that an earlier run left, or nil if it left nothing that can be
// used. The caller holds the blob's lock. What the journal says is believed as long as the machine has not been started
// again since: a killed process loses nothing that it wrote. After a restart each range must have its checksum.
func (f *Folder) OpenPart(h Hash, size int64) (*Part, []Range, error) {
	file, err := f.root.OpenFile("blobs/"+string(h)+partSuffix, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open part: %w", err)
	}
	p := &Part{Hash: h, Size: size, folder: f, file: file}
	ranges, err := p.resume()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return p, ranges, nil
}

func (p *Part) resume() ([]Range, error) {
	j, ok := p.readJournal()
	info, err := p.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat part: %w", err)
	}
	if !ok || info.Size() != p.Size {
		return nil, p.Restart()
	}
	if j.Boot != BootID() {
		for i := range j.Ranges {
			if err := p.recheck(&j.Ranges[i]); err != nil {
				return nil, err
			}
		}
	}
	return j.Ranges, nil
}

func (p *Part) readJournal() (journal, bool) {
	var j journal
	in, err := p.folder.root.Open("blobs/" + string(p.Hash) + journalSuffix)
	if err != nil {
		return j, false
	}
	defer in.Close()
	if err := json.NewDecoder(io.LimitReader(in, maxJournal)).Decode(&j); err != nil {
		return j, false
	}
	return j, j.Version == journalVersion && j.Hash == p.Hash && j.Size == p.Size && tiles(j.Ranges, p.Size)
}

// tiles says whether the ranges cover the file once, in order.
func tiles(ranges []Range, size int64) bool {
	var end int64
	for _, r := range ranges {
		if r.Off != end || r.Len <= 0 || r.Len > size-end || r.Done < 0 || r.Done > r.Len {
			return false
		}
		end += r.Len
	}
	return end == size
}

// recheck empties a range whose bytes are not those the journal saw.
func (p *Part) recheck(r *Range) error {
	sum := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.NewSectionReader(p.file, r.Off, r.Done), make([]byte, readBlock)); err != nil {
		return fmt.Errorf("read part: %w", err)
	}
	if sum.Sum32() != r.CRC {
		r.Done, r.CRC = 0, 0
	}
	return nil
}

// Restart forgets all bytes: a sparse file of the right size.
func (p *Part) Restart() error {
	if err := p.folder.removeIfThere("blobs/" + string(p.Hash) + journalSuffix); err != nil {
		return err
	}
	if err := errors.Join(p.file.Truncate(0), p.file.Truncate(p.Size)); err != nil {
		return fmt.Errorf("size part: %w", err)
	}
	return nil
}

// WriteAt writes bytes of the file.
func (p *Part) WriteAt(b []byte, off int64) (int, error) { return p.file.WriteAt(b, off) }

// ReadAt reads bytes of the file.
func (p *Part) ReadAt(b []byte, off int64) (int, error) { return p.file.ReadAt(b, off) }

// Save writes the journal. Bytes noted in it must have been written.
func (p *Part) Save(ranges []Range) error {
	b, err := json.Marshal(journal{journalVersion, p.Hash, p.Size, BootID(), ranges})
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	return p.folder.replace("blobs/"+string(p.Hash)+journalSuffix, b, false)
}

// Sync waits until the bytes written are on the disk.
func (p *Part) Sync() error {
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("sync part: %w", err)
	}
	return nil
}

// Commit gives a verified part its blob's name, durably.
func (p *Part) Commit() error {
	if err := p.Sync(); err != nil {
		return errors.Join(err, p.file.Close())
	}
	if err := p.file.Close(); err != nil {
		return fmt.Errorf("close part: %w", err)
	}
	name := "blobs/" + string(p.Hash)
	if err := p.folder.root.Rename(name+partSuffix, name); err != nil {
		return fmt.Errorf("name blob: %w", err)
	}
	if err := p.folder.syncDir("blobs"); err != nil {
		return err
	}
	return p.folder.removeIfThere(name + journalSuffix)
}

// Close keeps the part for a later run.
func (p *Part) Close() error { return p.file.Close() }

// Drop removes the part and its journal.
func (p *Part) Drop() error {
	err := p.file.Close()
	return errors.Join(err, p.folder.DropPart(p.Hash))
}

// DropPart removes what is there of a blob's part.
func (f *Folder) DropPart(h Hash) error {
	name := "blobs/" + string(h)
	return errors.Join(f.removeIfThere(name+journalSuffix), f.removeIfThere(name+partSuffix))
}

// PartDone is how many bytes of a blob an earlier run left, as its journal says.
func (f *Folder) PartDone(h Hash, size int64) int64 {
	p := &Part{Hash: h, Size: size, folder: f}
	j, ok := p.readJournal()
	info, err := f.root.Stat("blobs/" + string(h) + partSuffix)
	if !ok || err != nil || info.Size() != size {
		return 0
	}
	var n int64
	for _, r := range j.Ranges {
		n += r.Done
	}
	return n
}

// Parts are the blobs of which only a part is there.
func (f *Folder) Parts() ([]Hash, error) {
	entries, err := fs.ReadDir(f.root.FS(), "blobs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	var all []Hash
	for _, e := range entries {
		name, _, found := strings.Cut(e.Name(), partSuffix)
		if h, err := ParseHash(name); found && err == nil && !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	return all, nil
}

func (f *Folder) removeIfThere(name string) error {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove file: %w", err)
	}
	return nil
}

// syncDir makes a rename survive a power loss, where the filesystem can.
func (f *Folder) syncDir(name string) error {
	d, err := f.root.Open(name)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
