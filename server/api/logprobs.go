package api

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"radish/server/seq"
)

// spelling is a token as text; bytes that are no text of their own are written as OpenAI does: bytes:\xe2\x82.
func (s *server) spelling(id seq.Token) string {
	if s.Tokenizer == nil {
		return fmt.Sprintf("token_id:%d", id)
	}
	b := s.Tokenizer.TokenBytes(id)
	if utf8.Valid(b) {
		return string(b)
	}
	var sb strings.Builder
	sb.WriteString("bytes:")
	for _, c := range b {
		fmt.Fprintf(&sb, `\x%02x`, c)
	}
	return sb.String()
}

// finite makes a log probability fit for JSON; OpenAI too writes -9999 for impossible.
func finite(x float32) float64 {
	if !(x > -9999) {
		return -9999
	}
	return float64(x)
}

// completionLogprobs is the parallel arrays of /v1/completions.
type completionLogprobs struct {
	Tokens  []string             `json:"tokens"`
	Scores  []*float64           `json:"token_logprobs"`
	Top     []map[string]float64 `json:"top_logprobs"`
	Offsets []int                `json:"text_offset"`
}

func (l *completionLogprobs) add(s *server, t seq.Scored, offset int) {
	score := finite(t.Logprob)
	top := map[string]float64{s.spelling(t.Token): score}
	for _, a := range t.Top {
		top[s.spelling(a.Token)] = finite(a.Logprob)
	}
	l.Tokens = append(l.Tokens, s.spelling(t.Token))
	l.Scores = append(l.Scores, &score)
	l.Top = append(l.Top, top)
	l.Offsets = append(l.Offsets, offset)
}

// addFirst adds the prompt's first token, which nothing precedes and nothing scores.
func (l *completionLogprobs) addFirst(s *server, id seq.Token) {
	l.Tokens = append(l.Tokens, s.spelling(id))
	l.Scores = append(l.Scores, nil)
	l.Top = append(l.Top, nil)
	l.Offsets = append(l.Offsets, 0)
}

// chatLogprobs is the list of /v1/chat/completions.
type chatLogprobs struct {
	Content []chatToken `json:"content"`
}

type chatToken struct {
	chatScore
	Top []chatScore `json:"top_logprobs"`
}

type chatScore struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

func (s *server) chatScore(id seq.Token, logprob float32) chatScore {
	c := chatScore{Token: s.spelling(id), Logprob: finite(logprob)}
	if s.Tokenizer != nil {
		for _, b := range s.Tokenizer.TokenBytes(id) {
			c.Bytes = append(c.Bytes, int(b))
		}
	}
	return c
}

func (s *server) chatLogprobs(pieces []piece) *chatLogprobs {
	l := &chatLogprobs{Content: []chatToken{}}
	for _, p := range pieces {
		t := chatToken{chatScore: s.chatScore(p.Token, p.Logprob)}
		for _, a := range p.Top {
			t.Top = append(t.Top, s.chatScore(a.Token, a.Logprob))
		}
		l.Content = append(l.Content, t)
	}
	return l
}
