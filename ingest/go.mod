module github.com/heedhq/heed/ingest

go 1.26.0

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal

require (
	github.com/heedhq/heed/schemas v0.0.0-00010101000000-000000000000
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
)

require github.com/cespare/xxhash/v2 v2.3.0 // indirect

require (
	github.com/google/go-cmp v0.7.0
	github.com/heedhq/heed/internal v0.0.0-00010101000000-000000000000
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/metric v1.47.0
	go.opentelemetry.io/otel/trace v1.47.0
	go.yaml.in/yaml/v3 v3.0.6 // indirect
)
