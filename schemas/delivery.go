package schemas

import "time"

// DeliveryAttempt is the data of delivery.attempted: one attempt to hand events to a
// subscriber, as it ended. Nothing personal stands in it.
type DeliveryAttempt struct {
	Subscription string          `json:"subscription"`
	Event        AttemptedEvent  `json:"event"`
	Attempt      int             `json:"attempt"` // 1, 2, …; the same number again when the one before did not count
	Outcome      AttemptOutcome  `json:"outcome"`
	Reason       string          `json:"reason"`           // "status_503", "timeout", "dns", "tls", "connection_refused", …
	Status       int             `json:"status,omitempty"` // HTTP status; absent when there was no answer
	Next         string          `json:"next"`             // "done", "again", "hold", "park", "dead", "stop"
	StartedAt    time.Time       `json:"started_at"`
	Duration     float64         `json:"duration_seconds"`
	Position     AttemptPosition `json:"position"`
}

// AttemptedEvent names the event of an attempt.
type AttemptedEvent struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	Type   string `json:"type"`
}

// AttemptPosition is where the event's record stands.
type AttemptPosition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// AttemptOutcome is how an attempt ended.
type AttemptOutcome string

// The outcomes.
const (
	AttemptTaken   AttemptOutcome = "taken"   // 2xx
	AttemptRefused AttemptOutcome = "refused" // 400, 413, 415, 422: final for the event
	AttemptSuspect AttemptOutcome = "suspect" // the event or the endpoint has a fault
	AttemptDown    AttemptOutcome = "down"    // the endpoint takes nothing now
	AttemptGone    AttemptOutcome = "gone"    // 410: the subscription is disabled
)

// DeadReason is why the dispatcher gave an event up: the dlq-error-class of heed.dispatch.dead.
type DeadReason string

// The reasons.
const (
	DeadRefused   DeadReason = "refused"   // the subscriber said that it will never take it
	DeadExhausted DeadReason = "exhausted" // every try and tier failed while the endpoint took others
	DeadDecode    DeadReason = "decode"    // the record is no CloudEvent
	DeadRemoved   DeadReason = "removed"   // its subscription is gone while the event waited in a tier
)

// Headers of the dispatcher's own on records of the retry tiers and dead letters.
const (
	HeaderSubscription = "heed-subscription"
	HeaderAttempts     = "heed-attempts"     // counted so far
	HeaderOriginTopic  = "heed-origin-topic" // where the event stood first
	HeaderOriginPart   = "heed-origin-partition"
	HeaderOriginOffset = "heed-origin-offset"
	HeaderFirstFailed  = "heed-first-failed-at" // RFC 3339
	HeaderLastReason   = "heed-last-reason"
)

// SubscriptionSwitch is the data of subscription.switched, the record of heed.subscriptions: the
// latest of a subscription says whether it is delivered to.
type SubscriptionSwitch struct {
	Subscription string    `json:"subscription"`
	Paused       bool      `json:"paused"`             // by an operator, until resumed
	Disabled     string    `json:"disabled,omitempty"` // "gone": the endpoint answered 410; until resumed
	By           string    `json:"by"`                 // name of the API token, or "dispatcher"
	At           time.Time `json:"at"`
}

// SubscriptionStatus is how a subscription stands, as the dispatcher's API shows it.
type SubscriptionStatus struct {
	State  string     `json:"state"`            // live, catching_up, held, paused, disabled
	Reason string     `json:"reason,omitempty"` // held: the attempts' reason; disabled: "gone"
	Lag    int64      `json:"lag"`              // records not done, on this dispatcher's partitions
	Oldest *time.Time `json:"oldest,omitempty"` // of the oldest event that was not taken
}
