package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/heedhq/heed/deploy/allinone"
	"github.com/heedhq/heed/schemas"
)

// patience is how long one step may take before the demo says that it failed. It is generous:
// a laptop may compile something else meanwhile.
const patience = 20 * time.Second

// player plays the demo: it is the provider, the sender that asks before it sends, and the
// subscriber.
type player struct {
	out  io.Writer
	dir  string
	logs string

	stack *allinone.Stack

	mu        sync.Mutex
	delivered map[string]int // by CloudEvents type and message id
	arrived   chan struct{}  // closed and renewed with each delivery
	talk      bool           // print deliveries as they come
}

const endpoints = `# Endpoints of the demo. Without verification, which each must say aloud.
endpoints:
  - {id: demo-kaleyra-rcs, provider: kaleyra, channel: rcs, kind: any, default_country: IN, naive_zone: Asia/Kolkata, verify: [{scheme: none}]}
  - {id: demo-telesign, provider: telesign, channel: any, kind: any, agent: demo-agent, verify: [{scheme: none}]}
  - {id: demo-exotel, provider: exotel, channel: any, kind: any, default_country: IN, naive_zone: Asia/Kolkata, verify: [{scheme: none}]}
  - {id: demo-mobtexting, provider: mobtexting, channel: whatsapp, kind: any, default_country: IN, naive_zone: Asia/Kolkata, verify: [{scheme: none}]}
`

// person and agent of the samples. The number is of a range that India does not assign.
const (
	person = "919999912345"
	agent  = "mmx_traffic"
)

func (p *player) run(ctx context.Context, o allinone.Options, once bool) error {
	p.delivered, p.arrived = map[string]int{}, make(chan struct{})
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(p.receive), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(sink) }()
	defer server.Close()

	subscriptions := fmt.Sprintf("subscriptions:\n  - {id: demo, sink: 'http://%s/', config: {mode: binary, start: earliest}}\n", sink.Addr())
	for name, content := range map[string]string{"endpoints.yaml": endpoints, "subscriptions.yaml": subscriptions} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	o.Environ = append(o.Environ,
		"HEED_ENDPOINTS_FILE="+filepath.Join(p.dir, "endpoints.yaml"),
		"HEED_SUBSCRIPTIONS_FILE="+filepath.Join(p.dir, "subscriptions.yaml"))

	began := time.Now()
	p.say("Starting Kafka, Redis and the four stages in this process …")
	if p.stack, err = allinone.Start(ctx, o); err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := p.stack.Stop(stop); err != nil {
			p.say("Stopping: %v", err)
		}
	}()
	p.say("Ready after %s.\n", time.Since(began).Round(10*time.Millisecond))
	if err := p.story(ctx); err != nil {
		return err
	}
	if once {
		p.say("\nEverything came as it should.")
		return nil
	}
	p.leaveOpen(ctx)
	return nil
}

// story plays the samples and checks what comes of each.
func (p *player) story(ctx context.Context) error {
	p.say("1. A sender asks: may I write to %s as %s?", "+"+person, agent)
	if err := p.expect(ctx, "allow"); err != nil {
		return err
	}
	p.say("\n2. The person taps Unsubscribe; the provider (Kaleyra RCS) pushes two callbacks, 52 ms apart")
	if err := p.post(ctx, "demo-kaleyra-rcs", unsubscribe); err != nil {
		return err
	}
	if err := p.post(ctx, "demo-kaleyra-rcs", message("m-stop", "STOP", "2025-06-18T13:37:40.683Z")); err != nil {
		return err
	}
	if err := p.await(ctx, schemas.UserOptedOut, "m-unsubscribe"); err != nil {
		return err
	}
	if err := p.await(ctx, schemas.MessageReceived, "m-stop"); err != nil {
		return err
	}
	if err := p.await(ctx, schemas.ConsentChanged, ""); err != nil {
		return err
	}
	p.say("\n3. The sender asks again")
	if err := p.expect(ctx, "deny"); err != nil {
		return err
	}
	p.say("\n4. A month later the person writes START")
	if err := p.post(ctx, "demo-kaleyra-rcs", message("m-start", "START", "2025-07-18T09:00:00.000Z")); err != nil {
		return err
	}
	if err := p.await(ctx, schemas.MessageReceived, "m-start"); err != nil {
		return err
	}
	if err := p.expect(ctx, "allow"); err != nil {
		return err
	}
	p.say("\n5. Other providers, other shapes; the same events")
	for _, s := range others {
		if err := p.post(ctx, s.endpoint, s.body); err != nil {
			return err
		}
		if err := p.await(ctx, s.kind, s.id); err != nil {
			return err
		}
	}
	return nil
}

func message(id, text, at string) string {
	return fmt.Sprintf(`{"type":"USER_MESSAGE","eventId":"e-%s","from":%q,"to":%q,"sentAt":%q,"messageId":%q,"userMessage":{"type":"TEXT","text":%q}}`, id, person, agent, at, id, text)
}

var unsubscribe = fmt.Sprintf(`{"type":"UNSUBSCRIBE","from":%q,"to":%q,"sentAt":"2025-06-18T13:37:40.631Z","messageId":"m-unsubscribe"}`, person, agent)

type sample struct {
	endpoint, body string
	kind           schemas.Kind
	id             string // the provider's message id
}

var others = []sample{
	{"demo-telesign", `{"status":{"description":"Delivered to customer","code":1500,"updated_on":"2023-10-02T07:54:41.000000Z"},"content":{"content":{"body":"Thank you"},"type":"text"},"phone_number":"11234567890","reference_id":"0123456789ABCDEF0123456789ABCDEF","waba_phone_number":"11234567891"}`,
		schemas.MessageReceived, "0123456789ABCDEF0123456789ABCDEF"},
	{"demo-exotel", `{"rcs":{"messages":[{"callback_type":"incoming_message","sid":"x-1234","from":"919999912346","to":"9012","timestamp":"2024-12-07T17:00:00.000+05:30","content":{"type":"location","location":{"longtitude":74.3043942,"latitude":29.6305248}}}]}}`,
		schemas.MessageReceived, "x-1234"},
	{"demo-mobtexting", `{"event":"whatsapp:message:status","payload":{"id":"a418d672-9781-4d97-b517-a56f7d95ad8a","channel":"whatsapp","from":"919019120000","to":"919999912347","status":"delivered","delivered_at":"2021-06-18T14:48:06.886358Z","timestamp":"2021-06-18T14:48:06.886358Z","foreign_id":"your-business-identifier"}}`,
		schemas.MessageDelivered, "a418d672-9781-4d97-b517-a56f7d95ad8a"},
}

// post is the provider: it pushes a callback and wants 200.
func (p *player) post(ctx context.Context, endpoint, body string) error {
	url := p.stack.IngestURL + "/v1/callbacks/" + endpoint
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer, _ := io.ReadAll(response.Body)
	response.Body.Close()
	p.say("   POST /v1/callbacks/%s   %s\n        answered %d after %s", endpoint, short(body), response.StatusCode, time.Since(began).Round(100*time.Microsecond))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ingest answered %d to a sample: %s", response.StatusCode, answer)
	}
	return nil
}

func short(body string) string {
	if len(body) > 88 {
		return body[:88] + "…"
	}
	return body
}

// expect is the sender that asks before it sends. The view follows within moments, so it asks
// again until the decision is the wanted one or patience ends.
func (p *player) expect(ctx context.Context, want string) error {
	ask := fmt.Sprintf(`{"checks":[{"id":"a","user":"+%s","channel":"rcs","agent":%q,"category":"marketing"}]}`, person, agent)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	for last := ""; ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.stack.ConsentURL+"/v1/consent/check", strings.NewReader(ask))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("the consent API: want %s, last answer %s: %w", want, last, err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		last = string(bytes.TrimSpace(body))
		var answer struct {
			Results []struct{ Decision, Reason string }
		}
		if json.Unmarshal(body, &answer) == nil && len(answer.Results) == 1 && answer.Results[0].Decision == want {
			p.say("   POST /v1/consent/check\n        %s (%s) after %s", strings.ToUpper(want), answer.Results[0].Reason, time.Since(began).Round(time.Millisecond))
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the consent API did not answer %s in %s; its last answer: %s", want, patience, last)
		}
	}
}

// receive is the subscriber.
func (p *player) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind, _ := schemas.KindOf(r.Header.Get("Ce-Type"))
	var data schemas.Data
	_ = json.Unmarshal(body, &data)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delivered[string(kind)]++
	p.delivered[string(kind)+" "+data.MessageID]++
	close(p.arrived)
	p.arrived = make(chan struct{})
	if p.talk {
		p.say("   delivered %s  id %s  subject %s\n        %s", kind, r.Header.Get("Ce-Id"), r.Header.Get("Ce-Subject"), body)
	}
	w.WriteHeader(http.StatusNoContent)
}

// await waits until the subscriber has an event of the kind, of that message when id is not "".
func (p *player) await(ctx context.Context, kind schemas.Kind, id string) error {
	key := strings.TrimSpace(string(kind) + " " + id)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	for {
		p.mu.Lock()
		n, arrived := p.delivered[key], p.arrived
		p.mu.Unlock()
		if n > 0 {
			p.say("        → %s at the subscriber after %s", kind.Type(), time.Since(began).Round(100*time.Microsecond))
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("no %s (%s) reached the subscriber in %s", kind.Type(), id, patience)
		}
	}
}

func (p *player) leaveOpen(ctx context.Context) {
	p.mu.Lock()
	p.talk = true
	p.mu.Unlock()
	p.say(`
Everything stays open until Ctrl-C; deliveries are printed here. The stages' logs: %s
  callbacks    %s/v1/callbacks/{demo-kaleyra-rcs|demo-telesign|demo-exotel|demo-mobtexting}
  may I send?  %s/v1/consent/check
  lanes        %s/v1/subscriptions
  admin        ingest %s, normalizer %s, consent %s, dispatcher %s

Try:
  curl -i %s/v1/callbacks/demo-kaleyra-rcs -H 'Content-Type: application/json' -d '%s'
  curl -s %s/v1/consent/check -H 'Content-Type: application/json' -d '{"checks":[{"id":"a","user":"+%s","channel":"rcs","agent":"%s","category":"marketing"}]}'
`, p.logs, p.stack.IngestURL, p.stack.ConsentURL, p.stack.DispatcherURL,
		p.stack.AdminURLs["ingest"], p.stack.AdminURLs["normalizer"], p.stack.AdminURLs["consent"], p.stack.AdminURLs["dispatcher"],
		p.stack.IngestURL, message("m-yours", "STOP", "2026-01-02T03:04:05.678Z"), p.stack.ConsentURL, person, agent)
	<-ctx.Done()
	p.say("\nStopping …")
}

func (p *player) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }
