package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createpartitions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/incrementalalterconfigs"
	meta "github.com/segmentio/kafka-go/protocol/metadata"
)

// TopicSpec says how a topic should be.
type TopicSpec struct {
	Name        string
	Partitions  int
	Replication int // 0: the broker's default
	Config      map[string]string
}

// CreateTopics creates the topics that do not exist; it leaves those that do as they are.
func (c *Client) CreateTopics(ctx context.Context, topics ...TopicSpec) error {
	req := &createtopics.Request{TimeoutMs: int32(adminTimeout.Milliseconds())}
	for _, t := range topics {
		one := createtopics.RequestTopic{Name: t.Name, NumPartitions: int32(t.Partitions), ReplicationFactor: int16(t.Replication)}
		if t.Replication == 0 {
			one.ReplicationFactor = -1
		}
		for _, name := range slices.Sorted(maps.Keys(t.Config)) {
			one.Configs = append(one.Configs, createtopics.RequestConfig{Name: name, Value: t.Config[name]})
		}
		req.Topics = append(req.Topics, one)
	}
	res, err := atController[*createtopics.Response](ctx, c, req, func(r *createtopics.Response) error {
		for _, t := range r.Topics {
			if kafka.Error(t.ErrorCode) == kafka.NotController {
				return kafka.NotController
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	var wrong []error
	for _, t := range res.Topics {
		if t.ErrorCode != 0 && kafka.Error(t.ErrorCode) != kafka.TopicAlreadyExists {
			wrong = append(wrong, fmt.Errorf("creating topic %s: %w: %s", t.Name, kafka.Error(t.ErrorCode), t.ErrorMessage))
		}
	}
	return errors.Join(wrong...)
}

// DescribeTopics reads how topics are; one that does not exist is absent. Config has what was
// set for the topic itself.
func (c *Client) DescribeTopics(ctx context.Context, names ...string) (map[string]TopicSpec, error) {
	specs := map[string]TopicSpec{}
	if len(names) == 0 {
		return specs, nil
	}
	res, err := atController[*meta.Response](ctx, c, &meta.Request{TopicNames: names}, nil)
	if err != nil {
		return nil, fmt.Errorf("describing topics: %w", err)
	}
	req := &describeconfigs.Request{}
	for _, t := range res.Topics {
		switch err := kafka.Error(t.ErrorCode); err {
		case 0, kafka.LeaderNotAvailable:
		case kafka.UnknownTopicOrPartition:
			continue
		default:
			return nil, fmt.Errorf("describing topic %s: %w", t.Name, err)
		}
		spec := TopicSpec{Name: t.Name, Partitions: len(t.Partitions), Config: map[string]string{}}
		if len(t.Partitions) > 0 {
			spec.Replication = len(t.Partitions[0].ReplicaNodes)
		}
		specs[t.Name] = spec
		req.Resources = append(req.Resources, describeconfigs.RequestResource{ResourceType: int8(kafka.ResourceTypeTopic), ResourceName: t.Name})
	}
	if len(specs) == 0 {
		return specs, nil
	}
	configs, err := atController[*describeconfigs.Response](ctx, c, req, nil)
	if err != nil {
		return nil, fmt.Errorf("describing topics: %w", err)
	}
	for _, r := range configs.Resources {
		if r.ErrorCode != 0 {
			return nil, fmt.Errorf("describing topic %s: %w: %s", r.ResourceName, kafka.Error(r.ErrorCode), r.ErrorMessage)
		}
		for _, e := range r.ConfigEntries {
			if e.ConfigSource == topicSource {
				specs[r.ResourceName].Config[e.ConfigName] = e.ConfigValue
			}
		}
	}
	return specs, nil
}

// topicSource marks a configuration entry as set on the topic (DYNAMIC_TOPIC_CONFIG).
const topicSource = 1

// AlterTopicConfig sets configuration entries of a topic; AddPartitions grows it.
func (c *Client) AlterTopicConfig(ctx context.Context, topic string, config map[string]string) error {
	if len(config) == 0 {
		return nil
	}
	resource := incrementalalterconfigs.RequestResource{ResourceType: int8(kafka.ResourceTypeTopic), ResourceName: topic}
	for _, name := range slices.Sorted(maps.Keys(config)) {
		resource.Configs = append(resource.Configs, incrementalalterconfigs.RequestConfig{Name: name, Value: config[name], ConfigOperation: int8(kafka.ConfigOperationSet)})
	}
	res, err := atController[*incrementalalterconfigs.Response](ctx, c, &incrementalalterconfigs.Request{Resources: []incrementalalterconfigs.RequestResource{resource}}, nil)
	if err != nil {
		return fmt.Errorf("configuring topic %s: %w", topic, err)
	}
	for _, r := range res.Responses {
		if r.ErrorCode != 0 {
			return fmt.Errorf("configuring topic %s: %w: %s", topic, kafka.Error(r.ErrorCode), r.ErrorMessage)
		}
	}
	return nil
}

// AddPartitions grows a topic to total partitions. Keys move with it: nobody should do that to
// a topic whose order matters without draining it first.
func (c *Client) AddPartitions(ctx context.Context, topic string, total int) error {
	req := &createpartitions.Request{
		Topics:    []createpartitions.RequestTopic{{Name: topic, Count: int32(total)}},
		TimeoutMs: int32(adminTimeout.Milliseconds()),
	}
	res, err := atController[*createpartitions.Response](ctx, c, req, func(r *createpartitions.Response) error {
		for _, t := range r.Results {
			if kafka.Error(t.ErrorCode) == kafka.NotController {
				return kafka.NotController
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("growing topic %s: %w", topic, err)
	}
	for _, t := range res.Results {
		if t.ErrorCode != 0 {
			return fmt.Errorf("growing topic %s: %w: %s", topic, kafka.Error(t.ErrorCode), t.ErrorMessage)
		}
	}
	return nil
}

// atController sends an admin request to the controller, again when it has moved or does not
// answer. These requests may be repeated: what is there is left or set alike.
func atController[T protocol.Message](ctx context.Context, c *Client, m protocol.Message, wrong func(T) error) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*adminTimeout)
	defer cancel()
	pause := backoff{floor: 50 * time.Millisecond, ceiling: time.Second}
	for {
		var res T
		err := c.refresh(ctx)
		if err == nil {
			try, done := context.WithTimeout(ctx, adminTimeout)
			res, err = ask[T](try, c, c.meta.load().controller, m)
			done()
		}
		if err == nil && wrong != nil {
			err = wrong(res)
		}
		if err == nil {
			return res, nil
		}
		if !pause.wait(ctx) {
			return res, err
		}
	}
}
