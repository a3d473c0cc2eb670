package ingest

import (
	"encoding/base64"
	"testing"

	"github.com/heedhq/heed/schemas"
)

func TestUser(t *testing.T) {
	for _, c := range []struct {
		name, provider string
		kind           schemas.EndpointKind
		query, body    string
		want           string
	}{
		{"Kaleyra RCS", "kaleyra", "any", "", `{"type":"USER_MESSAGE","from":"919999912345","to":"mmx_traffic"}`, "+919999912345"},
		{"blanks and plus", "kaleyra", "any", "", "{ \"from\" :\n \"+919999912345\" }", "+919999912345"},
		{"a number", "mobtexting", "any", "", `{"from":919999912345,"to":1}`, "+919999912345"},
		{"the user's own words", "kaleyra", "any", "", `{"text":"\"from\":\"911111111111\"","from":"919999912345"}`, "+919999912345"},
		{"alphanumeric sender, then the user", "kaleyra", "any", "", `{"from":"KALEYRA","mobile":"919999912345"}`, "+919999912345"},
		{"masked", "kaleyra", "any", "", `{"from":"91999XXXX345"}`, ""},
		{"query", "kaleyra", "any", "status=1&mobile=%2B919999912345", ``, "+919999912345"},
		{"form", "exotel", "any", "", `SmsSid=1&From=%2B919999912345&To=0804568`, "+919999912345"},
		{"form, receipt", "exotel", "any", "", `SmsSid=1&From=08045681234&To=919999912345&DetailedStatus=x`, "+919999912345"},
		{"multipart", "exotel", "any", "", "--b\r\nContent-Disposition: form-data; name=\"From\"\r\n\r\n0919999912345\r\n--b--", "+0919999912345"},
		{"Exotel receipt", "exotel", "any", "", `{"whatsapp":{"messages":[{"callback_type":"dlr","from":"918012345678","to":"919999912345"}]}}`, "+919999912345"},
		{"Exotel receipt by kind", "exotel", "status", "", `{"from":"918012345678","to":"919999912345"}`, "+919999912345"},
		{"Exotel message", "exotel", "inbound", "", `{"from":"919999912345","to":"918012345678"}`, "+919999912345"},
		{"Mobtexting message", "mobtexting", "any", "", `{"event":"rcs:message:in","payload":{"channels":[{"name":"rcs","to":"918012345678"}],"recipient":{"from":"919999912345"}}}`, "+919999912345"},
		{"Mobtexting status", "mobtexting", "any", "", `{"event":"rcs:message:status","payload":{"from":"918012345678","to":"919999912345"}}`, "+919999912345"},
		{"Mobtexting composed", "mobtexting", "any", "message_id=1&mobile_number=919999912345&message_status=read", `[]`, "+919999912345"},
		{"Telesign e-mail", "telesign", "any", "", `{"email":"User@Example.com"}`, "user@example.com"},
		{"Google", "google-rbm", "any", "", `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"senderPhoneNumber":"+14155550123","text":"hello"}`)) + `"}}`, "+14155550123"},
		{"nobody", "telesign", "any", "", `{"reference_id":"x"}`, ""},
		{"empty", "kaleyra", "any", "", ``, ""},
		{"cut off", "kaleyra", "any", "", `{"from":"9199999`, ""},
		{"unknown provider", "x", "any", "", `{"from":"919999912345"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sourceOf(c.provider)
			_, got := s.user(c.kind, c.query, []byte(c.body))
			if string(got) != c.want {
				t.Errorf("got %q, want %q", string(got), c.want)
			}
		})
	}
}

// FuzzUser: whatever the bytes are, the peek ends, doesn't panic, and is the same twice.
func FuzzUser(f *testing.F) {
	f.Add("kaleyra", "a=b", []byte(`{"from":"919999912345"}`))
	f.Add("google-rbm", "", []byte(`{"message":{"data":"eyJzZW5kZXJQaG9uZU51bWJlciI6"}}`))
	f.Add("exotel", "", []byte("--b\r\nname=\"From\"\r\n\r\n1"))
	f.Fuzz(func(t *testing.T, provider, query string, body []byte) {
		s := sourceOf(provider)
		_, a := s.user("any", query, body)
		_, b := s.user("any", query, body)
		if a != b {
			t.Errorf("%q, then %q", string(a), string(b))
		}
	})
}
