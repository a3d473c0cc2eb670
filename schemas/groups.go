package schemas

// Consumer groups, by which every Kafka tool, `heed lag` and autoscalers see how far a stage is.
const (
	GroupNormalizer  = "heed.normalizer"
	GroupConsent     = "heed.consent"
	GroupRetryTiers  = "heed.dispatcher.retry"
	GroupLanePrefix  = "heed.lane." // + subscription id: a group without members that holds a lane's offsets
	GroupDispatchers = "heed.dispatcher"
)

// GroupReads lists the topics that a group's lag is looked at on. A lane reads every delivered
// topic; heed.dispatcher only decides who owns which partition, and commits nothing.
func GroupReads(group string) []string {
	switch group {
	case GroupNormalizer:
		return []string{TopicCallbacks, TopicCallbacksBulk}
	case GroupConsent:
		return []string{TopicInbound, TopicStatus}
	case GroupRetryTiers:
		var topics []string
		for _, tier := range RetryTiers() {
			topics = append(topics, tier.Topic)
		}
		return topics
	case GroupDispatchers:
		return nil
	}
	return DeliveredTopics()
}
