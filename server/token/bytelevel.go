package token

import "unicode/utf8"

// Byte-level vocabularies spell bytes as printable characters (GPT-2's bytes_to_unicode): the printable ones of
// Latin-1 stand for themselves, the other 68 for the characters from U+0100 on.
var byteRune, runeByte = func() (to [256]rune, from [0x144]int16) {
	for i := range from {
		from[i] = -1
	}
	next := rune(0x100)
	for c := range to {
		to[c] = rune(c)
		if c <= ' ' || c >= 0x7F && c <= 0xA0 || c == 0xAD {
			to[c] = next
			next++
		}
		from[to[c]] = int16(c)
	}
	return to, from
}()

// appendByteLevel appends the bytes that piece spells; ok is false if a character of it spells no byte.
func appendByteLevel(dst []byte, piece string) (raw []byte, ok bool) {
	for _, r := range piece {
		if int(r) >= len(runeByte) || runeByte[r] < 0 {
			return dst, false
		}
		dst = append(dst, byte(runeByte[r]))
	}
	return dst, true
}

// byteToken is the byte that a piece like <0x0A> stands for.
func byteToken(piece string) (byte, bool) {
	if len(piece) != 6 || piece[:3] != "<0x" || piece[5] != '>' {
		return 0, false
	}
	hi, lo := hexDigit(piece[3]), hexDigit(piece[4])
	return byte(hi<<4 | lo&15), hi >= 0 && lo >= 0
}

// hexDigit is the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// whole is the length of the longest beginning of b that does not end inside a character: what follows it may still
// become one. Bytes that can never be part of a character count as whole.
func whole(b []byte) int {
	for n := 1; n <= 3 && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if tail[0] >= utf8.RuneSelf && !utf8.FullRune(tail) {
				return len(b) - n
			}
			break
		}
	}
	return len(b)
}

// appendText appends b as text. Of invalid UTF-8 each longest beginning of a character becomes one U+FFFD, as the
// Unicode Standard (chapter 3, "substitution of maximal subparts") and Rust's from_utf8_lossy do.
func appendText(dst, b []byte) []byte {
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			dst, b = append(dst, b[0]), b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			for n = min(3, len(b)); n > 1 && utf8.FullRune(b[:n]); n-- {
			}
		}
		dst, b = utf8.AppendRune(dst, r), b[n:]
	}
	return dst
}

// appendRun appends the text of a run of byte pieces: each byte that is part of no character becomes one U+FFFD, and
// with all, every byte does if any one must.
func appendRun(dst, b []byte, all bool) []byte {
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if all {
			r, n = utf8.RuneError, 1
		}
		dst, b = utf8.AppendRune(dst, r), b[n:]
	}
	return dst
}
