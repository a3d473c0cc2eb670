package schemas

// Variables lists every HEED_ variable that some stage knows. A stage refuses to start on a
// HEED_ name that is not in this list (a typing error) and passes another stage's by, so that
// one file can serve all four; a test holds the list against what the stages declare.
func Variables() []string {
	return []string{
		"HEED_ADMIN_LISTEN",
		"HEED_API_OPEN",
		"HEED_API_TOKENS_FILE",
		"HEED_CONSENT_URL",
		"HEED_DIRECTORY_FILE",
		"HEED_DISPATCH_ALLOW_NETS",
		"HEED_ENDPOINTS_FILE",
		"HEED_INGEST_SPOOL_AFTER",
		"HEED_INGEST_SPOOL_DIR",
		"HEED_KAFKA_BROKERS",
		"HEED_KAFKA_SASL_MECHANISM",
		"HEED_KAFKA_SASL_PASSWORD",
		"HEED_KAFKA_SASL_PASSWORD_FILE",
		"HEED_KAFKA_SASL_USER",
		"HEED_KAFKA_TLS",
		"HEED_KAFKA_TLS_CA_FILE",
		"HEED_KAFKA_TLS_CERT_FILE",
		"HEED_KAFKA_TLS_KEY_FILE",
		"HEED_LISTEN",
		"HEED_LOG_LEVEL",
		"HEED_NORMALIZER_WINDOW",
		"HEED_PSEUDONYM_KEY",
		"HEED_PSEUDONYM_KEY_FILE",
		"HEED_REDIS_URL",
		"HEED_REDIS_URL_FILE",
		"HEED_SUBSCRIPTIONS_FILE",
	}
}
