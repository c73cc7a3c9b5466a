package host

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Env is the part of the environment that checks may see. Only the names below are kept; what is secret is masked
// before it is stored, and passwords inside URLs are dropped.
type Env struct {
	vars     map[string]string
	Token    Token
	Platform Platform
	Secrets  []string // names of variables that hold secrets, by their names
	ServeKey bool     // RADISH_API_KEY is set
}

// Token is a Hugging Face token, masked.
type Token struct {
	Masked string // "hf_...abcd"; empty: there is none
	Source string // the variable or file it came from
	Other  string // a second source with another token, which loses
	Mode   os.FileMode
	File   bool
	Err    string // why its file could not be read in time
}

var plainVars = strings.Fields(`HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE XDG_CACHE_HOME HOME HF_TOKEN_PATH HF_HUB_OFFLINE
	TRANSFORMERS_OFFLINE HF_HUB_ENABLE_HF_TRANSFER HF_ENDPOINT NVIDIA_VISIBLE_DEVICES CUDA_VISIBLE_DEVICES
	NVIDIA_DRIVER_CAPABILITIES LD_LIBRARY_PATH CUDA_HOME CUDA_PATH RUNPOD_GPU_COUNT RUNPOD_MEM_GB RUNPOD_CPU_COUNT`)

// tokenVars holds the token, in the order in which the official client asks.
var tokenVars = []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}

// Get is the value of one of the kept variables, and whether it is set and not empty.
func (e Env) Get(name string) (string, bool) {
	v, ok := e.vars[name]
	return v, ok && v != ""
}

// Offline says that Hugging Face clients were told not to use the network.
func (e Env) Offline() bool {
	for _, name := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		if v, ok := e.Get(name); ok && v != "0" && !strings.EqualFold(v, "false") {
			return true
		}
	}
	return false
}

// ReadEnv keeps of a process's environment what Env may hold, and gives the token that the official client would send,
// which Env masks; empty: there is none.
func ReadEnv(environ []string) (e Env, token string) { return readEnv("/", environ) }

func readEnv(root string, environ []string) (e Env, secret string) {
	all := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			all[k] = v
		}
	}
	e = Env{vars: map[string]string{}, Platform: readPlatform(all), Secrets: secretNames(all), ServeKey: all["RADISH_API_KEY"] != ""}
	for _, name := range slices.Concat(plainVars, pythonVars) {
		if v, ok := all[name]; ok {
			e.vars[name] = withoutPassword(v)
		}
	}
	e.Token, secret = readToken(root, e, all)
	return e, secret
}

// secretNames lists the variables whose names say that they hold a secret.
func secretNames(all map[string]string) []string {
	var names []string
	for name, value := range all {
		for _, end := range []string{"TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS"} {
			if strings.HasSuffix(name, end) && value != "" {
				names = append(names, name)
				break
			}
		}
	}
	sort.Strings(names)
	return names
}

// readToken gives the token masked, and as it is for the one who asks the hub with it.
func readToken(root string, e Env, all map[string]string) (t Token, secret string) {
	for _, name := range tokenVars {
		if v := strings.TrimSpace(all[name]); v != "" && secret == "" {
			secret, t.Masked, t.Source = v, mask(v), name
		}
	}
	if root == "" {
		return t, secret // variables only
	}
	file := e.tokenFile()
	info, err := os.Stat(filepath.Join(root, file))
	if err != nil || !info.Mode().IsRegular() {
		return t, secret
	}
	stored := readWord(root, file)
	switch {
	case stored == "" || stored == secret:
	case secret != "":
		t.Other = file
	default:
		t, secret = Token{Masked: mask(stored), Source: file}, stored
	}
	t.Mode, t.File = info.Mode().Perm(), true
	return t, secret
}

func (e Env) tokenFile() string {
	if p, ok := e.Get("HF_TOKEN_PATH"); ok {
		return p
	}
	return filepath.Join(e.hfHome(), "token")
}

// TokenFile is where the official client keeps a stored token.
func (e Env) TokenFile() string { return e.tokenFile() }

func (e Env) hfHome() string {
	if p, ok := e.Get("HF_HOME"); ok {
		return p
	}
	if p, ok := e.Get("XDG_CACHE_HOME"); ok {
		return filepath.Join(p, "huggingface")
	}
	home, _ := e.Get("HOME")
	return filepath.Join("/", home, ".cache/huggingface")
}

// CacheDir is where Hugging Face clients keep models.
func (e Env) CacheDir() string {
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if p, ok := e.Get(name); ok {
			return p
		}
	}
	return filepath.Join(e.hfHome(), "hub")
}

// mask keeps the kind of a token and its last four letters; of a short one, nothing.
func mask(s string) string {
	if len(s) < 16 {
		return "(set)"
	}
	prefix := ""
	if strings.HasPrefix(s, "hf_") {
		prefix = "hf_"
	}
	return prefix + "..." + s[len(s)-4:]
}

func withoutPassword(v string) string {
	if !strings.Contains(v, "://") {
		return v
	}
	u, err := url.Parse(v)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
