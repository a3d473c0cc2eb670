package dispatcher

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/schemas"
)

// roster is the subscribers of one moment. It doesn't change: a changed file makes a new one.
type roster struct {
	subs  []*subscriber
	index *index
}

func newRoster(subs []*subscriber) *roster {
	selections := make([]*selection, len(subs))
	for i, s := range subs {
		selections[i] = s.sel
	}
	return &roster{subs: subs, index: newIndex(selections)}
}

func (r *roster) byID(id string) *subscriber {
	i := slices.IndexFunc(r.subs, func(s *subscriber) bool { return s.sub.ID == id })
	if i < 0 {
		return nil
	}
	return r.subs[i]
}

// subscribe makes a subscriber.
func (d *dispatcher) subscribe(sub *schemas.Subscription, sel *selection) (*subscriber, error) {
	e, err := newEndpoint(sub, d.host.Version)
	if err != nil {
		return nil, err
	}
	s := &subscriber{
		sub: sub, sel: sel, topics: topicsOf(sub.Types), endpoint: e,
		plan:    plan{retry: sub.Config.Retry, ordered: sub.Config.Ordering != schemas.OrderNone},
		trip:    d.guard.transport(sub.Config.InFlight, time.Duration(sub.Config.Timeout)),
		ledger:  d,
		trace:   tracer{tracer: d.host.Tracer, w3c: d.host.Propagator},
		memory:  &d.memory,
		limits:  limits{memory: d.config.memory, subscriber: max(d.config.memory/16, alwaysAdmitted)},
		ctx:     d.hard,
		circuit: newCircuit(sub.Config.InFlight),
		bucket:  bucket{rate: float64(sub.Config.Rate)},
		chains:  map[string]*chain{},
		waiting: map[*lane]struct{}{},
	}
	d.switches.apply(s)
	return s, nil
}

// current is the roster now.
func (d *dispatcher) current() *roster {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roster
}

// register notes a partition as ours and gives the roster that it begins with.
func (d *dispatcher) register(p *partition) *roster {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.partitions[p] = struct{}{}
	return d.roster
}

func (d *dispatcher) unregister(p *partition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.partitions, p)
}

func (d *dispatcher) owned() []*partition {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*partition, 0, len(d.partitions))
	for p := range d.partitions {
		all = append(all, p)
	}
	return all
}

// lanes lists all lanes of this process.
func (d *dispatcher) lanes() []*lane {
	var all []*lane
	for _, p := range d.owned() {
		all = append(all, p.live()...)
	}
	return all
}

// take makes these the subscriptions. One that did not change keeps its subscriber and lanes;
// one that did ends in order and goes on, from where it is, as it now should.
func (d *dispatcher) take(subs []schemas.Subscription) error {
	selections, err := compileAll(subs)
	if err != nil {
		return err
	}
	old := d.current()
	var next []*subscriber
	for i := range subs {
		if s := old.byID(subs[i].ID); s != nil && same(s.sub, &subs[i]) {
			next = append(next, s)
			continue
		}
		s, err := d.subscribe(&subs[i], selections[i])
		if err != nil {
			return err
		}
		next = append(next, s)
	}
	r := newRoster(next)
	d.mu.Lock()
	d.roster = r
	d.mu.Unlock()
	for _, s := range old.subs {
		if !slices.Contains(next, s) {
			s.close()
		}
	}
	var wg sync.WaitGroup
	for _, p := range d.owned() {
		wg.Go(func() { p.reconcile(r) })
	}
	wg.Wait()
	return nil
}

func same(a, b *schemas.Subscription) bool {
	x, y := *a, *b
	x.Line, y.Line = 0, 0
	return reflect.DeepEqual(&x, &y)
}

// loadFile takes the subscriptions of the file.
func (d *dispatcher) loadFile(read func(path string) ([]byte, error)) (int, error) {
	subs, err := d.config.read(read)
	if err != nil {
		return 0, err
	}
	return len(subs), d.take(subs)
}

// countReload counts how a reading of the file went.
func (d *dispatcher) countReload(err error) {
	result := "taken"
	if err != nil {
		result = "refused"
	}
	d.metrics.reloads.Add(context.Background(), 1, metric.WithAttributes(attribute.String("result", result)))
}
