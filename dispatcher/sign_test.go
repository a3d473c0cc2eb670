package dispatcher

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

const (
	newSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	oldSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

func keys(t *testing.T, secrets ...string) []schemas.WebhookKey {
	t.Helper()
	var keys []schemas.WebhookKey
	for _, s := range secrets {
		k, err := schemas.ParseWebhookKey(s)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// The specification's own library must take what we sign, with either secret while they rotate.
func TestSignatureInteroperates(t *testing.T) {
	event := &stream.Event{ID: "a.b", Source: "heed/x"}
	body, at := []byte(`{"a":1}`), time.Now()
	id := webhookID(event)
	header := http.Header{}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("webhook-signature", signature(keys(t, newSecret, oldSecret), id, at, body))
	for _, secret := range []string{newSecret, oldSecret} {
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(body, header); err != nil {
			t.Errorf("not taken with %s…: %v", secret[:9], err)
		}
		if verifier.Verify([]byte(`{"a":2}`), header) == nil {
			t.Error("another body is taken")
		}
	}
	stranger, _ := standardwebhooks.NewWebhook("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	if stranger.Verify(body, header) == nil {
		t.Error("a stranger's secret is taken")
	}
}

// The vector of the specification's text.
func TestSignatureVector(t *testing.T) {
	got := signature(keys(t, newSecret), "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWebhookIDIsStableAndDistinct(t *testing.T) {
	a, b := &stream.Event{ID: "1.2", Source: "heed/a"}, &stream.Event{ID: "2", Source: "heed/a.1"}
	if webhookID(a) != webhookID(&stream.Event{ID: "1.2", Source: "heed/a", Subject: "x"}) {
		t.Error("the id depends on more than source and id")
	}
	if webhookID(a) == webhookID(b) || webhookID(a) == webhookID(a, b) {
		t.Error("two ids are the same")
	}
	if strings.Contains(webhookID(a), ".") || len(webhookID(a)) != 36 {
		t.Errorf("id %q", webhookID(a))
	}
}
