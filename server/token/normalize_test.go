package token

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"golang.org/x/text/unicode/norm"
)

// TestMarks: long runs of combining marks are normalized as Python's unicodedata does, which breaks none of them.
func TestMarks(t *testing.T) {
	f, err := os.Open("testdata/marks.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	forms := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}
	rows := 0
	for lines := bufio.NewScanner(f); lines.Scan(); rows++ {
		var row map[string]string
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		for name, f := range forms {
			if got := form(f)(row["text"]); got != row[name] {
				t.Errorf("%s of %+q = %+q, want %+q", name, row["text"], got, row[name])
			}
			// what is short enough goes through x/text: the slow way must agree with it
			if got := normalizeSlow(f, row["text"]); got != row[name] {
				t.Errorf("%s of %+q the slow way = %+q, want %+q", name, row["text"], got, row[name])
			}
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows", rows)
	}
}

// TestManyMarks: a text of nothing but marks is not quadratic: 200,000 of them, of two classes in turn, are sorted.
func TestManyMarks(t *testing.T) {
	const n = 100_000
	got := form(norm.NFC)("x" + strings.Repeat("\u0301\u0323", n))
	if want := "x" + strings.Repeat("\u0323", n) + strings.Repeat("\u0301", n); got != want {
		t.Errorf("%d marks come out as %d bytes", 2*n, len(got))
	}
}
