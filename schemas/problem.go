package schemas

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Problem is an RFC 9457 problem document: how every API of Heed says no.
type Problem struct {
	Type   string `json:"type"`  // "about:blank" or a URN of ours
	Title  string `json:"title"` // the status in words
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"` // what to do, in the caller's words; nothing personal
	Code   string `json:"code,omitempty"`   // closed, for programs and metric labels
}

// WriteProblem answers with a problem document. retryAfter > 0 adds Retry-After, in whole
// seconds rounded up.
func WriteProblem(w http.ResponseWriter, status int, code, detail string, retryAfter time.Duration) {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((retryAfter+time.Second-1)/time.Second)))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code})
}
