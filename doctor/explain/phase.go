package explain

import "regexp"

// marker is a line that tells which phase begins.
type marker struct {
	re    *regexp.Regexp
	phase Phase
	run   bool // what came before is over: a server starts, or is ready
}

func mark(p string, phase Phase) marker { return marker{re: regexp.MustCompile(p), phase: phase} }
func newRun(p string, phase Phase) marker {
	return marker{re: regexp.MustCompile(p), phase: phase, run: true}
}

// markers are the words of pip, uv, huggingface_hub, SGLang, vLLM, uvicorn and radish itself.
var markers = []marker{
	mark(`^Collecting \S|Installing collected packages|^Resolved \d+ packages`, Install),
	mark(`Fetching \d+ files`, Download),
	newRun(`server_args=ServerArgs\(|vLLM API server version`, Start),
	mark(`Load weight begin|Init torch distributed begin|Starting to load model|Loading safetensors checkpoint shards`, Load),
	newRun(`plan: weights `, Load),
	mark(`Capture cuda graph begin|Capturing CUDA graph|Capturing batches \(|Graph capturing`, Capture),
	mark(`(Prefill|Decode) batch`, Serve),
	newRun(`The server is fired up and ready to roll|Application startup complete|ready: http://`, Serve),
	mark(`Shutting down|Finished server process|Gracefully exiting|drain ended early`, Stop),
}

// mark moves the scan into another phase. The phase of the lines after a marker is the marker's own until the next.
func (s *scan) mark(m *marker, v view) {
	if !m.re.MatchString(v.text) {
		return
	}
	s.phase = m.phase
	if m.run && s.start != v.number {
		s.start = v.number
	}
}
