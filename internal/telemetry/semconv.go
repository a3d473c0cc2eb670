package telemetry

import semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

// SchemaURL is the version of OpenTelemetry's semantic conventions that all our names are of.
// The messaging conventions are still in development: to move on, change the import above and
// nothing else.
const SchemaURL = semconv.SchemaURL

// Attribute names of spans and metrics, for use with the attribute package.
const (
	ServiceName       = string(semconv.ServiceNameKey)
	ServiceInstanceID = string(semconv.ServiceInstanceIDKey)
	ServiceVersion    = string(semconv.ServiceVersionKey)

	ErrorType = string(semconv.ErrorTypeKey) // on failure only; from a closed list

	MessagingSystem        = string(semconv.MessagingSystemKey) // always "kafka"
	MessagingOperationName = string(semconv.MessagingOperationNameKey)
	MessagingOperationType = string(semconv.MessagingOperationTypeKey)
	MessagingDestination   = string(semconv.MessagingDestinationNameKey)
	MessagingPartition     = string(semconv.MessagingDestinationPartitionIDKey)
	MessagingGroup         = string(semconv.MessagingConsumerGroupNameKey)
	MessagingBatchCount    = string(semconv.MessagingBatchMessageCountKey)
	MessagingKafkaOffset   = string(semconv.MessagingKafkaOffsetKey)
	MessagingKafkaKey      = string(semconv.MessagingKafkaMessageKeyKey) // a pseudonym, never an address

	EventID      = string(semconv.CloudEventsEventIDKey)
	EventSource  = string(semconv.CloudEventsEventSourceKey)
	EventType    = string(semconv.CloudEventsEventTypeKey)
	EventSubject = string(semconv.CloudEventsEventSubjectKey)

	HTTPRoute      = string(semconv.HTTPRouteKey)
	HTTPMethod     = string(semconv.HTTPRequestMethodKey)
	HTTPStatusCode = string(semconv.HTTPResponseStatusCodeKey)
	ServerAddress  = string(semconv.ServerAddressKey)
)
