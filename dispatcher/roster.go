package dispatcher

import (
	"context"
	"os"
	"reflect"
	"slices"
	"strings"
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

// reloadEvery is how often the files are looked at. Reading beats watching here: mounted
// configuration is changed by swapping symbolic links several folders up, which watchers miss.
const reloadEvery = 2 * time.Second

// follow keeps the subscriptions as the file says, and the last good ones when it is bad.
func (d *dispatcher) follow(ctx context.Context) error {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.host.Reloads():
			d.reload()
		case <-tick.C:
			if d.changed() {
				d.reload()
			}
		}
	}
}

// changed says whether the bytes of the files differ from those of the last try.
func (d *dispatcher) changed() bool {
	var now digest
	data, err := os.ReadFile(d.config.file)
	if err != nil {
		return d.stale.Load() == nil
	}
	now.add(data)
	for _, s := range d.current().subs {
		for _, path := range s.sub.Config.SecretFile {
			secret, _ := os.ReadFile(path) // a missing one differs from what it was
			now.add(secret)
		}
	}
	return now != d.seen
}

// reload reads the files and takes what they say, or says why not.
func (d *dispatcher) reload() {
	subs, seen, err := d.config.read()
	d.seen = seen
	if err == nil {
		err = d.take(subs)
	}
	result := "taken"
	if err != nil {
		result = "refused"
		why := "the subscriptions file is not taken, the subscriptions stay as they were: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		d.stale.Store(&why)
		d.host.Log.Error("subscriptions not reloaded", "file", d.config.file, "error", err)
	} else {
		d.stale.Store(nil)
		d.host.Log.Info("subscriptions loaded", "file", d.config.file, "subscriptions", len(subs))
	}
	d.metrics.reloads.Add(context.Background(), 1, metric.WithAttributes(attribute.String("result", result)))
}
