package kaleyra

// The words of Kaleyra's callbacks, as on the wire.
const (
	typeName   = "type"
	metaObject = "meta_object"
	extraInfo  = "extra_info"
)

// isVariable says whether s is a variable of Kaleyra's callback profiles that was left unreplaced.
func isVariable(s string) bool {
	switch s {
	case "<from>", "<name>", "<type>", "<created_at>", "<body>", "<message>", "<mime_type>", "<media_url>", "<reply_to>",
		"<wanumber>", "<mobile>", "<custom_response>", "<contacts>", "<location>", // incoming WhatsApp
		"<source>", "<recipient>", "<description>", "<status>", "<status_trace>", "<id>", "<kid>", "<keyword>",
		"<operator>", "<circle>", "<timestamp>", "<parts[n]>": // SMS
		return true
	}
	return false
}

// Types of RCS events (both generations).
const (
	typeUserMessage = "USER_MESSAGE"
	typeSubscribe   = "SUBSCRIBE"
	typeUnsubscribe = "UNSUBSCRIBE"
	typeComposing   = "COMPOSING"
)

// Codes of the envelope of the second generation that say more than the type.
const codeUnsubscribe = "4006"

// naiveZone is where Kaleyra's times without a zone are: the only documented ones come from the
// Indian pod, with an Indian operator beside them. Inferred; naive_zone of the endpoint outranks it.
const naiveZone = "Asia/Kolkata"

// rcsType says whether a type is one of RCS events alone.
func rcsType(s string) bool {
	switch fold(s) {
	case typeUserMessage, typeSubscribe, typeUnsubscribe, typeComposing, "SENT", "DELIVERED", "READ", "ERROR", "TTL_EXPIRATION_REVOKED":
		return true
	}
	return false
}
