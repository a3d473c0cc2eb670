package telemetry

import semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

// SchemaURL is the version of OpenTelemetry's semantic conventions that all our names are of.
// The messaging conventions are still in development: to move on, change the import above, here
// and nowhere else.
const SchemaURL = semconv.SchemaURL

// Attribute names of spans, for use with the attribute package. What is ours alone begins with
// "heed.".
const (
	serviceName       = string(semconv.ServiceNameKey)
	serviceInstanceID = string(semconv.ServiceInstanceIDKey)
	serviceVersion    = string(semconv.ServiceVersionKey)

	ErrorType = string(semconv.ErrorTypeKey) // on failure only; from a closed list

	MessagingSystem        = string(semconv.MessagingSystemKey) // always "kafka"
	MessagingOperationName = string(semconv.MessagingOperationNameKey)
	MessagingOperationType = string(semconv.MessagingOperationTypeKey)
	MessagingDestination   = string(semconv.MessagingDestinationNameKey)
	MessagingGroup         = string(semconv.MessagingConsumerGroupNameKey)
	MessagingKafkaOffset   = string(semconv.MessagingKafkaOffsetKey)

	EventID     = string(semconv.CloudEventsEventIDKey)
	EventSource = string(semconv.CloudEventsEventSourceKey)
	EventType   = string(semconv.CloudEventsEventTypeKey)

	HTTPMethod          = string(semconv.HTTPRequestMethodKey)
	HTTPRequestBodySize = string(semconv.HTTPRequestBodySizeKey)
	HTTPStatusCode      = string(semconv.HTTPResponseStatusCodeKey)
)
