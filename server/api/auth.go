package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
)

// Secret is a string that never shows itself: printed, logged or encoded as JSON it is "***".
type Secret string

const masked = "***"

func (Secret) String() string               { return masked }
func (Secret) GoString() string             { return masked }
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(masked) }

// keyHash is what is kept and compared of a key, so that a comparison's time says nothing about the key.
type keyHash [sha256.Size]byte

func hashKey(key string) keyHash { return sha256.Sum256([]byte(key)) }

// open are the paths that need no key.
var open = map[string]bool{"/health": true, "/healthz": true, "/readyz": true}

// auth lets a request pass if it needs no key or carries a right one, and notes which.
func (s *server) auth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.keys) == 0 || open[r.URL.Path] {
			next.ServeHTTP(w, r)
			return
		}
		h := hashKey(sentKey(r.Header))
		ok := 0
		for i := range s.keys {
			ok |= subtle.ConstantTimeCompare(h[:], s.keys[i][:])
		}
		if ok != 1 {
			(&Error{Status: http.StatusUnauthorized, Code: "invalid_api_key",
				Message: "a valid API key is needed: Authorization: Bearer KEY"}).write(w)
			return
		}
		stateOf(r).key = hex.EncodeToString(h[:])
		next.ServeHTTP(w, r)
	})
}

func sentKey(h http.Header) string {
	if kind, key, ok := strings.Cut(h.Get("Authorization"), " "); ok && strings.EqualFold(kind, "bearer") {
		return strings.TrimSpace(key)
	}
	return h.Get("X-Api-Key")
}

// domain is the cache domain of a request; "" is the one that everyone without key and salt shares.
func (s *server) domain(r *http.Request, salt, extra string) string {
	key := stateOf(r).key
	if s.Share {
		key = ""
	}
	if key == "" && salt == "" && extra == "" {
		return ""
	}
	// The parts are hashed one by one, so that no salt can be written that looks like another key's.
	a, b := sha256.Sum256([]byte(salt)), sha256.Sum256([]byte(extra))
	sum := sha256.Sum256([]byte(key + "\x00" + string(a[:]) + string(b[:])))
	return hex.EncodeToString(sum[:16])
}

// ownRID makes a client's request id private to its key.
func ownRID(r *http.Request, rid string) string {
	if rid == "" {
		return ""
	}
	key := stateOf(r).key
	return key[:min(len(key), 16)] + "/" + rid
}
