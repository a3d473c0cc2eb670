// Package schemas is the contract between Heed's programs, and between Heed and everybody
// outside: event kinds and their data, topics, the endpoints and subscriptions files, the
// consent API's types, the form of a captured callback, and the pseudonym of a person.
//
// It refuses to know who speaks it: it imports nothing else of ours, opens no connection and
// reads no clock. Every stage and the operator's tool use it.
//
// Invariant: what two programs must agree on stands here once, and the agreement test holds
// constants, structs, JSON Schemas, examples and the topic table against each other.
package schemas
