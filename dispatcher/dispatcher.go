// Package dispatcher delivers events to their subscribers over HTTP: each subscription is a lane
// of its own, with its own place in the log, budget, connections, rate and circuit.
//
// It reads the family topics and the retry tiers, and refuses to follow redirects, to connect to
// addresses that are not public unless the operator allows them, and to count an endpoint's
// outage against an event. Its users are the subscribers, and whoever runs them.
//
// Invariant: a lane's committed offset never passes an event that the subscriber has not taken,
// that does not stand in a retry tier and that is not a dead letter.
package dispatcher
