package main

import (
	"context"
	"fmt"
	"time"

	"github.com/heedhq/heed/deploy/topics"
	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func topicCommands() []command {
	return []command{
		{
			name: "topics apply", usage: "[--replication N] [--partitions N]",
			short: "create Heed's topics, and mend those that differ",
			help: `Creates what is missing, grows what has too few partitions and sets what is configured otherwise; then
waits until every partition has a leader. It deletes nothing and shrinks nothing, and it may be run at any
time and again: what is as it should be is left alone. --replication 3 for production: every record is then
on three brokers, and writes go on while one is away (min.insync.replicas 2).`,
			run: func(ctx context.Context, c *call) error { return c.topics(ctx, true) },
		},
		{
			name: "topics diff", usage: "[--replication N] [--partitions N]",
			short: "say how the topics differ from the contract's table; exit 1 if they do",
			run:   func(ctx context.Context, c *call) error { return c.topics(ctx, false) },
		},
	}
}

func (c *call) topics(ctx context.Context, apply bool) error {
	var o topics.Options
	c.flags.IntVar(&o.Replication, "replication", 1, "copies of each record, at most as many as there are brokers; `N` = 3 in production")
	c.flags.IntVar(&o.Partitions, "partitions", 0, "partitions of each topic that has several, instead of the table's `N` = "+fmt.Sprint(schemas.DefaultPartitions))
	limit := c.flags.Duration("timeout", time.Minute, "how long to wait for Kafka")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if o.Replication < 1 || o.Partitions < 0 {
		return usage("--replication and --partitions are whole numbers above 0")
	}
	client, err := c.kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if apply {
		did, err := topics.Apply(ctx, client, o)
		for _, line := range did {
			fmt.Fprintln(c.out, line)
		}
		if err == nil {
			fmt.Fprintf(c.out, "%d topics are as they should be (%d changed)\n", len(topics.Names()), len(did))
		}
		return err
	}
	differences, err := topics.Diff(ctx, client, o)
	if err != nil {
		return err
	}
	for _, d := range differences {
		fmt.Fprintln(c.out, d)
	}
	if len(differences) > 0 {
		return errQuiet
	}
	fmt.Fprintf(c.out, "%d topics are as they should be\n", len(topics.Names()))
	return nil
}

// kafka opens a client as the stages do, from HEED_KAFKA_...; other stages' variables pass by.
func (c *call) kafka() (*stream.Client, error) {
	var cfg stream.Config
	vars := &env.Vars{}
	cfg.Declare(vars)
	if err := vars.Parse(c.environ, schemas.Variables()); err != nil {
		return nil, err
	}
	return stream.Open(cfg, stream.Options{ClientID: "heed"})
}
