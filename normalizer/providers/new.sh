#!/usr/bin/env bash
# make provider NAME=acme: a folder that already passes the suite, to be filled with what the
# provider documents. The three lines outside the folder stay with people; the script names them.
set -euo pipefail
cd "$(dirname "$0")"

name=${1:-}
if ! [[ $name =~ ^[a-z][a-z0-9]*$ ]]; then
	echo "a provider's name is lower-case letters and digits (it is a Go package): $name" >&2
	exit 2
fi
if [ -e "$name" ]; then
	echo "normalizer/providers/$name exists already" >&2
	exit 2
fi
mkdir -p "$name/testdata/message"

cat >"$name/$name.go" <<EOF
// Package $name understands the callbacks of ${name^}. README.md says where each shape was read.
//
// It refuses to guess: a shape that nobody documents becomes an event that keeps everything and
// claims nothing. The normalizer and \`heed explain\` use it through adapter.Adapter.
//
// Invariant: what has no name of ours stays in provider_data.
package $name

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// New makes the adapter.
func New() adapter.Adapter { return ${name}{} }

type $name struct{}

func (${name}) Provider() string { return "$name" }

// Adapt reads a callback: one body is one event; a list of bodies is taken item by item.
func (${name}) Adapt(raw adapter.Raw) adapter.Result {
	view, failure := adapter.Read(raw)
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	var res adapter.Result
	bodies := view.Root().Items()
	if len(bodies) > adapter.MaxItems {
		return adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
	}
	for i, body := range bodies {
		item := message(raw, body)
		item.Index = i
		view.Finish(&item, body)
		res.Items = append(res.Items, item)
	}
	if len(bodies) == 0 {
		res.Ignored = "an empty list"
	}
	return res
}

// message reads a message of the user. (By invented members: put in the documented ones.)
func message(raw adapter.Raw, body adapter.Node) adapter.Item {
	item := adapter.Item{Kind: schemas.MessageReceived, Channel: raw.Origin.Channel}
	item.Data.User = body.TakeUser(raw, item.Channel, "from")
	item.Data.MessageID = body.Take("id")
	item.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	if body.Get("text").Says() {
		item.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(body.Get("text").Taken().Verbatim())}
	}
	return item
}
EOF

cat >"$name/${name}_test.go" <<EOF
package $name

import (
	"testing"

	"github.com/heedhq/heed/normalizer/providers/providertest"
)

func Test${name^}(t *testing.T) { providertest.Run(t, New()) }

func Fuzz${name^}(f *testing.F) { providertest.Fuzz(f, New()) }

func Benchmark${name^}(b *testing.B) { providertest.Bench(b, New()) }
EOF

printf '%s\r\n' 'POST / HTTP/1.1' 'Host: heed.example' 'Content-Type: application/json' '' >"$name/testdata/message/request.http"
printf '%s' '{"id":"m-1","from":"+14155550123","text":"STOP"}' >>"$name/testdata/message/request.http"

cat >"$name/README.md" <<EOF
# ${name^}

What it sends, by which channel, how it signs, how often it tries again; each with its source and the day on which it was read:
<https://${name}.example/docs>.

| Case | From |
|---|---|
| \`message\` | invented by \`make provider\`; put the provider's own sample in its place |
EOF

gofmt -l "$name"
(cd "$name" && go test -count=1 . -run 'Test' -update >/dev/null && go test -count=1 .)

cat <<EOF

normalizer/providers/$name is there and passes. What is left to you:

  1. normalizer/providers/providers.go: $name.New() in All
  2. ingest/sources.go: a row that says where its bodies name the person
  3. ENDPOINTS.md: its name in the list beside "provider:"
  4. testdata/<case>/request.http for every documented callback; make golden; read every want.json
  5. README.md: where each sample came from, and when
EOF
