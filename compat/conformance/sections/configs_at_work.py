"""K: configs at work: on the next batch, on groups, on loggers, on threads and on metrics subscriptions."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, at_least, expect, expect_equal, expect_that, one_of
from pykbroker.compat.steps.batches import now_ms
from pykbroker.compat.steps.cleaning import HALF_AN_HOUR_MS, QUICK_RETENTION, wait_for_start
from pykbroker.compat.steps.configs import (
    ALL_BROKERS,
    APPEND,
    BROKER,
    BROKER_LOGGER,
    CLIENT_METRICS,
    DELETE,
    GROUP,
    TOPIC,
    Change,
    Refusal,
    alter,
    describe,
    entry,
    own_id,
    replace,
)
from pykbroker.compat.steps.consumer_members import HEARTBEAT, described, member_of_all, topic_for_groups
from pykbroker.compat.target import EARLIEST, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ApiVersionsRequest, ConsumerGroupHeartbeatRequest, ProduceResponse
from pykbroker.protocol.records import NewRecord, build_batch

DONE = Refusal(ErrorCode.NONE, None)
FROM_DEFAULT, FROM_LOGGER, FROM_GROUP = 5, 6, 8
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
ROOT = "root"
GROUP_CONFIGS = 17
JOINING, LEAVING = 0, -1
RETENTION_CHECK_S = 0.3


@check("K-08a", api=("Produce", "IncrementalAlterConfigs"), versions="3-13")
def the_next_batch_heeds_max_message_bytes(target: Target, version: int) -> None:
    """Given max.message.bytes lowered to 200 on a topic that took 500 bytes, the next batch of 500 is MESSAGE_TOO_LARGE. KIP-226."""
    topic = target.new_topic()
    expect(_produce(target, topic, b"x" * 500, version), error_code=ErrorCode.NONE)

    expect_equal("the answer", alter(target, TOPIC, topic.name, [Change("max.message.bytes", "200")]), DONE)

    refused = eventually(lambda: _produce(target, topic, b"x" * 500, version), lambda one: one.error_code != 0, "a large batch is refused")
    expect(refused, error_code=ErrorCode.MESSAGE_TOO_LARGE, base_offset=-1)
    expect(_produce(target, topic, b"x", version), error_code=ErrorCode.NONE)


@check("K-08b", api=("Produce", "IncrementalAlterConfigs"), versions="3-13")
def the_next_batch_heeds_message_timestamp_type(target: Target, version: int) -> None:
    """Given message.timestamp.type set to LogAppendTime, the next batch gets the broker's time, and the answer tells it. KIP-32."""
    topic = target.new_topic()
    expect(_produce(target, topic, b"x", version), error_code=ErrorCode.NONE, log_append_time_ms=-1)
    before = int(time.time() * 1000)

    expect_equal("the answer", alter(target, TOPIC, topic.name, [Change("message.timestamp.type", "LogAppendTime")]), DONE)

    stamped = eventually(
        lambda: _produce(target, topic, b"x", version, timestamp=1), lambda one: one.log_append_time_ms >= 0, "a time of appending is told"
    )
    expect(stamped, error_code=ErrorCode.NONE, log_append_time_ms=at_least(before - 1000))
    expect_equal("the last record's timestamp", target.records(topic)[-1].timestamp, stamped.log_append_time_ms)


@check("K-08c", api=("Produce", "IncrementalAlterConfigs"), versions="3-13")
def the_next_batch_heeds_cleanup_policy(target: Target, version: int) -> None:
    """Given cleanup.policy set to compact, the next record without a key is INVALID_RECORD. KIP-226."""
    topic = target.new_topic()
    expect(_produce(target, topic, b"x", version, key=None), error_code=ErrorCode.NONE)

    expect_equal("the answer", alter(target, TOPIC, topic.name, [Change("cleanup.policy", "compact")]), DONE)

    refused = eventually(lambda: _produce(target, topic, b"x", version, key=None), lambda one: one.error_code != 0, "no key is refused")
    expect(refused, error_code=ErrorCode.INVALID_RECORD)
    expect(_produce(target, topic, b"x", version), error_code=ErrorCode.NONE)


@check("K-08d", api=("Produce", "IncrementalAlterConfigs"), versions="3-13")
def no_more_replicas_are_waited_for_than_there_are(target: Target, version: int) -> None:
    """Given min.insync.replicas set to 2 on a topic with one replica, a batch with acks=-1 is NONE. KIP-966."""
    topic = target.new_topic()

    expect_equal("the answer", alter(target, TOPIC, topic.name, [Change("min.insync.replicas", "2")]), DONE)

    eventually(lambda: entry(target, TOPIC, topic.name, "min.insync.replicas").value, lambda found: found == "2", "it is set")
    expect(_produce(target, topic, b"x", version), error_code=ErrorCode.NONE, base_offset=0)


@check("K-08e", api=("Produce", "IncrementalAlterConfigs"), needs=QUICK_RETENTION)
def the_next_look_at_old_segments_heeds_retention_ms(target: Target) -> None:
    """Given a record of half an hour ago on a topic that keeps it, retention.ms set to a minute takes it. KIP-226."""
    topic = target.new_topic(retention_ms="-1")
    expect(_produce(target, topic, b"x", None, timestamp=now_ms() - HALF_AN_HOUR_MS), error_code=ErrorCode.NONE)
    time.sleep(2 * RETENTION_CHECK_S)
    expect(target.list_offsets(topic, timestamp=EARLIEST), offset=0)

    expect_equal("the answer", alter(target, TOPIC, topic.name, [Change("retention.ms", "60000")]), DONE)

    wait_for_start(target, topic, 1)


@check("K-10a", api=("IncrementalAlterConfigs", "DescribeConfigs"), versions="0-1")
def a_groups_config_is_set_and_told(target: Target, version: int) -> None:
    """Given a config set for a group that is not there, it is told with source 8, before the broker's config that gives the default. KIP-848."""
    group = target.new_group()
    target.unset_after(GROUP, group, "consumer.session.timeout.ms")

    answer = alter(target, GROUP, group, [Change("consumer.session.timeout.ms", "50000")], version=version)

    expect_equal("the answer", answer, DONE)
    told = eventually(
        lambda: entry(target, GROUP, group, "consumer.session.timeout.ms"), lambda one: one.value == "50000", "the group's value is told"
    )
    expect(told, config_source=FROM_GROUP, read_only=False)
    wanted = [("consumer.session.timeout.ms", "50000", FROM_GROUP), ("group.consumer.session.timeout.ms", "45000", FROM_DEFAULT)]
    expect_equal("the synonyms", [(one.name, one.value, one.source) for one in told.synonyms], wanted)
    expect_equal("the number of configs", len(describe(target, GROUP, group).configs), GROUP_CONFIGS)


@check("K-10b", api="IncrementalAlterConfigs", versions="0-1")
def a_groups_config_keeps_within_the_brokers_bounds(target: Target, version: int) -> None:
    """Given a group's config at the broker's bounds it is taken, beyond them INVALID_CONFIG says why. KIP-848, KIP-932, KIP-1071."""
    group = target.new_group()
    bounds = [
        ("consumer.session.timeout.ms", 45_000, 60_000),
        ("consumer.heartbeat.interval.ms", 5_000, 15_000),
        ("share.record.lock.duration.ms", 15_000, 60_000),
        ("share.delivery.count.limit", 2, 10),
        ("streams.num.standby.replicas", 0, 2),
    ]
    for name, smallest, largest in bounds:
        target.unset_after(GROUP, group, name)
        for value in (smallest, largest):
            expect_equal(f"the answer to {name}={value}", alter(target, GROUP, group, [Change(name, str(value))], version=version), DONE)
        for value in (smallest - 1, largest + 1):
            refused = alter(target, GROUP, group, [Change(name, str(value))], version=version)

            expect_equal(f"the error of {name}={value}", refused.error_code, ErrorCode.INVALID_CONFIG)
            expect(refused, error_message=NOT_EMPTY)


@check("K-13a", api=("DescribeConfigs", "IncrementalAlterConfigs"), versions="1-4", alone=True)
def loggers_are_told_and_set(target: Target, version: int) -> None:
    """Given the id of the broker that answers, its loggers are told with their levels, root among them; a level set is told, one taken back is
    that of root again. KIP-412.
    """
    broker = own_id(target)
    described = describe(target, BROKER_LOGGER, broker, version=version)
    levels = {one.name: one.value for one in described.configs}
    expect(described, error_code=ErrorCode.NONE, error_message="")
    expect_that(ROOT in levels and len(levels) > 1, "root and others are told")
    for one in described.configs:
        expect(one, value=one_of(*LEVELS), config_source=FROM_LOGGER)
    logger = max(name for name in levels if name != ROOT)
    level = "ERROR" if levels[ROOT] != "ERROR" else "WARN"
    target.unset_after(BROKER_LOGGER, broker, logger)

    expect_equal("the answer", alter(target, BROKER_LOGGER, broker, [Change(logger, level)]), DONE)
    set_ = describe(target, BROKER_LOGGER, broker, [logger], version=version).configs
    expect_equal("the answer to DELETE", alter(target, BROKER_LOGGER, broker, [Change(logger, None, DELETE)]), DONE)
    unset = describe(target, BROKER_LOGGER, broker, [logger], version=version).configs

    expect_equal("the level that was set", [(one.name, one.value) for one in set_], [(logger, level)])
    expect_equal("the level after it", [(one.name, one.value) for one in unset], [(logger, levels[ROOT])])


@check("K-13b", api="IncrementalAlterConfigs", versions="0-1")
def a_loggers_level_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given a logger that is not there, or a level that is none, INVALID_CONFIG; to take back the level of root, or to append to one,
    INVALID_REQUEST; each says why. KIP-412.
    """
    cases = {
        Change("no.such", "INFO"): ErrorCode.INVALID_CONFIG,
        Change(ROOT, "LOUD"): ErrorCode.INVALID_CONFIG,
        Change(ROOT, None, DELETE): ErrorCode.INVALID_REQUEST,
        Change(ROOT, "INFO", APPEND): ErrorCode.INVALID_REQUEST,
    }
    for change, error in cases.items():
        refused = alter(target, BROKER_LOGGER, own_id(target), [change], version=version)

        expect_equal(f"the error of {change}", refused.error_code, error)
        expect(refused, error_message=NOT_EMPTY)


@check("K-14", api="IncrementalAlterConfigs", versions="0-1")
def threads_grow_and_shrink_by_half_at_most(target: Target, version: int) -> None:
    """Given a number of threads, the double and the half may be set; more, fewer or 0 is INVALID_REQUEST and says why. KIP-226."""
    broker = own_id(target)
    for name in ("num.io.threads", "num.network.threads", "num.replica.fetchers"):
        present = int(entry(target, BROKER, broker, name).value or 0)
        for value in (2 * present, -(-present // 2)):
            answer = alter(target, BROKER, broker, [Change(name, str(value))], version=version, validate_only=True)
            expect_equal(f"the answer to {name}={value} from {present}", answer, DONE)
        for value in (2 * present + 1, 100 * present, 0):
            refused = alter(target, BROKER, broker, [Change(name, str(value))], version=version, validate_only=True)

            expect_equal(f"the error of {name}={value} from {present}", refused.error_code, ErrorCode.INVALID_REQUEST)
            expect(refused, error_message=NOT_EMPTY)


@check("K-15a", api=("IncrementalAlterConfigs", "DescribeConfigs"), versions="0-1")
def a_metrics_subscription_is_set_and_told(target: Target, version: int) -> None:
    """Given a subscription of all or no metrics, an interval at its bounds and a pattern of clients, it is taken and told. KIP-714."""
    name = target.new_name("metrics")
    target.unset_after(CLIENT_METRICS, name, "interval.ms", "metrics", "match")
    for metrics, interval, match in (("", "100", "client_id=a.*"), ("*", "3600000", "client_software_name=b")):
        changes = [Change("metrics", metrics), Change("interval.ms", interval), Change("match", match)]

        expect_equal("the answer", alter(target, CLIENT_METRICS, name, changes, version=version), DONE)

        for config in (("metrics", metrics), ("interval.ms", interval), ("match", match)):
            _wait_for(target, CLIENT_METRICS, name, config)


@check("K-15b", api="IncrementalAlterConfigs", versions="0-1")
def a_metrics_subscription_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given an interval outside of 100 ms to an hour, or what is no number, INVALID_REQUEST; a pattern of what no client has, INVALID_CONFIG; each
    says why. KIP-714.
    """
    name = target.new_name("metrics")
    cases = {
        Change("interval.ms", "99"): ErrorCode.INVALID_REQUEST,
        Change("interval.ms", "3600001"): ErrorCode.INVALID_REQUEST,
        Change("match", "foo=a"): ErrorCode.INVALID_CONFIG,
        Change("match", "client_id=("): ErrorCode.INVALID_CONFIG,
    }
    for change, error in cases.items():
        refused = alter(target, CLIENT_METRICS, name, [change], version=version)

        expect_equal(f"the error of {change}", refused.error_code, error)
        expect(refused, error_message=NOT_EMPTY)


@check("K-15c", api=("AlterConfigs", "DescribeConfigs"), versions="0-2")
def groups_and_metrics_may_be_replaced_too(target: Target, version: int) -> None:
    """Given AlterConfigs of a group and of a metrics subscription, their configs are replaced. KIP-133, KIP-714, KIP-848."""
    for resource_type, name, config in (
        (GROUP, target.new_group(), ("consumer.session.timeout.ms", "50000")),
        (CLIENT_METRICS, target.new_name("metrics"), ("interval.ms", "5000")),
    ):
        target.unset_after(resource_type, name, config[0])
        expect_equal("the answer", replace(target, resource_type, name, [config], version=version), DONE)
        _wait_for(target, resource_type, name, config)

        expect_equal("the answer to nothing", replace(target, resource_type, name, [], version=version), DONE)

        _wait_for_default(target, resource_type, name, config[0])


@check("K-18a", api=("ConsumerGroupHeartbeat", "IncrementalAlterConfigs"), versions="0-1")
def a_groups_heartbeat_interval_is_told_to_its_members(target: Target, version: int) -> None:
    """Given consumer.heartbeat.interval.ms set to 7000 for a group, the next heartbeat's answer says so. KIP-848."""
    group, member = target.new_group(), "conformance-member-0001"
    target.wait_for_coordinator(group)
    topic = target.new_topic()
    target.unset_after(GROUP, group, "consumer.heartbeat.interval.ms")
    joining = ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_id=member,
        member_epoch=JOINING,
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=[topic.name],
        topic_partitions=[],
    )
    first = target.ask(joining, version)
    expect(first, error_code=ErrorCode.NONE, heartbeat_interval_ms=5000)

    expect_equal("the answer", alter(target, GROUP, group, [Change("consumer.heartbeat.interval.ms", "7000")]), DONE)

    beat = ConsumerGroupHeartbeatRequest(group_id=group, member_id=first.member_id or "", member_epoch=first.member_epoch)
    eventually(lambda: target.ask(beat, version).heartbeat_interval_ms, lambda found: found == 7000, "the new interval is told")
    target.ask(ConsumerGroupHeartbeatRequest(group_id=group, member_id=member, member_epoch=LEAVING), version)


@check("K-18b", api=(*HEARTBEAT, "IncrementalAlterConfigs"))
def another_assignor_of_a_member_is_no_new_epoch_yet(target: Target) -> None:
    """Given a stable member that names another assignor in a heartbeat, the group's epoch is what it was, and the group tells the new assignor.
    KIP-848.
    """
    member = member_of_all(target, topic_for_groups(target), assignor="range")
    before = described(target, member.group_id)
    expect(before, assignor_name="range")

    expect(member.heartbeat(server_assignor="uniform"), error_code=ErrorCode.NONE, member_epoch=before.group_epoch)

    expect(described(target, member.group_id), assignor_name="uniform", group_epoch=before.group_epoch)
    member.leave()


@check("K-19a", api=("IncrementalAlterConfigs", "ApiVersions"), versions="0-1", alone=True)
def min_insync_replicas_is_the_clusters_with_eligible_leaders(target: Target, version: int) -> None:
    """Given eligible.leader.replicas.version finalized, min.insync.replicas of one broker is INVALID_CONFIG; without it, it is taken. KIP-966."""
    broker = own_id(target)
    versions = target.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3)
    levels = {one.name: one.max_version_level for one in versions.finalized_features}
    expected = ErrorCode.INVALID_CONFIG if levels.get("eligible.leader.replicas.version", 0) else ErrorCode.NONE

    answer = alter(target, BROKER, broker, [Change("min.insync.replicas", "1")], version=version, validate_only=True)

    expect(answer, error_code=expected, error_message=NOT_EMPTY if expected else None)


@check("K-19b", api=("IncrementalAlterConfigs", "DescribeConfigs"), versions="0-1")
def what_is_read_only_cannot_be_altered(target: Target, version: int) -> None:
    """Given every config that the broker tells as read only, altering it is INVALID_REQUEST, for the broker as for all brokers. KIP-226."""
    broker = own_id(target)
    fixed = [one.name for one in describe(target, BROKER, broker).configs if one.read_only]
    expect_that(len(fixed) > 100, f"more than 100 configs are read only, not {len(fixed)}")
    taken = []
    for name in fixed:
        for resource in (broker, ALL_BROKERS):
            answer = alter(target, BROKER, resource, [Change(name, "1")], version=version, validate_only=True)
            if answer.error_code != ErrorCode.INVALID_REQUEST:
                taken.append((name, resource, answer.error_code))

    expect_equal("those that are not refused", taken, [])


@check("K-19c", api="IncrementalAlterConfigs", versions="0-1")
def what_belongs_to_a_listener_is_set_with_its_prefix(target: Target, version: int) -> None:
    """Given a config of keystores without the prefix of a listener, INVALID_REQUEST says that it needs one. KIP-226."""
    for name in ("ssl.keystore.location", "ssl.keystore.password", "ssl.truststore.location"):
        refused = alter(target, BROKER, own_id(target), [Change(name, "value")], version=version, validate_only=True)

        expect_equal(f"the error of {name}", refused.error_code, ErrorCode.INVALID_REQUEST)
        expect(refused, error_message=NOT_EMPTY)


def _produce(
    target: Target, topic: Topic, value: bytes, version: int | None, *, key: bytes | None = b"key", timestamp: int | None = None
) -> ProduceResponse.PartitionProduceResponse:
    now = int(time.time() * 1000) if timestamp is None else timestamp
    return target.produce_batch(topic, build_batch([NewRecord(value, key, timestamp=now)]), version=version)


def _wait_for(target: Target, resource_type: int, name: str, config: tuple[str, str]) -> None:
    eventually(lambda: entry(target, resource_type, name, config[0]).value, lambda found: found == config[1], f"{config[0]} is {config[1]}")


def _wait_for_default(target: Target, resource_type: int, name: str, key: str) -> None:
    eventually(
        lambda: entry(target, resource_type, name, key).config_source, lambda source: source == FROM_DEFAULT, f"{key} has its default again"
    )
