// Package jsonschema holds the JSON Schemas (2020-12) of every event's data, as files and
// embedded: one per kind and version, named as Kind.DataSchema says, and common.v1.json with
// what they share.
//
// There are two views. The files here are the producer's: closed, so that Heed's tests notice a
// member or a word that the contract does not name. The files in open/ are the consumer's: the
// same without "additionalProperties": false and with words as examples instead of enums,
// because a later version may add some (design I10). A test derives open/ from here.
//
// Only tests and tools use this package; no stage validates at run time.
package jsonschema

import "embed"

// Files are the schemas.
//
//go:embed *.json open/*.json
var Files embed.FS
