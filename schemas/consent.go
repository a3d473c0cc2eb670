package schemas

import (
	"encoding/json"
	"time"
)

// Act is which way a consent act goes.
type Act string

// The acts.
const (
	ActStop  Act = "stop"
	ActStart Act = "start"
)

// ConsentScope is how far an act reaches: all ⊃ brand ⊃ agent, crossed with channel and
// category. An empty member means "any": no brand and no agent is everybody; an agent's scope
// names its brand for people to read, but the agent alone identifies it.
type ConsentScope struct {
	Brand    string  `json:"brand,omitempty"`
	Agent    string  `json:"agent,omitempty"`
	Channel  Channel `json:"channel,omitempty"`
	Category string  `json:"category,omitempty"` // lower case
}

// Level is the narrowest member of the scope, as the check API names it.
func (s ConsentScope) Level() ScopeName {
	switch {
	case s.Category != "":
		return ScopeName{ScopeCategory, s.Category}
	case s.Agent != "":
		return ScopeName{ScopeAgent, s.Agent}
	case s.Brand != "":
		return ScopeName{ScopeBrand, s.Brand}
	case s.Channel != "":
		return ScopeName{ScopeChannel, string(s.Channel)}
	}
	return ScopeName{ScopeAll, "*"}
}

// ScopeName is a scope in two words.
type ScopeName struct {
	Level Scope  `json:"level"`
	Value string `json:"value"`
}

// Fact is the data of consent.fact, on heed.consent.facts and heed.consent.evidence: one act of
// one person. The facts are the truth about consent; every state is their fold. A fact is never
// changed: the same act read again gives the same bytes.
type Fact struct {
	Person string         `json:"person"` // pseudonym
	Act    Act            `json:"act"`
	Scopes []ConsentScope `json:"scopes"` // what the act reaches; the first is what it was aimed at
	At     time.Time      `json:"at"`     // effective time: what the merge compares
	// Sealed is the address, encrypted (consent/seal.go): Redis and the facts show no address,
	// a re-key can still be done, and erasing it leaves the suppression.
	Sealed string    `json:"sealed,omitempty"`
	Cause  FactCause `json:"cause"`
}

// FactCause says where a fact came from and by which rule.
type FactCause struct {
	Source     string    `json:"source"` // of the event that showed the act; "heed/consent" for an operator's
	ID         string    `json:"id"`     // of that event
	Kind       Kind      `json:"kind,omitempty"`
	By         string    `json:"by"`              // "user", "provider" or "operator"
	Actor      string    `json:"actor,omitempty"` // name of the operator's token
	Note       string    `json:"note,omitempty"`  // what the operator gave as evidence
	Provider   string    `json:"provider,omitempty"`
	Channel    Channel   `json:"channel,omitempty"`
	MessageID  string    `json:"message_id,omitempty"`
	Rule       string    `json:"rule,omitempty"`    // "R1"
	Keyword    string    `json:"keyword,omitempty"` // of the pack, never the user's text
	Ruleset    string    `json:"ruleset,omitempty"`
	Time       time.Time `json:"time"`        // as the event says
	ReceivedAt time.Time `json:"received_at"` // when ingest had it
	Flags      []string  `json:"flags,omitempty"`
}

// Change is the data of consent.changed: somebody's state went another way.
type Change struct {
	User    *User         `json:"user,omitempty"`
	Act     Act           `json:"act"`
	Scope   ScopeName     `json:"scope"` // what the act was aimed at
	Changes []ScopeChange `json:"changes"`
	Since   time.Time     `json:"since"` // effective time of the act
	Cause   FactCause     `json:"cause"`
}

// ScopeChange is one register that went from one state to another.
type ScopeChange struct {
	Scope ConsentScope `json:"scope"`
	From  ConsentState `json:"from"`
	To    ConsentState `json:"to"`
}

// ConsentState is what one register says.
type ConsentState string

// The states.
const (
	StateNone     ConsentState = "none"
	StateOptedOut ConsentState = "opted_out"
	StateOptedIn  ConsentState = "opted_in"
)

// ConfirmationDue is the data of consent.confirmation_due: the person may be sent one message
// that confirms the act. A confirmation of a STOP must go out before DueBy (47 CFR
// 64.1200(a)(12): within five minutes) or not at all, and must sell nothing.
type ConfirmationDue struct {
	User     *User     `json:"user,omitempty"`
	Business *Business `json:"business,omitempty"`
	Act      Act       `json:"act"`
	Scope    ScopeName `json:"scope"`
	DueBy    time.Time `json:"due_by"`
	Cause    FactCause `json:"cause"`
}

// HelpRequest is the data of help.requested: the person asked for help, which is answered
// whether or not they are subscribed and changes nothing.
type HelpRequest struct {
	User     *User     `json:"user,omitempty"`
	Business *Business `json:"business,omitempty"`
	Keyword  string    `json:"keyword,omitempty"`
	Cause    FactCause `json:"cause"`
}

// Review is the data of consent.review_needed: something looked like an opt-out and was not
// acted on, or could not be. Somebody should look at the event that it names.
type Review struct {
	User     *User        `json:"user,omitempty"`
	Business *Business    `json:"business,omitempty"`
	Reason   ReviewReason `json:"reason"`
	Cause    FactCause    `json:"cause"`
}

// ReviewReason says why somebody should look.
type ReviewReason string

// The review reasons.
const (
	ReviewWords    ReviewReason = "words"    // holds an opt-out word that no rule acted on
	ReviewNoUser   ReviewReason = "no_user"  // an act, but the provider masked or left out the person
	ReviewNoAgent  ReviewReason = "no_agent" // a START that names neither agent nor brand
	ReviewNoTime   ReviewReason = "no_time"  // a START of which nobody knows when
	ReviewEvidence ReviewReason = "evidence" // a receipt shows that the provider holds an opt-out
)

// CheckRequest is the body of POST /v1/consent/check: 1 to MaxChecks questions.
type CheckRequest struct {
	Checks []Check `json:"checks"`
}

// MaxChecks is how many questions one request may hold.
const MaxChecks = 1000

// Check asks "may this message be sent?". User is E.164 with +, an e-mail address, or
// "bsuid:…" / "opaque:…". Agent is who sends; without it every agent of the brand must be free.
type Check struct {
	ID       string  `json:"id,omitempty"`
	User     Address `json:"user"`
	Channel  Channel `json:"channel,omitempty"`
	Agent    string  `json:"agent,omitempty"`
	Brand    string  `json:"brand,omitempty"`
	Category string  `json:"category,omitempty"`
}

// CheckResponse answers a CheckRequest: one result a check, in order.
type CheckResponse struct {
	Results []CheckResult `json:"results"`
	// AsOf: every callback that was accepted before this time is in the answer. Absent when
	// the view could not say.
	AsOf *time.Time `json:"as_of,omitempty"`
}

// CheckResult is one answer. A caller that reads nothing but Decision is safe.
type CheckResult struct {
	ID        string      `json:"id,omitempty"`
	Decision  Decision    `json:"decision"`
	Reason    CheckReason `json:"reason"`
	Scope     *ScopeName  `json:"scope,omitempty"`
	Since     *time.Time  `json:"since,omitempty"`
	Retryable bool        `json:"retryable"`
}

// Decision is allow or deny.
type Decision string

// The decisions.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"
)

// CheckReason says why.
type CheckReason string

// The reasons. The four that are retryable say nothing about the person.
const (
	ReasonNoStop       CheckReason = "no_stop"
	ReasonOptedIn      CheckReason = "opted_in"
	ReasonOptedOut     CheckReason = "opted_out"
	ReasonRebuilding   CheckReason = "rebuilding"  // the view is not whole: retry
	ReasonStale        CheckReason = "stale"       // the view is too far behind: retry
	ReasonUnavailable  CheckReason = "unavailable" // the view did not answer: retry
	ReasonInvalidUser  CheckReason = "invalid_user"
	ReasonUnknownAgent CheckReason = "unknown_agent"
)

// Retryable says whether the same question may be answered otherwise soon without any new act
// of the person.
func (r CheckReason) Retryable() bool {
	return r == ReasonRebuilding || r == ReasonStale || r == ReasonUnavailable
}

// ConsentStatus answers GET /v1/consent/{user}: what the view holds of a person, and why.
type ConsentStatus struct {
	User      Address          `json:"user"`
	Person    string           `json:"person"`
	Registers []RegisterStatus `json:"registers"`
	AsOf      *time.Time       `json:"as_of,omitempty"`
}

// RegisterStatus is one register: the latest stop and the latest start for a scope.
type RegisterStatus struct {
	Scope ConsentScope `json:"scope"`
	State ConsentState `json:"state"`
	Stop  *time.Time   `json:"stop,omitempty"`
	Start *time.Time   `json:"start,omitempty"`
}

// ConsentHistory answers GET /v1/consent/{user}/history: every fact of the person, oldest first.
type ConsentHistory struct {
	User  Address `json:"user"`
	Facts []Fact  `json:"facts"`
}

// ConsentOrder is the body of POST /v1/consent: an operator's or a form's act for a person.
type ConsentOrder struct {
	User     Address    `json:"user"`
	Act      Act        `json:"act"`
	Brand    string     `json:"brand,omitempty"`
	Agent    string     `json:"agent,omitempty"`
	Channel  Channel    `json:"channel,omitempty"`
	Category string     `json:"category,omitempty"`
	At       *time.Time `json:"at,omitempty"` // when the person said so; now without it, never later than now
	// Evidence says how the person asked. A START needs it: nobody is opted in on an operator's
	// word alone.
	Evidence string `json:"evidence,omitempty"`
}

// ConsentReceipt answers POST /v1/consent: the fact as it was written.
type ConsentReceipt struct {
	Fact    Fact `json:"fact"`
	Applied bool `json:"applied"` // in the view already; false: written, and applied when the view is whole again
}

// ConsentExport is one line of GET /v1/consent/export.
type ConsentExport struct {
	User *User           `json:"user,omitempty"` // absent when the address was erased
	Fact json.RawMessage `json:"fact"`
}

// DirectoryFile is HEED_DIRECTORY_FILE: which agents speak for which brand. An agent that
// stands in none is a brand of its own.
type DirectoryFile struct {
	Brands []DirectoryBrand `json:"brands" yaml:"brands"`
}

// DirectoryBrand is a business entity with its agents.
type DirectoryBrand struct {
	ID     string           `json:"id" yaml:"id"`
	Agents []DirectoryAgent `json:"agents" yaml:"agents"`
}

// DirectoryAgent is an agent, sender id or number, as providers name it. An empty channel
// means any.
type DirectoryAgent struct {
	Channel Channel `json:"channel,omitempty" yaml:"channel"`
	ID      string  `json:"id" yaml:"id"`
}
