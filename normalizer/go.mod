module github.com/heedhq/heed/normalizer

go 1.26.0

require github.com/heedhq/heed/schemas v0.0.0-00010101000000-000000000000

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal
