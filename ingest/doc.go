// Package ingest takes the callbacks that providers push, proves who sent them, and keeps them:
// on heed.callbacks (or its bulk lane) with acks=all, or fsynced in a spool when Kafka doesn't
// answer in time. Providers call it; the normalizer reads what it writes.
//
// It refuses to look at what a callback says: the bytes go on as they came, so that no parser's
// failure can cost a callback. It refuses whoever fails the endpoint's verification before
// anything is written.
//
// Invariant: a 2xx means that the callback is on every in-sync replica or on this machine's disk.
package ingest
