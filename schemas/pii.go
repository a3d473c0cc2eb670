package schemas

import (
	"fmt"
	"log/slog"
)

// Redacted is what a personal value shows when printed or logged.
const Redacted = "[redacted]"

// Address is a person's number, e-mail address or id. It marshals as itself, but cannot be
// printed or logged: convert it to string where the value itself is meant (design I8).
type Address string

// Text is what a person wrote; redacted like Address.
type Text string

// LogValue redacts.
func (Address) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Format redacts under every verb.
func (Address) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue redacts.
func (Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Format redacts under every verb.
func (Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue redacts: a JSON log handler marshals a struct, and the members inside would show.
func (User) LogValue() slog.Value { return slog.StringValue(Redacted) }

// LogValue redacts.
func (Content) LogValue() slog.Value { return slog.StringValue(Redacted) }

// LogValue redacts.
func (Data) LogValue() slog.Value { return slog.StringValue(Redacted) }

// LogValue redacts: a captured request holds whatever the provider said.
func (Capture) LogValue() slog.Value { return slog.StringValue(Redacted) }
