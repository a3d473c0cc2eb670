package schemas

import "time"

// Mark is a time mark: "everything that this ingest replica accepted before Time for raw
// partition Partition stands before me". Each replica appends one to every partition of
// heed.callbacks each second; the normalizer passes it on to every partition of heed.inbound
// once everything before it is acknowledged. The minimum over replicas and their partitions
// tells a reader how far it has got, also when nobody writes.
type Mark struct {
	Replica    string    `json:"replica"`           // id of the ingest process; a restart is a new replica
	Partition  int32     `json:"partition"`         // partition of heed.callbacks, 0-based
	Partitions int32     `json:"partitions"`        // how many heed.callbacks has
	Time       time.Time `json:"time"`              // never later than the oldest callback in flight or spooled
	Leaving    bool      `json:"leaving,omitempty"` // last mark: the replica stopped cleanly with nothing left
}
