package schemas

// Headers of a dead letter: the record's key, bytes and headers as they were, and these beside
// them. All values are text. A tool that writes a dead letter back to where it came from leaves
// them out and adds HeaderReplayedFrom.
const (
	HeaderDeadPrefix        = "dlq-"
	HeaderDeadStage         = "dlq-stage"           // which stage gave up
	HeaderDeadClass         = "dlq-error-class"     // closed list per stage
	HeaderDeadMessage       = "dlq-error-message"   // for people; nothing personal, at most 1 KiB
	HeaderDeadIndex         = "dlq-index"           // items of a batch callback that failed so, "0,3,7"; absent: the whole callback
	HeaderDeadTopic         = "dlq-topic"           // where the record stood
	HeaderDeadPartition     = "dlq-partition"       //
	HeaderDeadOffset        = "dlq-offset"          //
	HeaderDeadFirstFailedAt = "dlq-first-failed-at" // RFC 3339; kept when a replayed record fails again
	HeaderDeadVersion       = "dlq-service-version" // of the stage that gave up

	HeaderReplayedFrom = "replayed-from" // "topic/partition@offset" that a tool took the record from
)
