package supervise

import (
	"net"
	"strings"
)

// Notifier speaks systemd's notification protocol (sd_notify(3)): datagrams of "KEY=value" to the socket that
// NOTIFY_SOCKET names. A zero Notifier says nothing.
type Notifier struct{ conn *net.UnixConn }

// NewNotifier connects to socket; "" gives a silent one. A leading @ means Linux's abstract namespace.
func NewNotifier(socket string) Notifier {
	if socket == "" {
		return Notifier{}
	}
	name := socket
	if rest, ok := strings.CutPrefix(socket, "@"); ok {
		name = "\x00" + rest
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return Notifier{} // the manager is gone: nobody would listen
	}
	return Notifier{conn}
}

// Send tells the manager one state. It is best effort, as in sd_notify: there is nobody else to tell.
func (n Notifier) Send(state string) {
	if n.conn != nil {
		n.conn.Write([]byte(strings.ReplaceAll(state, "\n", " ")))
	}
}
