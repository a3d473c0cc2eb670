module github.com/heedhq/heed/consent

go 1.26.0

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal
