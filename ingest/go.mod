module github.com/heedhq/heed/ingest

go 1.26.0

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal

require (
	github.com/heedhq/heed/schemas v0.0.0-00010101000000-000000000000
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
)

require go.yaml.in/yaml/v3 v3.0.6 // indirect
