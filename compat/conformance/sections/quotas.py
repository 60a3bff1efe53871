"""Q: quotas at work: what is answered when a client is over its quota, and how long its connection is left alone."""

import math

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, Where, at_least, expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of
from pykbroker.compat.steps.quotas import CLIENT, LONGEST_WINDOW_MS, QUOTAS, SHORTEST_WINDOW_MS, USER, Client, set_quota, unset_quota
from pykbroker.compat.target import Target, Topic, eventually, produce_request
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    FetchRequest,
    FetchResponse,
    ListGroupsRequest,
    MetadataRequest,
    ProduceResponse,
)

BYTE_RATE = 20_000
OVER_BYTES = 220_000
"""What is 20,000 a second over ten seconds, and some more."""

BURST = 11
"""What may be made at once of topics and partitions by who may make one in a second: as many as there are windows."""

ANONYMOUS = "ANONYMOUS"
BROKER = 4
THROTTLED = at_least(1)


@check("Q-01", api=("Produce", *QUOTAS))
def what_is_produced_over_quota_is_appended_and_the_connection_muted(target: Target) -> None:
    """Given a producer_byte_rate that a batch exceeds, the batch is appended and answered at once with a throttle time; the next request on
    that connection waits for so long, another connection of the same client does not. KIP-219.
    """
    topic = target.new_topic()
    client_id = target.new_name("client")
    set_quota(target, {CLIENT: client_id}, "producer_byte_rate", BYTE_RATE)
    client, neighbour = Client(target, client_id), Client(target, client_id)

    answer = _produced(client, topic, OVER_BYTES)
    neighbour.ask(MetadataRequest(topics=[]), 9)

    expect(answer.responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=0)
    expect(answer, throttle_time_ms=_between(1, 2500))
    expect_that(client.took_ms < answer.throttle_time_ms + 200, "the answer does not wait for the throttle time")
    expect_that(neighbour.took_ms < answer.throttle_time_ms, "another connection is not muted")
    expect_equal("the end of the log", target.list_offsets(topic).offset, 1)
    client.expect_muted(MetadataRequest(topics=[]), 9, answer.throttle_time_ms)


@check("Q-02", api=("Fetch", *QUOTAS))
def what_is_fetched_over_quota_is_held_back_and_not_counted(target: Target) -> None:
    """Given a consumer_byte_rate that a fetch exceeds, it is answered without any topic, with a throttle time and no session, and its bytes
    are not counted: after that time, a smaller fetch is within the quota. KIP-219.
    """
    topic = target.new_topic(partitions=3)
    for partition, size in enumerate((180_000, 60_000, 10_000)):
        target.produce(topic, [bytes(size)], partition=partition)
    client_id = target.new_name("client")
    set_quota(target, {CLIENT: client_id}, "consumer_byte_rate", BYTE_RATE)
    client = Client(target, client_id)

    within = client.ask_newest(_fetch(topic, 0), 12)
    over = client.ask_newest(_fetch(topic, 1), 12)
    held_back_at, throttle_time_ms = client.answered_at, over.throttle_time_ms
    after = client.ask_newest(_fetch(topic, 2), 12)

    expect(within, throttle_time_ms=0, error_code=ErrorCode.NONE)
    expect_that(_bytes_of(within) >= 180_000, "what is within the quota is fetched")
    expect(over, throttle_time_ms=_between(1, 2500), error_code=ErrorCode.NONE, responses=[], session_id=0)
    expect(after, throttle_time_ms=0, error_code=ErrorCode.NONE)
    expect_that(_bytes_of(after) >= 10_000, "what is within the quota is fetched")
    waited_ms = (client.answered_at - held_back_at) * 1000
    expect_that(waited_ms >= throttle_time_ms * 0.9, f"the next fetch waits for {throttle_time_ms} ms; it took {waited_ms:.0f} ms")


@check("Q-03", api=("Metadata", *QUOTAS))
def who_takes_too_much_of_the_broker_is_throttled_in_any_api(target: Target) -> None:
    """Given a request_percentage next to nothing, any API tells of a throttle time of a second at most, and the connection is muted. KIP-124."""
    client_id = target.new_name("client")
    set_quota(target, {CLIENT: client_id}, "request_percentage", 0.001)
    resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=BROKER, resource_name="", configuration_keys=[])
    requests = (
        (MetadataRequest(topics=[]), 9),
        (ApiVersionsRequest(client_software_name="conformance", client_software_version="1"), 3),
        (DescribeConfigsRequest(resources=[resource]), 4),
        (ListGroupsRequest(), 4),
        (DescribeClusterRequest(), 0),
    )
    last = Client(target, client_id)

    for request, version in requests:
        answer = eventually(
            lambda request=request, version=version: Client(target, client_id).ask(request, version),  # type: ignore[misc]
            lambda found: found.throttle_time_ms > 0,
            f"{type(request).__name__} is throttled",
        )
        expect(answer, throttle_time_ms=_between(1, 1000))
    throttled = eventually(
        lambda: last.ask(MetadataRequest(topics=[]), 9), lambda found: found.throttle_time_ms > 0, "Metadata is throttled"
    )
    last.expect_muted(MetadataRequest(topics=[]), 9, throttled.throttle_time_ms)


@check("Q-04a", api=("CreateTopics", *QUOTAS))
def topics_over_quota_are_refused_from_version_6_on(target: Target) -> None:
    """Given a controller_mutation_rate of 1, what exceeds the burst is still made; then CreateTopics v6 is THROTTLING_QUOTA_EXCEEDED with a
    null message and a throttle time, and the connection is muted for that time. KIP-599.
    """
    client_id = target.new_name("client")
    set_quota(target, {CLIENT: client_id}, "controller_mutation_rate", 1.0)
    client = Client(target, client_id)

    first = client.ask_newest(_creation(target, BURST + 2), 7)
    refused = client.ask(_creation(target, 1), 6)

    expect(first.topics[0], error_code=ErrorCode.NONE)
    expect(first, throttle_time_ms=0)
    expect(refused.topics[0], error_code=ErrorCode.THROTTLING_QUOTA_EXCEEDED, error_message=None)
    expect(refused, throttle_time_ms=_between(1, 4000))
    client.expect_muted(MetadataRequest(topics=[]), 9, refused.throttle_time_ms)


@check("Q-04b", api=("CreateTopics", *QUOTAS))
def topics_over_quota_are_made_and_throttled_before_version_6(target: Target) -> None:
    """Given a controller_mutation_rate of 1 that is used up, by validation alone too, CreateTopics v5 succeeds, with a throttle time, and the
    connection is muted for that time. KIP-599.
    """
    client_id = target.new_name("client")
    set_quota(target, {CLIENT: client_id}, "controller_mutation_rate", 1.0)
    client = Client(target, client_id)

    client.ask_newest(_creation(target, BURST + 1, validate_only=True), 7)
    made = client.ask(_creation(target, 1), 5)

    expect(made.topics[0], error_code=ErrorCode.NONE)
    expect(made, throttle_time_ms=_between(1, 4000))
    client.expect_muted(MetadataRequest(topics=[]), 9, made.throttle_time_ms)


@check("Q-04c", api=("DeleteTopics", *QUOTAS))
def deletions_over_quota_are_refused_from_version_5_on(target: Target) -> None:
    """Given a controller_mutation_rate of 1 that is used up, DeleteTopics v5 is THROTTLING_QUOTA_EXCEEDED for a topic, and
    UNKNOWN_TOPIC_OR_PARTITION for one that is not there; the topic stays. KIP-599.
    """
    topic = target.new_topic()
    nobody = target.new_name("topic")
    client_id = target.new_name("client")
    set_quota(target, {CLIENT: client_id}, "controller_mutation_rate", 1.0)

    Client(target, client_id).ask_newest(_creation(target, BURST + 2, validate_only=True), 7)
    answer = Client(target, client_id).ask(DeleteTopicsRequest(topic_names=[topic.name, nobody], timeout_ms=10_000), 5)

    errors = {one.name: one.error_code for one in answer.responses}
    expected = {topic.name: ErrorCode.THROTTLING_QUOTA_EXCEEDED, nobody: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    expect_equal("what is answered for each", errors, expected)
    expect(answer, throttle_time_ms=THROTTLED)
    expect(target.metadata(topic.name).topics[0], error_code=ErrorCode.NONE)


@check("Q-05", api=("Produce", *QUOTAS), alone=True)
def the_most_specific_quota_applies(target: Target) -> None:
    """Given a quota at each of the eight levels, and one less each time, the throttle time tells that the next one applies: user and client,
    user and default client, user, default user and client, default user and default client, default user, client, default client. KIP-55.
    """
    topic = target.new_topic()
    levels: list[tuple[str, ...]] = [
        (USER, CLIENT),
        (USER, "*client"),
        (USER,),
        ("*user", CLIENT),
        ("*user", "*client"),
        ("*user",),
        (CLIENT,),
    ]
    levels.append(("*client",))
    rates = [250 * 2**index for index in range(len(levels))]
    shared = {index: _entity(target, level, "") for index, level in enumerate(levels) if CLIENT not in level}
    for index, entity in shared.items():
        set_quota(target, entity, "producer_byte_rate", rates[index])

    for first in range(len(levels)):
        client_id = target.new_name("client")
        for index, level in enumerate(levels):
            if CLIENT in level and index >= first:
                set_quota(target, _entity(target, level, client_id), "producer_byte_rate", rates[index])
        size = 20 * rates[first]
        throttle_time_ms = _produced(Client(target, client_id), topic, size).throttle_time_ms
        expect_that(throttle_time_ms > 0, f"a client is throttled by {_named(levels[first])}")
        expect_equal(f"the rate by {throttle_time_ms} ms", _nearest(rates, throttle_time_ms, size), rates[first])
        if first in shared:
            unset_quota(target, shared[first], "producer_byte_rate")
    expect(_produced(Client(target, target.new_name("client")), topic, 900_000), throttle_time_ms=0)


@check("Q-11a", api="Metadata", versions="3-13")
def metadata_tells_of_no_throttling(target: Target, version: int) -> None:
    """Given no quota, Metadata has a throttle time of 0 in every version with that field, before the brokers. KIP-124."""
    expect(target.ask(MetadataRequest(topics=[]), version), throttle_time_ms=0, brokers=NOT_EMPTY)


@check("Q-11b", api="DescribeConfigs", versions="1-4")
def configs_tell_of_no_throttling(target: Target, version: int) -> None:
    """Given no quota, DescribeConfigs has a throttle time of 0 in every version, before the results. KIP-124."""
    resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=BROKER, resource_name="", configuration_keys=None)

    answer = target.ask(DescribeConfigsRequest(resources=[resource]), version)

    expect(answer, throttle_time_ms=0, results=NOT_EMPTY)
    expect(answer.results[0], error_code=ErrorCode.NONE, resource_type=BROKER)


def _between(least: int, most: int) -> Where:
    return Where(f"between {least} and {most}", lambda found: least <= found <= most)


def _produced(client: Client, topic: Topic, size: int) -> ProduceResponse:
    return client.ask_newest(produce_request(topic, batch_of(bytes(size))), 11)


def _fetch(topic: Topic, partition: int) -> FetchRequest:
    part = FetchRequest.FetchPartition(partition=partition, fetch_offset=0, partition_max_bytes=1 << 20)
    wanted = FetchRequest.FetchTopic(topic=topic.name, topic_id=topic.topic_id, partitions=[part])
    return FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=1 << 24, topics=[wanted])


def _bytes_of(answer: FetchResponse) -> int:
    return sum(len(part.records or b"") for topic in answer.responses for part in topic.partitions)


def _creation(target: Target, partitions: int, *, validate_only: bool = False) -> CreateTopicsRequest:
    name = target.new_name("topic")
    target.forget_after(name)
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
    return CreateTopicsRequest(topics=[topic], timeout_ms=10_000, validate_only=validate_only)


def _entity(target: Target, level: tuple[str, ...], client_id: str) -> dict[str, str | None]:
    login = target.security.login
    names = {USER: login.user if target.security.logs_in and login else ANONYMOUS, CLIENT: client_id}
    return {kind.lstrip("*").replace("client-id", "client").replace("client", CLIENT): names.get(kind) for kind in level}


def _named(level: tuple[str, ...]) -> str:
    return " and ".join(kind.replace("*", "default ") for kind in level)


def _nearest(rates: list[int], throttle_time_ms: int, size: int) -> int:
    """The rate that it takes so long to come down to."""
    window_ms = (SHORTEST_WINDOW_MS + LONGEST_WINDOW_MS) / 2
    rate = size * 1000 / (throttle_time_ms + window_ms)
    return min(rates, key=lambda one: abs(math.log(one / rate)))
