module github.com/heedhq/heed/deploy

go 1.26.0

require github.com/heedhq/heed/schemas v0.0.0-00010101000000-000000000000

require github.com/heedhq/heed/internal v0.0.0-00010101000000-000000000000

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.opentelemetry.io/otel v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
)

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal

replace github.com/heedhq/heed/ingest => ../ingest

replace github.com/heedhq/heed/normalizer => ../normalizer

replace github.com/heedhq/heed/consent => ../consent

replace github.com/heedhq/heed/dispatcher => ../dispatcher
