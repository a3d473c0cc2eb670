package schemas

import "encoding/json"

// Data is the data of every event that the normalizer writes (contract §3). Which members a
// kind must have is said by its JSON Schema; a reader ignores members that it does not know.
type Data struct {
	User           *User           `json:"user,omitempty"`
	Business       *Business       `json:"business,omitempty"`
	MessageID      string          `json:"message_id,omitempty"`
	EventID        string          `json:"event_id,omitempty"`
	Content        *Content        `json:"content,omitempty"`
	ProviderAction ProviderAction  `json:"provider_action,omitempty"`
	Status         *Status         `json:"status,omitempty"`
	Consent        *ConsentAct     `json:"consent,omitempty"`
	Evidence       *Evidence       `json:"evidence,omitempty"`
	Call           *Call           `json:"call,omitempty"`
	TimeSource     TimeSource      `json:"time_source"`
	TimeFlag       TimeFlag        `json:"time_flag,omitempty"`
	Repaired       []string        `json:"repaired,omitempty"` // what the narrow JSON repair mended: "trailing_comma", "missing_brace", "masked_number", "invalid_utf8", "no_break_space"
	ProviderData   json.RawMessage `json:"provider_data,omitempty"`
}

// User is the end user, whichever member the provider puts it in.
type User struct {
	Address Address  `json:"address"` // canonical: E.164 with +, the e-mail address in lower case, or the opaque id
	Kind    UserKind `json:"kind"`
	Given   Address  `json:"given,omitempty"` // as the provider wrote it, where that differs
}

// UserKind says what an address is.
type UserKind string

// The kinds of user addresses.
const (
	UserPhone  UserKind = "phone"
	UserEmail  UserKind = "email"
	UserBSUID  UserKind = "bsuid" // business-scoped user id (WhatsApp)
	UserOpaque UserKind = "opaque"
)

// Business is the other side: agent, sender id or number, as given.
type Business struct {
	Address string `json:"address"`
}

// Content is what a message.received carries.
type Content struct {
	Type ContentType `json:"type"`
	// Text is the user's text, caption or label, unchanged.
	Text     Text      `json:"text,omitempty"`
	Subject  Text      `json:"subject,omitempty"`
	Postback string    `json:"postback,omitempty"` // what the business bound to a suggestion or button
	ReplyTo  string    `json:"reply_to,omitempty"` // provider's id of the message that is answered
	Media    []Media   `json:"media,omitempty"`
	Location *Location `json:"location,omitempty"`
	Emoji    string    `json:"emoji,omitempty"` // reaction

	// Detail is the provider's own object for contacts, order, flow and unsupported content.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// ContentType is the closed list of contract §3.
type ContentType string

// The content types.
const (
	ContentText             ContentType = "text"
	ContentMedia            ContentType = "media"
	ContentLocation         ContentType = "location"
	ContentSuggestionReply  ContentType = "suggestion_reply"
	ContentSuggestionAction ContentType = "suggestion_action"
	ContentSticker          ContentType = "sticker"
	ContentContacts         ContentType = "contacts"
	ContentReaction         ContentType = "reaction"
	ContentOrder            ContentType = "order"
	ContentFlow             ContentType = "flow"
	ContentUnsupported      ContentType = "unsupported"
)

// Media is one attachment; most providers' links expire.
type Media struct {
	URL          string `json:"url,omitempty"`
	ID           string `json:"id,omitempty"`
	MIMEType     string `json:"mime_type,omitempty"`
	Name         string `json:"name,omitempty"`
	Size         int64  `json:"size,omitempty"` // bytes
	SHA256       string `json:"sha256,omitempty"`
	ThumbnailURL string `json:"thumbnail_url,omitempty"`
}

// Location is where the user said to be; degrees, as the provider's digits.
type Location struct {
	Latitude  json.Number `json:"latitude"`
	Longitude json.Number `json:"longitude"`
	Name      Text        `json:"name,omitempty"`
	Address   Text        `json:"address,omitempty"`
}

// ProviderAction is a keyword action that the provider reported. STOP is believed; "not STOP"
// never is: consent reads the text all the same.
type ProviderAction string

// The provider actions.
const (
	ActionStart   ProviderAction = "start"
	ActionStop    ProviderAction = "stop"
	ActionHelp    ProviderAction = "help"
	ActionGeneric ProviderAction = "generic"
)

// Status is what a receipt or a call says.
type Status struct {
	Code        string  `json:"code,omitempty"` // the provider's, as a string
	Description string  `json:"description,omitempty"`
	Meaning     Meaning `json:"meaning,omitempty"`
}

// Meaning is our own reading of a provider's status code.
type Meaning string

// The meanings; a code that no table names has MeaningUnknown.
const (
	MeaningAccepted      Meaning = "accepted"
	MeaningSent          Meaning = "sent"
	MeaningDelivered     Meaning = "delivered"
	MeaningRead          Meaning = "read"
	MeaningUnreachable   Meaning = "unreachable"
	MeaningBlocked       Meaning = "blocked"
	MeaningOptedOut      Meaning = "opted_out"
	MeaningSpam          Meaning = "spam"
	MeaningExpired       Meaning = "expired"
	MeaningNoCredit      Meaning = "no_credit"
	MeaningInvalidNumber Meaning = "invalid_number"
	MeaningInvalidSender Meaning = "invalid_sender"
	MeaningTemplate      Meaning = "template"
	MeaningUnsupported   Meaning = "unsupported"
	MeaningRateLimited   Meaning = "rate_limited"
	MeaningProviderFault Meaning = "provider_fault"
	MeaningNetworkFault  Meaning = "network_fault"
	MeaningRejected      Meaning = "rejected"
	MeaningFailed        Meaning = "failed"
	MeaningDeleted       Meaning = "deleted"
	MeaningAnswered      Meaning = "answered"
	MeaningBusy          Meaning = "busy"
	MeaningNoAnswer      Meaning = "no_answer"
	MeaningCanceled      Meaning = "canceled"
	MeaningUnknown       Meaning = "unknown"
)

// ConsentAct is the data of user.opted_out and user.opted_in: what the provider said.
type ConsentAct struct {
	Intent Intent `json:"intent"`
	Scope  Scope  `json:"scope"`
	Value  string `json:"value"` // as the provider named it, "*" where it named none
}

// Intent is which way an act goes.
type Intent string

// The intents.
const (
	OptOut Intent = "opt_out"
	OptIn  Intent = "opt_in"
)

// Scope is how far a provider's opt-out or opt-in reaches.
type Scope string

// The scopes (facts: all ⊃ brand ⊃ agent, crossed with channel and category).
const (
	ScopeAgent    Scope = "agent"
	ScopeBrand    Scope = "brand"
	ScopeChannel  Scope = "channel"
	ScopeCategory Scope = "category"
	ScopeAll      Scope = "all"
)

// Evidence marks a receipt that shows the provider holds an opt-out of this person: proof for
// people and for consent's review, never the user's own act.
type Evidence struct {
	OptOut bool   `json:"opt_out"`
	Code   string `json:"code"`
}

// Call is what call.ended says beside its status.
type Call struct {
	DurationSeconds json.Number `json:"duration_seconds,omitempty"`
	RecordingURL    string      `json:"recording_url,omitempty"`
	StartedAt       string      `json:"started_at,omitempty"` // RFC 3339
	EndedAt         string      `json:"ended_at,omitempty"`   // RFC 3339
	Direction       string      `json:"direction,omitempty"`  // "inbound" or "outbound"
	Bridge          string      `json:"bridge,omitempty"`     // the business number that joined the two
}

// TimeSource says whose time the event's `time` is.
type TimeSource string

// The time sources; with TimeReceived `time` is the callback's received_at.
const (
	TimeProvider TimeSource = "provider"
	TimeReceived TimeSource = "received"
)

// TimeFlag marks a provider's time that should not be trusted as it stands.
type TimeFlag string

// The time flags.
const (
	TimeFuture     TimeFlag = "future"     // later than the callback's receipt
	TimeNaive      TimeFlag = "naive"      // named no zone; the endpoint's naive_zone was applied
	TimeOld        TimeFlag = "old"        // more than 30 days before receipt
	TimeUnreadable TimeFlag = "unreadable" // present, but no time that we can read; received_at was taken
)
