// sarama as a user would use it.
package main

import (
	"time"

	"github.com/IBM/sarama"

	"pykbroker/scenario"
)

const onlyClassic = "sarama knows neither KIP-848 nor KIP-932: it has groups of the classic protocol only"

func main() {
	eager := scenario.Group{
		Topic: "gzip", Name: "two", Committed: committed, Join: joinBy(sarama.NewBalanceStrategyRange),
	}
	cooperative := scenario.Group{
		Topic: "zstd", Name: "cooperative", Cooperative: true, Committed: committed, Join: joinBy(sarama.NewBalanceStrategyCooperativeSticky),
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
			"consumer group of the new protocol":         scenario.Skip(onlyClassic),
			"share group":                                scenario.Skip(onlyClassic),
			"restart the broker":                         restart,
			"sign in":                                    scenario.EachWayToSignIn(writeAndRead, refusedAsSuch),
			"delete":                                     deleteAll,
		},
	})
}

// settings are those that all clients here have in common.
func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_3_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 300 // sarama gives up soon, but a broker that starts needs its time
	config.Admin.Retry.Max = 300
	config.Metadata.Retry.Max = 100
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return config
}

// idempotently changes the settings to those that an idempotent producer of sarama must have.
func idempotently(config *sarama.Config) *sarama.Config {
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	return config
}

func addresses(run scenario.Run) []string { return []string{run.Bootstrap} }

// withAdmin does something with an admin client, which ends with it.
func withAdmin(run scenario.Run, work func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin(addresses(run), settings())
	if err != nil {
		return err
	}
	defer admin.Close()
	return work(admin)
}

// withProducer does something with a producer of these settings, which ends with it.
func withProducer(run scenario.Run, config *sarama.Config, work func(sarama.SyncProducer) error) error {
	producer, err := sarama.NewSyncProducer(addresses(run), config)
	if err != nil {
		return err
	}
	defer producer.Close()
	return work(producer)
}

// send says what the first record met that was not acknowledged.
func send(producer sarama.SyncProducer, messages []*sarama.ProducerMessage) error {
	err := producer.SendMessages(messages)
	if failed, many := err.(sarama.ProducerErrors); many && len(failed) > 0 {
		return failed[0]
	}
	return err
}

// messagesOf are the records of the numbers from first to before, each with its key.
func messagesOf(topic string, first, before int) []*sarama.ProducerMessage {
	var messages []*sarama.ProducerMessage
	for number := first; number < before; number++ {
		key, value := sarama.StringEncoder(scenario.Key(number)), sarama.StringEncoder(scenario.Value(number))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: key, Value: value})
	}
	return messages
}

func allPartitions(count int) []int32 {
	partitions := make([]int32, count)
	for number := range partitions {
		partitions[number] = int32(number)
	}
	return partitions
}
