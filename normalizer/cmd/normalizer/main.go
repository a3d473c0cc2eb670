// Command normalizer turns raw callbacks into CloudEvents.
//
// It reads heed.callbacks and heed.callbacks.bulk as one consumer group (heed.normalizer), lets
// the provider's adapter understand each callback, and writes the events to heed.inbound,
// heed.status, heed.calls and heed.account. What cannot be understood goes to
// heed.callbacks.dead, bytes and headers untouched, with the reason in dlq-* headers; look at it
// with "heed dead list" and write it back with "heed dead replay".
//
// It promises: a callback is committed only when everything that it gave is acknowledged with
// acks=all. After a crash or a rebalance an event may therefore stand twice, with the same source
// and id. One person's events stay in the order in which their callbacks were accepted.
//
// While Kafka is away it waits, says "stalled" once in the log and "flowing again" when it
// can go on; /readyz names Kafka. It needs no Redis and no file but the key's.
//
// It is configured by HEED_KAFKA_* and HEED_PSEUDONYM_KEY (or HEED_PSEUDONYM_KEY_FILE), which
// must be the key that ingest and consent have; --help prints all. Admin port 9081: /livez,
// /readyz, /metrics, /version, /debug/pprof/.
//
// Memory: events that wait for Kafka take at most 64 MiB for each of the two topics read, what is
// fetched 4 MiB for each partition owned; at the limit reading waits.
//
// SIGTERM or SIGINT: no more callbacks are read, what is in flight is acknowledged and committed
// (10 s), the group is left, telemetry flushed; status 0.
package main

import (
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/normalizer"
)

func main() { service.Main(normalizer.Stage()) }
