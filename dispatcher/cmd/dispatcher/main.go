// Dispatcher delivers events to their subscribers over HTTP.
//
// The subscriptions stand in the YAML file of HEED_SUBSCRIPTIONS_FILE, as the CloudEvents
// Subscriptions API has them: who wants which events (types, source, filters in the dialects
// exact, prefix, suffix, all, any, not and sql), and the sink that they are sent to. Each
// subscription is a lane of its own: its place in the log, its connections, its limits.
//
// It promises at least once: an event is done when the subscriber answered 2xx, and until then
// stands in Kafka. The same event has the same webhook-id, ce-source and ce-id each time.
//
//	2xx                  taken
//	400, 413, 415, 422   the event is a dead letter at once
//	410                  the subscription is disabled until somebody resumes it
//	429, 502, 503, 504,  the endpoint is down: its lane is held, nothing is lost and nothing
//	no connection        counted; one probe after 1 s to 60 s, never before Retry-After
//	all else, timeouts   tried again within seconds (config.retry.tries), then after each of
//	                     config.retry.tiers, then a dead letter; five in a row without a
//	                     success hold the lane
//
// Redirects are not followed. Sinks must have public addresses, unless their network stands in
// HEED_DISPATCH_ALLOW_NETS.
//
// When Kafka is away, what is in flight ends and nothing new begins. When a subscriber is away,
// its lag grows and nobody else notices: heed_dispatch_lag_seconds, GET /v1/subscriptions/{id},
// or any Kafka tool on the group heed.lane.<subscription>. Lag that reaches the retention of the
// topic is lost: alert long before.
//
// SIGHUP reads the subscriptions file again. SIGTERM and SIGINT stop it: no attempt begins,
// those in flight have 10 s, then how far each lane got is committed. Attempts that were cut off
// are made again by whoever owns their partition next.
//
// The variables: dispatcher --help.
package main

import (
	"github.com/heedhq/heed/dispatcher"
	"github.com/heedhq/heed/internal/service"
)

func main() { service.Main(dispatcher.Stage()) }
