package ingest

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/heedhq/heed/schemas"
)

// peers tells who is at the other end, and that address's pseudonym.
type peers struct {
	trusted []netip.Prefix // proxies whose X-Forwarded-For is believed
	pseudo  *schemas.Pseudonymizer

	mu    sync.RWMutex
	known map[netip.Addr]string // pseudonyms; emptied when full, so it stays small
}

const knownPeers = 4096

// of is the address of the caller: the peer of the connection, or, where that is a trusted
// proxy, the last address of X-Forwarded-For that no trusted proxy has. What stands further to
// the left the caller may have made up.
func (p *peers) of(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	peer := at.Addr().Unmap()
	if len(p.trusted) == 0 || !p.trusts(peer) {
		return peer
	}
	forwarded := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(forwarded) - 1; i >= 0; i-- {
		addr, err := forwardedAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			return peer // what the proxy wrote can't be read; better its own address than a guess
		}
		peer = addr.Unmap()
		if !p.trusts(peer) {
			return peer
		}
	}
	return peer
}

// forwardedAddr reads an address as proxies write it: some add the port (Azure's gateways do), and
// then brackets around an IPv6 one.
func forwardedAddr(s string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr(), nil
	}
	return netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
}

func (p *peers) trusts(addr netip.Addr) bool {
	for _, network := range p.trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// pseudonym is the pseudonym of an address.
func (p *peers) pseudonym(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	p.mu.RLock()
	name := p.known[addr]
	p.mu.RUnlock()
	if name != "" {
		return name
	}
	name = p.pseudo.OfPeer(addr.String())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= knownPeers {
		p.known = map[netip.Addr]string{}
	}
	p.known[addr] = name
	return name
}
