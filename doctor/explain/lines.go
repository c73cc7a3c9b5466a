package explain

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"
)

const (
	window  = 8 << 10 // longest piece of a line that is looked at in one go
	overlap = 512     // bytes that two windows of one line share; no pattern of the table is longer in practice
)

// view is a line without colours and line end, or a piece of one: a window of a long line, or what stands between two
// carriage returns.
type view struct {
	text   string
	number int64
	fresh  int64 // bytes of the log that this view is the first to hold
	first  bool  // a line feed came before it
	more   bool  // it begins with the end of the window before
	cut    bool  // the line goes on after this window
}

// splitter remembers between two pieces of input where in a line they meet.
type splitter struct {
	f     func(view)
	carry string
	mid   bool // the last piece did not end its line
}

// eachLine calls f for every line of r. It holds one window at a time. A carriage return ends a view like a line feed.
func eachLine(r io.Reader, f func(view)) error {
	br := bufio.NewReaderSize(r, window)
	s := splitter{f: f}
	for {
		b, err := br.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if len(b) > 0 {
			s.take(b, full)
		}
		if err != nil && !full {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// take gives a piece of input on; goesOn: its line does not end with it.
func (s *splitter) take(b []byte, goesOn bool) {
	fresh := int64(len(b))
	if !goesOn {
		b = bytes.TrimRight(b, "\r\n")
	}
	for i := bytes.IndexByte(b, '\r'); i >= 0; i = bytes.IndexByte(b, '\r') {
		s.give(b[:i], int64(i)+1, false)
		s.carry, s.mid = "", true
		b, fresh = b[i+1:], fresh-int64(i)-1
	}
	s.give(b, fresh, goesOn)
	s.mid = goesOn
}

func (s *splitter) give(b []byte, fresh int64, goesOn bool) {
	text := s.carry + string(b)
	s.f(view{text: plain(text), fresh: fresh, first: !s.mid, more: s.carry != "", cut: goesOn})
	s.carry = ""
	if goesOn {
		s.carry = text[max(0, len(text)-overlap):]
	}
}

// plain removes terminal escape sequences (ECMA-48 control sequences and operating system commands).
func plain(s string) string {
	if strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 0x1b {
			out.WriteByte(s[i])
			continue
		}
		i = escapeEnd(s, i)
	}
	return out.String()
}

// escapeEnd is the index of the last byte of the escape sequence that begins at i.
func escapeEnd(s string, i int) int {
	if i+1 >= len(s) {
		return i
	}
	switch s[i+1] {
	case '[':
		for j := i + 2; j < len(s); j++ {
			if s[j] >= 0x40 && s[j] <= 0x7e {
				return j
			}
		}
		return len(s) - 1
	case ']':
		if n := strings.IndexAny(s[i:], "\a"); n >= 0 {
			return i + n
		}
	}
	return i + 1
}

// stamps are the beginnings of lines that carry a time: SGLang's "[2025-12-10 10:38:08", ISO 8601, vLLM's "INFO
// 12-10 10:38:08", syslog's "Dec 10 10:38:08".
var stamps = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "01-02 15:04:05", "Jan _2 15:04:05"}

// timestamp finds the time near the beginning of a line. Years and zones do not matter: only differences are used.
func timestamp(line string) (time.Time, bool) {
	head := line[:min(len(line), 64)]
	for _, layout := range stamps {
		for i := 0; i+len(layout) <= len(head); i++ {
			if !startsStamp(head, i) {
				continue
			}
			if t, err := time.Parse(layout, head[i:i+len(layout)]); err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// startsStamp: the first byte of a line, or one after something that is not part of a word.
func startsStamp(s string, i int) bool {
	return i == 0 || strings.IndexByte(" [({\"", s[i-1]) >= 0
}
