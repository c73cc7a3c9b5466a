package host

import (
	"strconv"
	"strings"
)

// Platform is the company's machine that this container runs on, as its variables tell.
type Platform struct {
	Name    string      // "runpod", "vast"; empty: none that is known
	Exposed map[int]int // port in here -> port outside, TCP only
}

// portVars are the prefixes of the variables that map a port in the container to one outside.
var portVars = map[string]string{"runpod": "RUNPOD_TCP_PORT_", "vast": "VAST_TCP_PORT_"}

// readPlatform looks at names, and at values that are port numbers. RunPod's names above 70000 ask for a port that is
// the same on both sides; the value is that port.
func readPlatform(all map[string]string) Platform {
	var p Platform
	switch {
	case all["RUNPOD_POD_ID"] != "":
		p.Name = "runpod"
	case all["VAST_CONTAINERLABEL"] != "":
		p.Name = "vast"
	default:
		return p
	}
	for name, value := range all {
		text, ok := strings.CutPrefix(name, portVars[p.Name])
		in, err := strconv.Atoi(text)
		out, bad := strconv.Atoi(value)
		if !ok || err != nil || bad != nil || out < 1 || out > 65535 {
			continue
		}
		if in >= 70000 {
			in = out
		}
		if p.Exposed == nil {
			p.Exposed = map[int]int{}
		}
		p.Exposed[in] = out
	}
	return p
}
