package schemas

import "time"

// The topics (design §4).
const (
	TopicCallbacks     = "heed.callbacks"
	TopicCallbacksBulk = "heed.callbacks.bulk"
	TopicCallbacksDead = "heed.callbacks.dead"

	TopicInbound = "heed.inbound"
	TopicStatus  = "heed.status"
	TopicCalls   = "heed.calls"
	TopicAccount = "heed.account"

	TopicConsent         = "heed.consent"
	TopicConsentFacts    = "heed.consent.facts"
	TopicConsentEvidence = "heed.consent.evidence"

	TopicSubscriptions    = "heed.subscriptions"
	TopicDispatchRetry30s = "heed.dispatch.retry.30s"
	TopicDispatchRetry2m  = "heed.dispatch.retry.2m"
	TopicDispatchRetry10m = "heed.dispatch.retry.10m"
	TopicDispatchRetry1h  = "heed.dispatch.retry.1h"
	TopicDispatchRetry6h  = "heed.dispatch.retry.6h"
	TopicDispatchDead     = "heed.dispatch.dead"
	TopicDispatchAttempts = "heed.dispatch.attempts"
)

// Stage names a program that writes or reads topics.
type Stage string

// The stages, and people with the operator's tool.
const (
	StageIngest     Stage = "ingest"
	StageNormalizer Stage = "normalizer"
	StageConsent    Stage = "consent"
	StageDispatcher Stage = "dispatcher"
	StageServices   Stage = "services" // readers outside
	StageTool       Stage = "heed"
)

// Cleanup is Kafka's cleanup.policy.
type Cleanup string

// The cleanup policies in use. Never both: that would forget opt-outs.
const (
	CleanupDelete  Cleanup = "delete"
	CleanupCompact Cleanup = "compact"
)

// Topic is one row of the topic table.
type Topic struct {
	Name       string
	Key        string // what the record key is, in words
	Partitions int    // default number of partitions
	Cleanup    Cleanup
	Retention  time.Duration // 0 with compact, or "for ever"
	Kinds      []Kind        // kinds that stand on it
	Writers    []Stage
	Readers    []Stage
	// MaxMessage is the largest record in bytes, where that is more than Kafka's default of 1 MiB.
	MaxMessage int
	// SamePartitionsAs names a topic that must have as many partitions as this one.
	SamePartitionsAs string
}

const day = 24 * time.Hour

// The largest raw record is a body of 1 MiB with its request line and headers. Its dead letter
// has the headers of a dead letter besides.
const (
	maxRaw  = 2 << 20
	maxDead = maxRaw + 64<<10
)

// DefaultPartitions divides by 1, 2, 3, 4, 6 and 12, so replicas share evenly.
const DefaultPartitions = 12

// Topics is the topic table: what `heed topics apply` creates, and what AsyncAPI documents.
func Topics() []Topic {
	received := []Kind{MessageReceived, UserOptedOut, UserOptedIn, UserTyping, TimeMark}
	statuses := []Kind{MessageSent, MessageDelivered, MessageRead, MessageFailed, MessageStatusUnknown}
	account := []Kind{ContactCreated, ContactUpdated, TemplateStatus, AccountNotice, LinkClicked, CampaignStatus, VerifyStatus, PaymentStatus, EmailComplaint}
	changes := []Kind{ConsentChanged, ConsentConfirmationDue, ConsentReviewNeeded, HelpRequested}
	var deliverable []Kind
	for _, kinds := range [][]Kind{received[:4], statuses, {CallEnded}, account, changes} {
		deliverable = append(deliverable, kinds...)
	}
	table := []Topic{
		{Name: TopicCallbacks, Key: "user pseudonym or body hash", Partitions: DefaultPartitions, Retention: 7 * day, MaxMessage: maxRaw, Kinds: []Kind{CallbackReceived, TimeMark}, Writers: []Stage{StageIngest, StageTool}, Readers: []Stage{StageNormalizer, StageTool}},
		{Name: TopicCallbacksBulk, Key: "user pseudonym or body hash", Partitions: DefaultPartitions, Retention: 3 * day, MaxMessage: maxRaw, Kinds: []Kind{CallbackReceived}, Writers: []Stage{StageIngest, StageTool}, Readers: []Stage{StageNormalizer, StageTool}},
		{Name: TopicCallbacksDead, Key: "original", Partitions: DefaultPartitions, Retention: 30 * day, MaxMessage: maxDead, Kinds: []Kind{CallbackReceived}, Writers: []Stage{StageNormalizer}, Readers: []Stage{StageTool}},
		{Name: TopicInbound, Key: "user pseudonym", Partitions: DefaultPartitions, Retention: 7 * day, Kinds: received, Writers: []Stage{StageNormalizer}, Readers: []Stage{StageConsent, StageDispatcher, StageServices}},
		{Name: TopicStatus, Key: "user pseudonym", Partitions: DefaultPartitions, Retention: 3 * day, Kinds: statuses, Writers: []Stage{StageNormalizer}, Readers: []Stage{StageConsent, StageDispatcher, StageServices}},
		{Name: TopicCalls, Key: "user pseudonym", Partitions: DefaultPartitions, Retention: 7 * day, Kinds: []Kind{CallEnded}, Writers: []Stage{StageNormalizer}, Readers: []Stage{StageDispatcher, StageServices}},
		{Name: TopicAccount, Key: "user pseudonym or account", Partitions: DefaultPartitions, Retention: 7 * day, Kinds: account, Writers: []Stage{StageNormalizer}, Readers: []Stage{StageDispatcher, StageServices}},
		{Name: TopicConsent, Key: "user pseudonym", Partitions: DefaultPartitions, Retention: 30 * day, Kinds: changes, Writers: []Stage{StageConsent}, Readers: []Stage{StageDispatcher, StageServices}},
		{Name: TopicConsentFacts, Key: "user pseudonym + fact; partitioned by the pseudonym alone", Partitions: DefaultPartitions, Cleanup: CleanupCompact, Kinds: []Kind{ConsentFact}, Writers: []Stage{StageConsent}, Readers: []Stage{StageConsent}, SamePartitionsAs: TopicInbound},
		{Name: TopicConsentEvidence, Key: "user pseudonym", Partitions: DefaultPartitions, Retention: 3650 * day, Kinds: []Kind{ConsentFact}, Writers: []Stage{StageConsent}, Readers: []Stage{StageTool}},
		{Name: TopicSubscriptions, Key: "subscription id", Partitions: 1, Cleanup: CleanupCompact, Kinds: []Kind{SubscriptionSwitched}, Writers: []Stage{StageDispatcher}, Readers: []Stage{StageDispatcher}},
		{Name: TopicDispatchDead, Key: "original", Partitions: DefaultPartitions, Retention: 30 * day, Kinds: deliverable, Writers: []Stage{StageDispatcher}, Readers: []Stage{StageTool}},
		{Name: TopicDispatchAttempts, Key: "subscription id", Partitions: DefaultPartitions, Retention: 3 * day, Kinds: []Kind{DeliveryAttempted}, Writers: []Stage{StageDispatcher}, Readers: []Stage{StageTool, StageServices}},
	}
	// Never under three days: what is parked must outlive a dispatcher that is away for a weekend.
	for _, tier := range RetryTiers() {
		table = append(table, Topic{Name: tier.Topic, Key: "original", Partitions: DefaultPartitions, Retention: max(3*tier.Delay, 3*day), Kinds: deliverable, Writers: []Stage{StageDispatcher, StageTool}, Readers: []Stage{StageDispatcher}})
	}
	for i := range table {
		if table[i].Cleanup == "" {
			table[i].Cleanup = CleanupDelete
		}
	}
	return table
}

// RetryTier is one of the dispatcher's retry topics: every record in it waits equally long, so
// the head is always due first.
type RetryTier struct {
	Topic string
	Delay time.Duration
}

// RetryTiers lists the tiers, shortest first.
func RetryTiers() []RetryTier {
	return []RetryTier{
		{TopicDispatchRetry30s, 30 * time.Second},
		{TopicDispatchRetry2m, 2 * time.Minute},
		{TopicDispatchRetry10m, 10 * time.Minute},
		{TopicDispatchRetry1h, time.Hour},
		{TopicDispatchRetry6h, 6 * time.Hour},
	}
}

// TopicOf is the family topic that events of a kind go to; "" for plumbing and unknown kinds.
func TopicOf(k Kind) string {
	switch k {
	case CallbackReceived:
		return TopicCallbacks
	case MessageReceived, UserOptedOut, UserOptedIn, UserTyping:
		return TopicInbound
	case MessageSent, MessageDelivered, MessageRead, MessageFailed, MessageStatusUnknown:
		return TopicStatus
	case CallEnded:
		return TopicCalls
	case ContactCreated, ContactUpdated, TemplateStatus, AccountNotice, LinkClicked, CampaignStatus, VerifyStatus, PaymentStatus, EmailComplaint:
		return TopicAccount
	case ConsentChanged, ConsentConfirmationDue, ConsentReviewNeeded, HelpRequested:
		return TopicConsent
	case ConsentFact:
		return TopicConsentFacts
	case SubscriptionSwitched:
		return TopicSubscriptions
	case DeliveryAttempted:
		return TopicDispatchAttempts
	}
	return ""
}
