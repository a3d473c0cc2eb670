package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestPersonalValuesCannotBePrinted logs and formats personal values in every way that happens
// by accident (design I8).
func TestPersonalValuesCannotBePrinted(t *testing.T) {
	const number, words = "+919812345678", "please STOP writing to me"
	user := User{Address: number, Given: "9812345678", Kind: UserPhone}
	content := Content{Type: ContentText, Text: words}
	data := Data{User: &user, Content: &content, ProviderData: json.RawMessage(`{"from":"` + number + `"}`)}
	capture := Capture{Method: "GET", Target: "/v1/callbacks/e?from=" + number, Body: []byte(words)}

	var b bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewJSONHandler(&b, nil)), slog.New(slog.NewTextHandler(&b, nil))} {
		log.Info("m", "address", user.Address, "text", content.Text)
		log.Info("m", "user", user, "userp", &user, "content", content, "data", data, "datap", &data, "capture", capture, "capturep", &capture)
		log.With("user", user).WithGroup("g").Info("m", slog.Group("h", "text", content.Text))
		log.Info("m", "error", fmt.Errorf("%s wrote %v: %w", user.Address, content.Text, errors.New("x")))
	}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+verb+verb+verb, user.Address, content.Text, user, content)
	}
	for _, secret := range []string{"9812345678", words, fmt.Sprintf("%x", number)} {
		if at := strings.Index(b.String(), secret); at >= 0 {
			t.Errorf("%q can be read: …%s", secret, b.String()[max(0, at-80):at+len(secret)])
		}
	}

	if out, err := json.Marshal(data); err != nil || !strings.Contains(string(out), number) || !strings.Contains(string(out), words) {
		t.Errorf("an event's data must carry the values themselves: %s, %v", out, err)
	}
}
