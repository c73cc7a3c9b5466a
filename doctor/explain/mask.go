package explain

import (
	"regexp"
	"strings"
	"unicode"
)

const widest = 400 // bytes of a line that a report shows

// secrets are what must not be printed; group 1 stays, the rest becomes ***.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`\b(hf_|sk-|rk-|gh[pousr]_|github_pat_|nvapi-|xox[abp]-|AKIA)[A-Za-z0-9_\-]{6,}`),
	regexp.MustCompile(`((?i:bearer|basic)\s+)[A-Za-z0-9._~+/=\-]{6,}`),
	regexp.MustCompile(`((?i:(?:api[_-]?key|password|passwd|secret|access[_-]?key|(?:auth|access|api|hf|hub|bearer|jupyter)[_-]?token)["']?\s*[=:]\s*))(?:'[^']*'?|"[^"]*"?|[^\s"'&,;)}\]]+)`),
	regexp.MustCompile(`((?i:--(?:api-key|admin-api-key|hf-token|token|password)\s+))[^\s"']+`),
	regexp.MustCompile(`((?i:[?&](?:token|key|sig|signature|x-amz-[a-z\-]+|policy|key-pair-id)=))[^\s"'&]+`),
	regexp.MustCompile(`\b([A-Z][A-Z0-9_]*(?:TOKEN|KEY|SECRET)=)[^\s"'&,;]+`),
	regexp.MustCompile(`(://[^\s/:@]*:)[^\s/@]+@`),
}

// openNames look like tokens and are names of programs and modules.
var openNames = regexp.MustCompile(`^hf_(transfer|hub_\w*|xet\w*|token|home|hub|download|api|quant\w*|config\w*|model\w*|processor\w*|text_config|repo\w*|file\w*)\b`)

// Mask replaces secrets in s: tokens by their well-known beginnings, values of key-like names, credentials in URLs.
func Mask(s string) string {
	for i, re := range secrets {
		s = re.ReplaceAllStringFunc(s, func(m string) string {
			if openNames.MatchString(m) {
				return m
			}
			kept := re.FindStringSubmatch(m)[1] + "***"
			if i == len(secrets)-1 {
				kept += "@"
			}
			return kept
		})
	}
	return s
}

// clean is Mask without control characters and broken UTF-8.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, Mask(strings.ToValidUTF8(s, "?")))
}

// evidence is the part of a line that a report shows: all of it if it is short, else what surrounds the match. The
// mask goes on before anything is cut, because half a token is a token that no pattern recognises; for the same reason
// the broken words at the borders of a window go, unless they belong to the match.
func evidence(v view, match string) string {
	text := v.text
	at := max(0, strings.Index(text, match))
	if v.cut {
		text = text[:max(at+len(match), strings.LastIndexByte(text, ' '))]
	}
	if v.more {
		from := min(at, strings.IndexByte(text, ' ')+1)
		text, at = text[from:], at-from
	}
	near := len(strings.TrimLeft(clean(text[:at]), " "))
	text = strings.TrimSpace(clean(text))
	if len(text) <= widest {
		return text
	}
	from := min(max(0, near-widest/4), len(text)-widest)
	return strings.ToValidUTF8(text[from:from+widest], "") + " ..."
}
