package hubtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

func memory(data []byte) memoryFile { return memoryFile{bytes.NewReader(data)} }

// call is a request taken apart.
type call struct {
	place Place
	repo  string
	verb  string
	rev   string
	path  string
}

// parse reads /api/models/ORG/NAME/VERB/REV/PATH and /ORG/NAME/resolve/REV/PATH; each part is escaped by itself.
func parse(u *url.URL) (call, bool) {
	var parts []string
	for _, p := range strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/") {
		s, err := url.PathUnescape(p)
		if err != nil {
			return call{}, false
		}
		parts = append(parts, s)
	}
	c := call{place: Resolve}
	if len(parts) > 2 && parts[0] == "api" && (parts[1] == "models" || (parts[1] == "resolve-cache" && parts[2] == "models")) {
		if parts[1] == "models" {
			c.place, parts = API, parts[2:]
		} else {
			c.verb, parts = "resolve-cache", parts[3:]
		}
	}
	verbs := []string{"revision", "tree", "paths-info", "refs", "resolve"}
	at := slices.IndexFunc(parts, func(p string) bool { return slices.Contains(verbs, p) })
	if c.verb == "resolve-cache" && len(parts) >= 4 {
		c.repo, c.rev, c.path = parts[0]+"/"+parts[1], parts[2], strings.Join(parts[3:], "/")
		return c, true
	}
	if at < 1 {
		c.repo = strings.Join(parts, "/")
		return c, c.place == API
	}
	c.repo, c.verb = strings.Join(parts[:at], "/"), parts[at]
	if rest := parts[at+1:]; len(rest) > 0 {
		c.rev, c.path = rest[0], strings.Join(rest[1:], "/")
	}
	if c.verb == "tree" {
		c.place = Tree
	}
	return c, true
}

func (s *Server) serveHub(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", "Root=1-hubtest")
	if r.URL.Path == "/api/whoami-v2" {
		s.faulty(API, "whoami", w, r, s.whoami)
		return
	}
	c, ok := parse(r.URL)
	if !ok {
		fail(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
		return
	}
	s.faulty(c.place, c.path, w, r, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, c) })
}

func (s *Server) whoami(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.Token {
		fail(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return
	}
	reply(w, map[string]any{"type": "user", "name": "tester", "auth": map[string]any{"type": "access_token"}})
}

func fail(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message}) // the client left
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // the client left
}

// find gives the repository and commit of a call, or answers why not. Who may not see a repository is told the same as
// if there were none.
func (s *Server) find(w http.ResponseWriter, r *http.Request, c *call) (*Repo, bool) {
	s.mu.Lock()
	repo, to := s.repos[c.repo], s.moved[c.repo]
	s.mu.Unlock()
	auth := r.Header.Get("Authorization")
	known := auth == "Bearer "+s.Token
	switch {
	case auth != "" && !known:
		fail(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
	case to != "":
		w.Header().Set("Location", strings.Replace(r.URL.RequestURI(), c.repo, to, 1))
		w.WriteHeader(http.StatusTemporaryRedirect)
	case repo == nil && known:
		fail(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	case repo == nil, repo.Private && !known:
		fail(w, http.StatusUnauthorized, "RepoNotFound", "Invalid username or password.")
	case repo.Disabled:
		fail(w, http.StatusForbidden, "", "Access to this resource is disabled.")
	case repo.Gated && c.place == Resolve && !known:
		fail(w, http.StatusUnauthorized, "GatedRepo", "Access to model "+repo.ID+" is restricted. You must have access to it and be authenticated to access it. Please log in.")
	case repo.Gated && c.place == Resolve:
		fail(w, http.StatusForbidden, "GatedRepo", "Access to model "+repo.ID+" is restricted and you are not in the authorized list. Visit the model's page to ask for access.")
	default:
		return repo, s.pin(w, repo, c)
	}
	return nil, false
}

// pin turns the call's revision into a commit.
func (s *Server) pin(w http.ResponseWriter, repo *Repo, c *call) bool {
	if c.rev == "" {
		c.rev = "main"
	}
	s.mu.Lock()
	if to, ok := repo.Refs[c.rev]; ok {
		c.rev = to
	}
	_, ok := repo.Commits[c.rev]
	s.mu.Unlock()
	if !ok {
		fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+c.rev)
	}
	return ok
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, c call) {
	repo, ok := s.find(w, r, &c)
	if !ok {
		return
	}
	files := repo.Commits[c.rev]
	switch c.verb {
	case "", "revision":
		s.info(w, repo, c.rev)
	case "tree":
		s.tree(w, r, c, files)
	case "paths-info":
		s.pathsInfo(w, r, files)
	case "refs":
		reply(w, map[string]any{"branches": branches(repo), "tags": []any{}, "converts": []any{}})
	default:
		s.resolve(w, r, c, files)
	}
}

func branches(repo *Repo) []map[string]string {
	var all []map[string]string
	for name, commit := range repo.Refs {
		all = append(all, map[string]string{"name": name, "ref": "refs/heads/" + name, "targetCommit": commit})
	}
	return all
}

func (s *Server) info(w http.ResponseWriter, repo *Repo, commit string) {
	siblings := []map[string]string{}
	for _, p := range sorted(repo.Commits[commit]) {
		siblings = append(siblings, map[string]string{"rfilename": p})
	}
	gated := any(false)
	if repo.Gated {
		gated = "manual"
	}
	reply(w, map[string]any{"_id": "0", "id": repo.ID, "modelId": repo.ID, "sha": commit, "private": repo.Private, "gated": gated,
		"disabled": false, "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z", "tags": []string{},
		"downloads": 0, "likes": 0, "siblings": siblings})
}

func sorted(files map[string]*File) []string {
	var all []string
	for p := range files {
		all = append(all, p)
	}
	sort.Strings(all)
	return all
}

func entry(p string, f *File) map[string]any {
	e := map[string]any{"type": "file", "oid": f.SHA1, "size": f.Size, "path": p}
	if f.LFS {
		e["lfs"] = map[string]any{"oid": f.SHA256, "size": f.Size, "pointerSize": len(pointer(f.SHA256, f.Size))}
	}
	return e
}

// tree lists a page: directories too, and a Link to the page after it.
func (s *Server) tree(w http.ResponseWriter, r *http.Request, c call, files map[string]*File) {
	var all []map[string]any
	dirs := map[string]bool{}
	for _, p := range sorted(files) {
		if c.path != "" && !strings.HasPrefix(p, c.path+"/") {
			continue
		}
		for d := path.Dir(p); d != "." && !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
			all = append(all, map[string]any{"type": "directory", "oid": gitName([]byte(d)), "size": 0, "path": d})
		}
		all = append(all, entry(p, files[p]))
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	to := min(from+s.PageSize, len(all))
	if to < len(all) {
		q := r.URL.Query()
		q.Set("cursor", strconv.Itoa(to))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.URL, r.URL.EscapedPath(), q.Encode()))
	}
	reply(w, append([]map[string]any{}, all[min(from, to):to]...))
}

func (s *Server) pathsInfo(w http.ResponseWriter, r *http.Request, files map[string]*File) {
	if err := r.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, "", "bad form")
		return
	}
	all := []map[string]any{}
	for _, p := range r.Form["paths"] {
		if f := files[p]; f != nil {
			all = append(all, entry(p, f))
		}
	}
	reply(w, all)
}

// resolve answers with a small file by way of a relative redirect to the hub's own cache, and with a signed link to the
// CDN for a large one.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request, c call, files map[string]*File) {
	h := w.Header()
	h.Set("X-Repo-Commit", c.rev)
	f := files[c.path]
	if f == nil {
		fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	h.Set("Accept-Ranges", "bytes")
	if f.LFS {
		h.Set("X-Linked-Size", strconv.FormatInt(f.Size, 10))
		h.Set("X-Linked-Etag", `"`+f.SHA256+`"`)
		h.Set("Location", s.sign(f, c.path))
		w.WriteHeader(http.StatusFound)
		return
	}
	h.Set("ETag", s.tag(f))
	if c.verb == "resolve" {
		u := url.URL{Path: "/api/resolve-cache/models/" + c.repo + "/" + c.rev + "/" + c.path}
		h.Set("Location", u.EscapedPath())
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	send(w, r, f)
}

func (s *Server) tag(f *File) string {
	if s.Weak && !f.LFS {
		return `W/"` + f.Hash() + `"`
	}
	return `"` + f.Hash() + `"`
}

func send(w http.ResponseWriter, r *http.Request, f *File) {
	in, err := f.Open()
	if err != nil {
		fail(w, http.StatusInternalServerError, "", "Internal Error")
		return
	}
	defer in.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, in)
}

// serveLink is the CDN: it knows signed links and nothing else, and refuses those that have run out.
func (s *Server) serveLink(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	l := s.links[r.URL.Query().Get("Signature")]
	name := ""
	if l != nil {
		name = l.path
		l.uses++
		if time.Now().After(l.expires) || (s.LinkUses > 0 && l.uses > s.LinkUses) {
			l = nil
		}
	}
	s.mu.Unlock()
	s.faulty(Link, name, w, r, func(w http.ResponseWriter, r *http.Request) {
		if l == nil {
			http.Error(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", http.StatusForbidden)
			return
		}
		w.Header().Set("ETag", s.tag(l.file))
		send(w, r, l.file)
	})
}
