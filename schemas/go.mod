module github.com/heedhq/heed/schemas

go 1.26.0

require (
	github.com/nyaruka/phonenumbers v1.8.1
	golang.org/x/text v0.43.0
	pgregory.net/rapid v1.3.0
)

require google.golang.org/protobuf v1.36.12 // indirect
