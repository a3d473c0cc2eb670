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
	github.com/twmb/franz-go v1.22.1
	github.com/twmb/franz-go/pkg/kmsg v1.14.0
)

require (
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/pierrec/lz4/v4 v4.1.30 // indirect
)
