package bench

import (
	"strings"
	"testing"
	"time"
)

// FuzzStream: whatever a server sends, an answer has one outcome, a failure has a reason, and times do not run backwards.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"", "data: [DONE]\n\n", "data:{}\n", "data: null\n\n", "data: {\"choices\":[null]}\n", ": comment\nevent: x\n",
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":1}}\n\ndata: [DONE]\n\n",
		"data: {\"error\":{\"message\":\"x\"}}\n\n", "data: {\"error\":null}\n", "data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"late\"}}]}\n\n",
		"data: {\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":-9}}\n", "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := &asker{target: Target{MaxTokens: 1, Natural: true}}
		r := Request{Streamed: true, Usage: Usage{-1, -1, -1}}
		r.Outcome, r.Reason = a.stream(t.Context(), strings.NewReader(s), time.Now(), &r)
		switch {
		case r.Outcome == Complete && (r.Reason != "" || len(r.Chunks) == 0):
			t.Errorf("%+v", r)
		case r.Outcome != Complete && r.Reason == "":
			t.Errorf("%+v", r)
		}
		for i, at := range r.Chunks {
			if i > 0 && at < r.Chunks[i-1] || (r.End > 0 && at > r.End) {
				t.Errorf("times run backwards: %+v", r)
			}
		}
		newTally().add(&r, window{0, 1e9}, &Options{})
	})
}
