package translate

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/heedhq/heed/schemas"
)

// appendData appends data as JSON to b.
func appendData(b []byte, data *schemas.Data) []byte {
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		raw := data.ProviderData
		clean := *data
		clean.ProviderData, _ = json.Marshal(string(raw))
		_ = enc.Encode(&clean)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// cutMark stands in place of a provider_data that did not fit; it says where the whole of it is.
func cutMark(size int, env *Envelope) json.RawMessage {
	b := append([]byte(nil), `{"heed_cut":{"reason":"data over 64 KiB","bytes":`...)
	b = strconv.AppendInt(b, int64(size), 10)
	for _, member := range []struct{ name, value string }{{"raw_record", env.CallbackID}, {"raw_at", env.RawAt}} {
		if member.value != "" {
			text, _ := json.Marshal(member.value)
			b = append(b, `,"`+member.name+`":`...)
			b = append(b, text...)
		}
	}
	return append(b, "}}"...)
}
