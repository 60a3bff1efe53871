// franz-go as a user would use it.
package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"pykbroker/scenario"
)

func main() {
	eager := scenario.Group{Topic: "gzip", Name: "two", Join: joinBy(kgo.Balancers(kgo.RangeBalancer())), Committed: committed}
	cooperative := scenario.Group{
		Topic: "zstd", Name: "cooperative", Cooperative: true, Committed: committed, Join: joinBy(kgo.Balancers(kgo.CooperativeStickyBalancer())),
	}
	served := scenario.Group{
		Topic: "lz4", Name: "new", Cooperative: true, Committed: committed, WhileTheyAreTwo: describedAsNew,
		Join: joinBy(kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())),
	}
	scenario.Main(scenario.Client{
		Produce: produce, ConsumeUntil: consumeUntil, CountTheRest: countTheRest,
		Scenarios: map[string]func(scenario.Run) error{
			"create topic":                               createTopics,
			"administer a topic":                         administer,
			"idempotent producer":                        idempotent,
			"messages of 5 MiB":                          largeMessages,
			"1,000 partitions":                           wide,
			"consume in a group of two with a rebalance": eager.OfTwo,
			"consume in a group of two, cooperatively":   cooperative.OfTwo,
			"restart a static member":                    scenario.RestartAStaticMember(eager.Join),
			"seek, pause, resume":                        seek,
			"list and describe groups":                   listAndDescribe,
			"reset offsets":                              resetOffsets,
			"offsets by time":                            offsetsByTime,
			"transactions":                               transactions,
			"consume, transform, produce":                transform,
			"consumer group of the new protocol":         served.OfTwo,
			"share group":                                shareGroup,
			"restart the broker":                         restart,
			"sign in":                                    scenario.EachWayToSignIn(writeAndRead, refusedAsSuch),
			"delete":                                     deleteAll,
		},
	})
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), scenario.Deadline)
}

func client(run scenario.Run, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(run.Bootstrap)}, options...)...)
}

func consumer(run scenario.Run, topic, group string, options ...kgo.Opt) (*kgo.Client, error) {
	return client(run, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, options...)...)
}

// withAdmin does something with an admin client, which ends with it.
func withAdmin(run scenario.Run, work func(context.Context, *kadm.Client) error) error {
	raw, err := client(run)
	if err != nil {
		return err
	}
	defer raw.Close()
	ctx, cancel := limited()
	defer cancel()
	return work(ctx, kadm.NewClient(raw))
}
