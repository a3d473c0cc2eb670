// Package stream is Heed's road through Kafka: an idempotent group-commit Writer, consumer
// groups that hand partitions to workers, replay of partitions, offsets without membership,
// topics, and CloudEvents in binary mode.
//
// It is the only importer of segmentio/kafka-go, and carries bytes, not meaning: what a record
// says is its users' business (the four stages and the operator's tool). It refuses to create
// topics by accident, to acknowledge less than acks=all, and to commit what a worker has not
// declared done.
//
// Invariant: a record whose append was acknowledged is on every in-sync replica, and a
// committed offset never passes a record that is not done.
package stream

import (
	"bytes"
	"slices"
	"time"
)

// Header is one Kafka record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record as it stands on a topic. Records of a Batch are views on the fetch
// buffer: what outlives the batch must be copied.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is the first header of that name, nil if there is none.
func (r *Record) Header(key string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}

// Clone is a copy of the record that outlives its batch.
func (r *Record) Clone() Record {
	c := *r
	c.Key, c.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = bytes.Clone(c.Headers[i].Value)
	}
	return c
}

// Message is a record to be appended.
type Message struct {
	Topic   string
	To      Place     // zero: the partition that Key belongs to
	Time    time.Time // zero: now, by the writer
	Key     []byte
	Value   []byte // nil is a tombstone on a compacted topic
	Headers []Header

	content []byte // of Messages: key, value and headers as they stand in a record; Headers are empty then
}

// Memory is what Messages wrote the message in, for another one when this is acknowledged; nil of
// any other message.
func (m *Message) Memory() []byte { return m.content }

// Plain is the message with its Headers, also where Messages made it: for who looks into it.
func (m *Message) Plain() Message {
	plain := *m
	if plain.content = nil; m.content == nil {
		return plain
	}
	r := varintReader{b: m.content}
	r.bytes() // Key and Value are there already
	r.bytes()
	for range r.varint() {
		plain.Headers = append(plain.Headers, Header{string(r.bytes()), r.bytes()})
	}
	return plain
}

// Place says to which partition a message goes.
type Place struct{ partition int32 } // partition + 1; 0 = by key

// At names a partition.
func At(partition int32) Place { return Place{partition + 1} }

// Position is where an appended record stands.
type Position struct {
	Partition int32
	Offset    int64
}

// TopicPartition names a partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}
