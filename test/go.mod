module github.com/heedhq/heed/test

go 1.26.0

replace github.com/heedhq/heed/schemas => ../schemas

replace github.com/heedhq/heed/internal => ../internal

replace github.com/heedhq/heed/ingest => ../ingest

replace github.com/heedhq/heed/normalizer => ../normalizer

replace github.com/heedhq/heed/consent => ../consent

replace github.com/heedhq/heed/dispatcher => ../dispatcher

replace github.com/heedhq/heed/deploy => ../deploy
