// Package hubtest is a Hugging Face hub for tests: an API host, and a second host that plays the CDN, both on loopback,
// with the redirects, headers, pages and errors of the real one, and faults that can be switched on. How true it is to
// the real hub is judged by the real Python client, which scripts/e2e/hub.sh runs against it.
package hubtest

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // git's
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// File is a file of a repository. Git keeps small ones itself; LFS ones lie at the CDN.
type File struct {
	LFS    bool
	Size   int64
	SHA1   string // git's name of the bytes; of an LFS file, of its pointer
	SHA256 string
	Open   func() (io.ReadSeekCloser, error)
}

// Hash is what the file's ETag says.
func (f *File) Hash() string {
	if f.LFS {
		return f.SHA256
	}
	return f.SHA1
}

// Bytes makes a file of data.
func Bytes(lfs bool, data []byte) *File {
	f, err := From(lfs, func() (io.ReadSeekCloser, error) { return memory(data), nil })
	if err != nil {
		panic(err) // memory can be read
	}
	return f
}

// From makes a file of what open gives, reading it once to name it.
func From(lfs bool, open func() (io.ReadSeekCloser, error)) (*File, error) {
	in, err := open()
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	defer in.Close()
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("size file: %w", err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind file: %w", err)
	}
	git, sum := sha1.New(), sha256.New() //nolint:gosec // git's
	fmt.Fprintf(git, "blob %d\x00", size)
	if _, err := io.Copy(io.MultiWriter(git, sum), in); err != nil {
		return nil, fmt.Errorf("hash file: %w", err)
	}
	f := &File{LFS: lfs, Size: size, SHA1: hex.EncodeToString(git.Sum(nil)), SHA256: hex.EncodeToString(sum.Sum(nil)), Open: open}
	if lfs {
		f.SHA1 = gitName(pointer(f.SHA256, size))
	}
	return f, nil
}

func pointer(sum string, size int64) []byte {
	return fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", sum, size)
}

func gitName(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)) //nolint:gosec // git's
	return hex.EncodeToString(sum[:])
}

// Repo is a repository: commits, and the names of some of them.
type Repo struct {
	ID       string
	Commits  map[string]map[string]*File
	Refs     map[string]string
	Private  bool // seen with a token only
	Gated    bool // and readable once the licence was accepted, which is never
	Disabled bool
}

// NewRepo makes a repository with one commit, which main names.
func NewRepo(id string, files map[string]*File) *Repo {
	r := &Repo{ID: id, Commits: map[string]map[string]*File{}, Refs: map[string]string{}}
	r.Commit("main", files)
	return r
}

// Commit adds a commit of the files and lets ref name it.
func (r *Repo) Commit(ref string, files map[string]*File) string {
	sum := sha1.New() //nolint:gosec // looks like git's
	fmt.Fprintf(sum, "%s %d", r.ID, len(r.Commits))
	id := hex.EncodeToString(sum.Sum(nil))
	r.Commits[id], r.Refs[ref] = files, id
	return id
}

// Request is one that the hub or the CDN got.
type Request struct {
	Place         Place
	Method        string
	Path          string // decoded
	Range         string
	Authorization string
	Sent          int64 // bytes of the body that went out
}

// Place tells which part of the hub a request is for.
type Place string

// The places. Link is a CDN's signed link.
const (
	API     Place = "api"
	Tree    Place = "tree"
	Resolve Place = "resolve"
	Link    Place = "link"
)

// Server is a running hub.
type Server struct {
	URL      string // the endpoint
	CDN      string
	Token    string        // the one that is valid
	PageSize int           // entries on a page of the tree
	LinkUses int           // how often a signed link works; 0: always
	LinkLife time.Duration // 0: an hour
	Weak     bool          // git files get weak ETags

	mu      sync.Mutex
	repos   map[string]*Repo
	moved   map[string]string // old id -> new id
	faults  []*Fault
	log     []*Request
	links   map[string]*link
	servers []*http.Server
}

type link struct {
	file    *File
	path    string
	expires time.Time
	uses    int
}

// Start runs a hub with these repositories until Close.
func Start(repos ...*Repo) (*Server, error) {
	s := &Server{Token: "hf_testtokentesttokentesttoken", PageSize: 1000, repos: map[string]*Repo{}, moved: map[string]string{}, links: map[string]*link{}}
	for _, r := range repos {
		s.repos[r.ID] = r
	}
	var err error
	if s.URL, err = s.listen(http.HandlerFunc(s.serveHub)); err != nil {
		return nil, err
	}
	if s.CDN, err = s.listen(http.HandlerFunc(s.serveLink)); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) listen(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, srv)
	go func() { _ = srv.Serve(l) }() // ends with Close
	return "http://" + l.Addr().String(), nil
}

// Close stops the hub and cuts its connections.
func (s *Server) Close() {
	for _, srv := range s.servers {
		srv.Close()
	}
}

// Move renames a repository; the old id redirects.
func (s *Server) Move(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved[from] = to
}

// Log is what was asked so far.
func (s *Server) Log() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Request
	for _, q := range s.log {
		all = append(all, *q)
	}
	return all
}

// Forget empties the log and switches all faults off.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.faults = nil, nil
}

func (s *Server) sign(f *File, path string) string {
	key := rand.Text()
	life := s.LinkLife
	if life == 0 {
		life = time.Hour
	}
	s.mu.Lock()
	s.links[key] = &link{file: f, path: path, expires: time.Now().Add(life)}
	s.mu.Unlock()
	return s.CDN + "/repos/" + f.SHA256 + "?Signature=" + key
}
