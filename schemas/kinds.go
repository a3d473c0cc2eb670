package schemas

import "strings"

// Kind names what an event says, without prefix and version: "message.received". The event's
// CloudEvents type is "io.heed." + kind + ".v1"; a breaking change is a new version.
type Kind string

// The kinds. A reader that meets one that it does not know passes it by (design I10).
const (
	CallbackReceived Kind = "callback.received" // raw record, data = the request as application/http

	MessageReceived      Kind = "message.received"
	MessageSent          Kind = "message.sent"
	MessageDelivered     Kind = "message.delivered"
	MessageRead          Kind = "message.read"
	MessageFailed        Kind = "message.failed"
	MessageStatusUnknown Kind = "message.status_unknown"

	UserOptedOut Kind = "user.opted_out"
	UserOptedIn  Kind = "user.opted_in"
	UserTyping   Kind = "user.typing"

	CallEnded Kind = "call.ended"

	ContactCreated Kind = "contact.created"
	ContactUpdated Kind = "contact.updated"
	TemplateStatus Kind = "template.status"
	AccountNotice  Kind = "account.notice"
	LinkClicked    Kind = "link.clicked"
	CampaignStatus Kind = "campaign.status"
	VerifyStatus   Kind = "verify.status"
	PaymentStatus  Kind = "payment.status"
	EmailComplaint Kind = "email.complaint"

	ConsentChanged         Kind = "consent.changed"
	ConsentConfirmationDue Kind = "consent.confirmation_due"
	ConsentReviewNeeded    Kind = "consent.review_needed"
	HelpRequested          Kind = "help.requested"

	DeliveryAttempted Kind = "delivery.attempted"

	// Plumbing: events that no subscriber is shown.
	TimeMark    Kind = "time.mark"    // data Mark
	ConsentFact Kind = "consent.fact" // data Fact

	SubscriptionSwitched Kind = "subscription.switched" // data SubscriptionSwitch
)

// Kinds lists every kind in the order of the constants above.
func Kinds() []Kind {
	return []Kind{
		CallbackReceived,
		MessageReceived, MessageSent, MessageDelivered, MessageRead, MessageFailed, MessageStatusUnknown,
		UserOptedOut, UserOptedIn, UserTyping,
		CallEnded,
		ContactCreated, ContactUpdated, TemplateStatus, AccountNotice, LinkClicked, CampaignStatus,
		VerifyStatus, PaymentStatus, EmailComplaint,
		ConsentChanged, ConsentConfirmationDue, ConsentReviewNeeded, HelpRequested,
		DeliveryAttempted,
		TimeMark, ConsentFact, SubscriptionSwitched,
	}
}

const (
	typePrefix  = "io.heed."
	typeVersion = ".v1"
)

// Type is the CloudEvents type of the kind.
func (k Kind) Type() string { return typePrefix + string(k) + typeVersion }

// KindOf is the kind of a CloudEvents type, and whether it is one of ours and of this version.
func KindOf(eventType string) (Kind, bool) {
	k, ok := strings.CutPrefix(eventType, typePrefix)
	if !ok {
		return "", false
	}
	k, ok = strings.CutSuffix(k, typeVersion)
	return Kind(k), ok
}

// DataSchema names the JSON Schema of the kind's data, which is also the schema's $id. A
// compatible change moves it (v1.1, …) and keeps the type.
func (k Kind) DataSchema() string { return schemaPrefix + string(k) + ".v1.json" }

const schemaPrefix = "https://github.com/heedhq/heed/blob/main/schemas/jsonschema/"

// Channel is the way by which a message travels.
type Channel string

// The channels. AnyChannel stands only in an endpoint's configuration.
const (
	SMS        Channel = "sms"
	RCS        Channel = "rcs"
	WhatsApp   Channel = "whatsapp"
	Viber      Channel = "viber"
	MMS        Channel = "mms"
	Email      Channel = "email"
	Voice      Channel = "voice"
	VMN        Channel = "vmn"
	AnyChannel Channel = "any"
)

// Channels lists the channels that an event may name.
func Channels() []Channel { return []Channel{SMS, RCS, WhatsApp, Viber, MMS, Email, Voice, VMN} }

// CloudEvents extension names in use (contract §3; all lower case, at most 20 characters as
// CloudEvents 1.0.2 §"Naming Conventions" asks).
const (
	ExtPartitionKey  = "partitionkey"
	ExtRecordedTime  = "recordedtime"
	ExtTraceparent   = "traceparent"
	ExtTracestate    = "tracestate"
	ExtCorrelationID = "correlationid" // the provider's message id
	ExtCausationID   = "causationid"   // id of the raw record, or of the event that caused this one
	ExtProvider      = "provider"
	ExtChannel       = "channel"
	ExtEndpoint      = "endpoint"
	ExtTenant        = "tenant"
	ExtBrand         = "brand"

	// On raw records only: the rest of the endpoint's facts, see Origin.
	ExtEndpointKind = "endpointkind"
	ExtAgent        = "agent"
	ExtCountry      = "defaultcountry"
	ExtZone         = "naivezone"
	ExtMapping      = "mapping"
	ExtPeer         = "peer" // pseudonym of the caller's network address
)
