package signature_test

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/schemas"
)

const (
	exotelBody     = `{"event":"incoming_message","message":{"text":{"body":"STOP"}}}`
	telesignKey    = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw=="
	telesignBody   = `{"reference_id":"0123456789ABCDEF0123456789ABCDEF","sub_resource":"mo_sms","status":{"code":1500,"description":"Delivered to customer","updated_on":"2023-10-31T14:47:10.490130Z"},"user_response":{"sender_id":"4442","iso_country_code":"CA","action":"stop","keyword":"arrêt","phone_number":"15145550123","mo_message":"ARRÊT"},"errors":[],"submit_timestamp":"2023-10-31T14:47:10.154000Z"}`
	telesignProof  = "X82eord3y/iz0v7GXFd8z6hREzDC7Km8uODmZHwHW9Y="
	mobtextingBody = `{"id":436,"receiver":"917002088123","type":"category","value":"WUC","created_at":"2023-07-08T12:27:39.000000Z","status":"Unsubscriber created successfully"}`
	rbmBody        = `{"message":{"data":"eyJzZW5kZXJQaG9uZU51bWJlciI6IisxNDE1NTU1MDEyMyIsIm1lc3NhZ2VJZCI6Im0xIiwidGV4dCI6IlNUT1AifQ==","messageId":"1"},"subscription":"s"}`
)

var now = time.Unix(1614265330, 0)

func secrets(values ...string) []schemas.Secret {
	var s []schemas.Secret
	for _, v := range values {
		s = append(s, schemas.NewSecret(v))
	}
	return s
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func hmacOf(algorithm, encoding, prefix string) schemas.Verify {
	return schemas.Verify{Scheme: schemas.SchemeHMAC, Header: "X-Sig", Algorithm: algorithm, Encoding: encoding, Prefix: prefix, Secrets: secrets("s3cr3t-of-ours")}
}

// TestVectors: digests that OpenSSL 3 made, not this package. With the body of the case in the
// file "body" and without a line break at its end:
//
//	hmac, exotel, meta, mobtexting, hex:  openssl dgst -sha256 -hmac SECRET body
//	hmac, base64:                         openssl dgst -sha512 -hmac SECRET -binary body | base64 -w0
//	telesign:    KEY=$(printf %s APIKEY | base64 -d | xxd -p -c 200)
//	             openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY -binary body | base64 -w0
//	google-rbm:  printf %s DATA | base64 -d | openssl dgst -sha512 -hmac CLIENTTOKEN -binary | base64 -w0
//	standard-webhooks: KEY as for telesign, of what follows whsec_;
//	             printf %s 'ID.TIMESTAMP.BODY' | openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY -binary | base64 -w0
func TestVectors(t *testing.T) {
	telesign := schemas.Verify{Scheme: schemas.SchemeTelesign, CustomerID: "440813A2-1F7E-11E1-B760-000000000000", Secrets: secrets(telesignKey)}
	standard := schemas.Verify{Scheme: schemas.SchemeStandardWebhooks, Secrets: secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}
	for _, c := range []struct {
		name   string
		entry  schemas.Verify
		header http.Header
		body   string
	}{
		{"hmac sha1 hex", hmacOf("sha1", "hex", ""), headers("X-Sig", "6872211dcda1a1d2fcc8315f04d1dd0e71b51471"), exotelBody},
		{"hmac sha1 base64", hmacOf("sha1", "base64", ""), headers("X-Sig", "aHIhHc2hodL8yDFfBNHdDnG1FHE="), exotelBody},
		{"hmac sha256 hex, prefix", hmacOf("sha256", "hex", "v0="), headers("X-Sig", "v0=3b577f8df5d1c3e1787c4a4847976c7ab187c8c88510503096fd48a5b8523b2e"), exotelBody},
		{"hmac sha256 hex, upper case", hmacOf("sha256", "hex", ""), headers("X-Sig", "3B577F8DF5D1C3E1787C4A4847976C7AB187C8C88510503096FD48A5B8523B2E"), exotelBody},
		{"hmac sha256 base64", hmacOf("sha256", "base64", ""), headers("X-Sig", "O1d/jfXRw+F4fEpIR5dserGHyMiFEFAwlv1IpbhSOy4="), exotelBody},
		{"hmac sha256 base64, no padding", hmacOf("sha256", "base64", ""), headers("X-Sig", "O1d/jfXRw+F4fEpIR5dserGHyMiFEFAwlv1IpbhSOy4"), exotelBody},
		{"hmac sha512 hex", hmacOf("sha512", "hex", ""), headers("X-Sig", "b3e5d5c073cb685ab3f7390add93db7f17e998503f89691d34dfd4adccd3b48cdb66f510526ec7bd321f2291f1428ac8167b81a02bcd8d40023cb2c57a3d4fa3"), exotelBody},
		{"hmac sha512 base64", hmacOf("sha512", "base64", ""), headers("X-Sig", "s+XVwHPLaFqz9zkK3ZPbfxfpmFA/iWkdNN/UrczTtIzbZvUQUm7HvTIfIpHxQorIFnuBoCvNjUACPLLFej1Pow=="), exotelBody},
		{"exotel", schemas.Verify{Scheme: schemas.SchemeExotel, Secrets: secrets("s3cr3t-of-ours")}, headers("X-Exotel-Signature", "sha256=3b577f8df5d1c3e1787c4a4847976c7ab187c8c88510503096fd48a5b8523b2e"), exotelBody},
		{"meta", schemas.Verify{Scheme: schemas.SchemeMeta, Secrets: secrets("s3cr3t-of-ours")}, headers("X-Hub-Signature-256", "sha256=3b577f8df5d1c3e1787c4a4847976c7ab187c8c88510503096fd48a5b8523b2e"), exotelBody},
		{"mobtexting", schemas.Verify{Scheme: schemas.SchemeMobtexting, Secrets: secrets("180ebbb5-9b6f-4c51-a98a-000000000000")}, headers("Signature", "e6facf48ebbd7f93499b6326a3805c82a8f855bc802bf6fab7749dd244d06321"), mobtextingBody},
		{"google-rbm", schemas.Verify{Scheme: schemas.SchemeGoogleRBM, Secrets: secrets("client-token-1")}, headers("X-Goog-Signature", "uT/VitJLawOaA2QNvH9zYlnMUuhmsv3V/O8DmUDo6rmcI8ypSBcb1FPWreq5XMEyE/XX8B8sncCMnsljL63Uug=="), rbmBody},
		{"telesign, Authorization", telesign, headers("Authorization", "TSA 440813A2-1F7E-11E1-B760-000000000000:"+telesignProof), telesignBody},
		{"telesign, bare header", telesign, headers("X-TS-Authorization", telesignProof), telesignBody},
		{"telesign, bare header with TSA", telesign, headers("X-TS-Authorization", "TSA 440813A2-1F7E-11E1-B760-000000000000:"+telesignProof), telesignBody},
		{"telesign, one of two wrong", telesign, headers("Authorization", "Bearer x", "X-TS-Authorization", telesignProof), telesignBody},
		{"telesign, the other of two wrong", telesign, headers("Authorization", "TSA 440813A2-1F7E-11E1-B760-000000000000:"+telesignProof, "X-TS-Authorization", "AAAA"), telesignBody},
		{"telesign, both", telesign, headers("Authorization", "TSA 440813A2-1F7E-11E1-B760-000000000000:"+telesignProof, "X-TS-Authorization", telesignProof), telesignBody},
		{"telesign, bare Authorization", telesign, headers("Authorization", telesignProof), telesignBody},
		{"telesign, id without TSA", telesign, headers("X-TS-Authorization", "440813A2-1F7E-11E1-B760-000000000000:"+telesignProof), telesignBody},
		{"telesign, scheme and id in lower case, blanks", telesign, headers("Authorization", "tsa  440813a2-1f7e-11e1-b760-000000000000: "+telesignProof), telesignBody},
		{"telesign, no id configured", schemas.Verify{Scheme: schemas.SchemeTelesign, Secrets: secrets(telesignKey)}, headers("Authorization", "TSA whoever:"+telesignProof), telesignBody},
		{"standard-webhooks", standard, headers("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp", "1614265330", "Webhook-Signature", "v1a,x v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), `{"test": 2432232314}`},
		{"bearer", schemas.Verify{Scheme: schemas.SchemeBearer, Secrets: secrets("tok")}, headers("Authorization", "bearer tok"), "x"},
		{"basic", schemas.Verify{Scheme: schemas.SchemeBasic, User: "Aladdin", Secrets: secrets("open sesame")}, headers("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "x"}, // RFC 7617 §2
		{"header", schemas.Verify{Scheme: schemas.SchemeHeader, Header: "x-token", Secrets: secrets("tok")}, headers("X-Token", "tok"), ""},
		{"none", schemas.Verify{Scheme: schemas.SchemeNone}, headers(), "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if reason := verify(t, c.header, c.body, c.entry); reason != "" {
				t.Fatalf("refused: %s", reason)
			}
			if c.entry.Scheme == schemas.SchemeNone {
				return
			}
			rotated := c.entry
			rotated.Secrets = append(secrets(base64.StdEncoding.EncodeToString([]byte("another"))), c.entry.Secrets...)
			if reason := verify(t, c.header, c.body, rotated); reason != "" {
				t.Errorf("refused while rotating: %s", reason)
			}
			rotated.Secrets = rotated.Secrets[:1]
			if reason := verify(t, c.header, c.body, rotated); reason != signature.Mismatch {
				t.Errorf("with another secret: %q, want mismatch", reason)
			}
			if reason := verify(t, headers(), c.body, c.entry); reason != signature.Missing {
				t.Errorf("without the header: %q, want missing", reason)
			}
			switch c.entry.Scheme {
			case schemas.SchemeBearer, schemas.SchemeBasic, schemas.SchemeHeader:
				return // these say nothing about the body
			}
			if reason := verify(t, c.header, c.body+" ", c.entry); reason != signature.Mismatch && c.entry.Scheme != schemas.SchemeGoogleRBM {
				t.Errorf("with a changed body: %q, want mismatch", reason)
			}
			if reason := verify(t, c.header, "", c.entry); reason == "" {
				t.Error("an empty body passes")
			}
		})
	}
}

func verify(t *testing.T, h http.Header, body string, entries ...schemas.Verify) signature.Reason {
	t.Helper()
	v, err := signature.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify(&signature.Request{Header: h, Body: []byte(body), Time: now, Peer: netip.MustParseAddr("203.0.113.7")})
}

func TestRefused(t *testing.T) {
	bearer := schemas.Verify{Scheme: schemas.SchemeBearer, Secrets: secrets("tok")}
	telesign := schemas.Verify{Scheme: schemas.SchemeTelesign, CustomerID: "mine", Secrets: secrets(telesignKey)}
	standard := schemas.Verify{Scheme: schemas.SchemeStandardWebhooks, Secrets: secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}
	office := schemas.Verify{Scheme: schemas.SchemeIP, Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	elsewhere := schemas.Verify{Scheme: schemas.SchemeIP, Allow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
	for _, c := range []struct {
		name    string
		entries []schemas.Verify
		header  http.Header
		body    string
		want    signature.Reason
	}{
		{"other scheme in Authorization", []schemas.Verify{bearer}, headers("Authorization", "Basic tok"), "", signature.Malformed},
		{"no scheme in Authorization", []schemas.Verify{bearer}, headers("Authorization", "tok"), "", signature.Malformed},
		{"two Authorization headers", []schemas.Verify{bearer}, headers("Authorization", "Bearer tok", "Authorization", "Bearer no"), "", signature.Malformed},
		{"prefix of the token", []schemas.Verify{bearer}, headers("Authorization", "Bearer to"), "", signature.Mismatch},
		{"basic is no base64", []schemas.Verify{{Scheme: schemas.SchemeBasic, User: "u", Secrets: secrets("p")}}, headers("Authorization", "Basic !"), "", signature.Malformed},
		{"hex is no hex", []schemas.Verify{hmacOf("sha256", "hex", "")}, headers("X-Sig", "zz"), "", signature.Malformed},
		{"prefix missing", []schemas.Verify{hmacOf("sha256", "hex", "sha256=")}, headers("X-Sig", "3b577f8df5d1c3e1787c4a4847976c7ab187c8c88510503096fd48a5b8523b2e"), exotelBody, signature.Malformed},
		{"digest of another algorithm", []schemas.Verify{hmacOf("sha256", "hex", "")}, headers("X-Sig", "6872211dcda1a1d2fcc8315f04d1dd0e71b51471"), exotelBody, signature.Mismatch},
		{"empty digest", []schemas.Verify{hmacOf("sha256", "hex", "x")}, headers("X-Sig", "x"), exotelBody, signature.Mismatch},
		{"telesign of another customer", []schemas.Verify{telesign}, headers("Authorization", "TSA other:"+telesignProof), telesignBody, signature.Mismatch},
		{"rbm: not JSON", []schemas.Verify{{Scheme: schemas.SchemeGoogleRBM, Secrets: secrets("t")}}, headers("X-Goog-Signature", "AAAA"), "null", signature.Malformed},
		{"standard-webhooks, old", []schemas.Verify{standard}, headers("Webhook-Id", "i", "Webhook-Timestamp", "1614264000", "Webhook-Signature", "v1,AAAA"), "", signature.Expired},
		{"standard-webhooks, future", []schemas.Verify{standard}, headers("Webhook-Id", "i", "Webhook-Timestamp", "1614266000", "Webhook-Signature", "v1,AAAA"), "", signature.Expired},
		{"standard-webhooks, no time", []schemas.Verify{standard}, headers("Webhook-Id", "i", "Webhook-Timestamp", "x", "Webhook-Signature", "v1,AAAA"), "", signature.Malformed},
		{"ip holds", []schemas.Verify{office}, headers(), "", ""},
		{"ip doesn't hold", []schemas.Verify{elsewhere}, headers(), "", signature.Address},
		{"every entry must hold: both do", []schemas.Verify{bearer, office}, headers("Authorization", "Bearer tok"), "", ""},
		{"every entry must hold: the second doesn't", []schemas.Verify{bearer, elsewhere}, headers("Authorization", "Bearer tok"), "", signature.Address},
		{"every entry must hold: the first doesn't", []schemas.Verify{bearer, office}, headers(), "", signature.Missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := verify(t, c.header, c.body, c.entries...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestMappedPeer(t *testing.T) {
	v, err := signature.New([]schemas.Verify{{Scheme: schemas.SchemeIP, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	if err != nil {
		t.Fatal(err)
	}
	if reason := v.Verify(&signature.Request{Peer: netip.MustParseAddr("::ffff:10.1.2.3")}); reason != "" {
		t.Errorf("an IPv4 peer on an IPv6 socket is refused: %s", reason)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, entries := range map[string][]schemas.Verify{
		"no entry":               nil,
		"telesign, no base64":    {{Scheme: schemas.SchemeTelesign, Secrets: secrets("not base64!")}},
		"standard, no base64":    {{Scheme: schemas.SchemeStandardWebhooks, Secrets: secrets("whsec_!")}},
		"unknown scheme":         {{Scheme: "magic"}},
		"unknown hmac algorithm": {{Scheme: schemas.SchemeHMAC, Algorithm: "md5", Secrets: secrets("x")}},
	} {
		if _, err := signature.New(entries); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestSign: what Sign makes, Verify takes, and others' verifiers too.
func TestSign(t *testing.T) {
	for _, e := range []schemas.Verify{
		{Scheme: schemas.SchemeNone},
		{Scheme: schemas.SchemeBearer, Secrets: secrets("a")},
		{Scheme: schemas.SchemeBasic, User: "u", Secrets: secrets("a:b")},
		{Scheme: schemas.SchemeHeader, Header: "X-T", Secrets: secrets("a")},
		hmacOf("sha1", "hex", ""), hmacOf("sha512", "base64", "x="),
		{Scheme: schemas.SchemeTelesign, CustomerID: "c", Secrets: secrets(telesignKey)},
		{Scheme: schemas.SchemeExotel, Secrets: secrets("a")},
		{Scheme: schemas.SchemeMobtexting, Secrets: secrets("a")},
		{Scheme: schemas.SchemeMeta, Secrets: secrets("a")},
		{Scheme: schemas.SchemeGoogleRBM, Secrets: secrets("a")},
		{Scheme: schemas.SchemeStandardWebhooks, Secrets: secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")},
	} {
		h := http.Header{}
		if err := signature.Sign(e, h, []byte(rbmBody), "msg_1", now); err != nil {
			t.Errorf("%s: %v", e.Scheme, err)
			continue
		}
		if reason := verify(t, h, rbmBody, e); reason != "" {
			t.Errorf("%s: own signature refused: %s", e.Scheme, reason)
		}
		if e.Scheme == schemas.SchemeStandardWebhooks {
			wh, err := standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
			if err != nil {
				t.Fatal(err)
			}
			if err := wh.VerifyIgnoringTimestamp([]byte(rbmBody), h); err != nil {
				t.Errorf("the specification's library refuses our signature: %v", err)
			}
		}
	}
	if err := signature.Sign(schemas.Verify{Scheme: schemas.SchemeMeta}, http.Header{}, nil, "", now); err == nil {
		t.Error("signed without a secret")
	}
}

func BenchmarkVerifyHMAC(b *testing.B) {
	v, err := signature.New([]schemas.Verify{{Scheme: schemas.SchemeExotel, Secrets: secrets("a", "b")}})
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 1024)
	h := http.Header{}
	_ = signature.Sign(schemas.Verify{Scheme: schemas.SchemeExotel, Secrets: secrets("a")}, h, body, "", now)
	r := &signature.Request{Header: h, Body: body}
	b.ReportAllocs()
	for b.Loop() {
		if v.Verify(r) != "" {
			b.Fatal("refused")
		}
	}
}
