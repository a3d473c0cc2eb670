package dispatcher

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// guard decides which addresses sinks may have. It looks at the address that is being connected
// to, after the name was resolved, so a name that points inside, or points somewhere else the
// second time, gets no further than one that says so.
type guard struct {
	allowed []netip.Prefix // HEED_DISPATCH_ALLOW_NETS
}

// neverAllowed lists what no configuration opens: link-local addresses, where clouds keep their
// metadata, and addresses that are no host's.
var neverAllowed = prefixes(
	"169.254.0.0/16", "fe80::/10", // link-local; 169.254.169.254 is most clouds' metadata
	"fd00:ec2::254/128", "fd20:ce::254/128", // metadata over IPv6 (AWS, Google)
	"100.100.100.200/32", "168.63.129.16/32", // metadata (Alibaba), host agent (Azure)
	"0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "240.0.0.0/4",
)

// notPublic lists what is refused unless allowed: IANA's special-purpose registries.
var notPublic = prefixes(
	"127.0.0.0/8", "::1/128",
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10",
	"100.64.0.0/10",                 // carrier-grade NAT
	"192.0.0.0/24", "198.18.0.0/15", // protocol assignments, benchmarks
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20", // documentation
	"192.88.99.0/24", "2002::/16", "2001::/23", // 6to4, Teredo and other protocol assignments
	"100::/64", "5f00::/16", "::/96",
)

// nat64 carries an IPv4 address in its last four bytes.
var nat64 = prefixes("64:ff9b::/96", "64:ff9b:1::/48")

func prefixes(words ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(words))
	for i, w := range words {
		all[i] = netip.MustParsePrefix(w)
	}
	return all
}

func within(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parseNets reads HEED_DISPATCH_ALLOW_NETS.
func parseNets(words []string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, w := range words {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			return nil, fmt.Errorf("HEED_DISPATCH_ALLOW_NETS: %q is not a network such as 10.20.0.0/16", w)
		}
		for _, never := range neverAllowed {
			if never.Contains(p.Addr()) && never.Bits() <= p.Bits() {
				return nil, fmt.Errorf("HEED_DISPATCH_ALLOW_NETS: %s can't be allowed: link-local and metadata addresses are never delivered to", w)
			}
		}
		nets = append(nets, p.Masked())
	}
	return nets, nil
}

type refusedAddressError struct{ addr netip.Addr }

func (e *refusedAddressError) Error() string {
	return fmt.Sprintf("the sink's address %s is not public; allow its network in HEED_DISPATCH_ALLOW_NETS if that is meant", e.addr)
}

// check returns why the address may not be connected to, or nil.
func (g guard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if within(nat64, addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if within(neverAllowed, addr) || within(notPublic, addr) && !within(g.allowed, addr) {
		return &refusedAddressError{addr}
	}
	return nil
}

// control is the dialer's last word before it connects.
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return g.check(to.Addr())
}

// transport makes a subscription's own connection pool: as many connections as it may have
// attempts in flight, so that a slow one can't take another's.
func (g guard) transport(inFlight int, timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: min(timeout, 5*time.Second), KeepAlive: 30 * time.Second, ControlContext: g.control}
	return &http.Transport{
		Proxy:                  nil, // a proxy would connect for us, past the guard
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    inFlight,
		MaxConnsPerHost:        inFlight,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    min(timeout, 5*time.Second),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // the body is thrown away
		WriteBufferSize:        8 << 10,
		ReadBufferSize:         4 << 10,
	}
}
