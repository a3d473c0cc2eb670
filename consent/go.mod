module github.com/heedhq/heed/consent

go 1.26.0

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal

require (
	github.com/goccy/go-yaml v1.19.2
	github.com/heedhq/heed/schemas v0.0.0-00010101000000-000000000000
	golang.org/x/text v0.43.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/google/go-cmp v0.7.0
	go.yaml.in/yaml/v3 v3.0.6 // indirect
)
