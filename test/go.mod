module github.com/heedhq/heed/test

go 1.26.0

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal

replace github.com/heedhq/heed/ingest => ../ingest

replace github.com/heedhq/heed/normalizer => ../normalizer

replace github.com/heedhq/heed/consent => ../consent

replace github.com/heedhq/heed/dispatcher => ../dispatcher

replace github.com/heedhq/heed/deploy => ../deploy

require (
	github.com/heedhq/heed/deploy v0.0.0-00010101000000-000000000000
	github.com/heedhq/heed/internal v0.0.0-00010101000000-000000000000
	github.com/heedhq/heed/schemas v0.0.0-00010101000000-000000000000
	github.com/twmb/franz-go v1.22.1
	github.com/twmb/franz-go/pkg/kmsg v1.14.0
)

require go.yaml.in/yaml/v3 v3.0.6 // indirect

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.30 // indirect
	github.com/segmentio/kafka-go v0.4.51 // indirect
	github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c // indirect
	github.com/xdg-go/pbkdf2 v1.0.0 // indirect
	github.com/xdg-go/scram v1.1.2 // indirect
	github.com/xdg-go/stringprep v1.0.4 // indirect
	go.opentelemetry.io/otel v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)
