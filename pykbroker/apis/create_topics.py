"""CreateTopics: make topics, or check whether they could be made.

Versions    2-7.
Authorizes  Create on the cluster or on each topic; DescribeConfigs to be shown the configs (there is no authorizer yet).
Waits       until the decision is on disk; timeout_ms is not needed for that.
Notes       Every version takes -1 for the broker's default. v5 answers with partitions, replicas and all configs. v6 may be refused
            for a quota (there are no quotas yet). v7 topic ids.
Not done    nothing.
Semantics   A-01 … A-08, A-14, A-15, A-20 … A-22, M-12, M-13. Sources: KIP-4, KIP-464, KIP-525, KIP-516.
"""

from collections import Counter
from collections.abc import Mapping

from pykbroker.config import Configuration, ResourceType
from pykbroker.config.description import DYNAMIC_TOPIC_CONFIG, described_resource
from pykbroker.context import Context
from pykbroker.coordinator.refusal import or_refusal
from pykbroker.later import Later, when
from pykbroker.metadata.controller import CreatedTopic, NewTopic
from pykbroker.protocol.encoder import SharedArray
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import CreateTopicsRequest, CreateTopicsResponse
from pykbroker.topic_names import CLUSTER_METADATA

VERSIONS = range(2, 8)

_Result = CreateTopicsResponse.CreatableTopicResult
_Config = CreateTopicsResponse.CreatableTopicConfigs
_FIRST_WITH_CONFIGS = 5


def handle(context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse | Later[CreateTopicsResponse]:
    """Each topic by itself; one that is named twice is refused once, and comes last (A-04)."""
    times = Counter(topic.name for topic in request.topics)
    refused = [_refused(name, _NAMED_TWICE) for name in times if times[name] > 1 and name != CLUSTER_METADATA]
    if CLUSTER_METADATA in times:
        refused.append(_refused(CLUSTER_METADATA, _NO_TOPIC))
    wanted = [_new_topic(topic) for topic in request.topics if times[topic.name] == 1 and topic.name != CLUSTER_METADATA]

    def answer(created: list[CreatedTopic | KafkaError]) -> CreateTopicsResponse:
        described = _Descriptions(context)
        answered = [
            _refused(topic.name, result) if isinstance(result, KafkaError) else _created(described, result)
            for topic, result in zip(wanted, created, strict=True)
        ]
        return CreateTopicsResponse(topics=answered + refused)

    def all_refused(error: KafkaError) -> CreateTopicsResponse:
        return CreateTopicsResponse(topics=[_refused(name, error) for name in times])

    controller = context.cluster.controller
    return or_refusal(lambda: when(controller.create_topics(wanted, validate_only=request.validate_only), answer), all_refused)


def failed(request: CreateTopicsRequest, error: ErrorCode) -> CreateTopicsResponse:
    """Every topic with the error."""
    return CreateTopicsResponse(topics=[_refused(topic.name, KafkaError(error)) for topic in request.topics])


_NAMED_TWICE = KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
_NO_TOPIC = KafkaError(ErrorCode.INVALID_REQUEST, f"{CLUSTER_METADATA} is the broker's own, and not made by anybody.")


def _new_topic(topic: CreateTopicsRequest.CreatableTopic) -> NewTopic:
    """A config that is given twice has its last value (A-14)."""
    return NewTopic(
        name=topic.name,
        num_partitions=topic.num_partitions,
        replication_factor=topic.replication_factor,
        assignments=[(one.partition_index, one.broker_ids) for one in topic.assignments],
        configs={config.name: config.value for config in topic.configs},
    )


def _refused(name: str, error: KafkaError) -> _Result:
    """`configs` is empty, never null: the Java client dies of a null."""
    return _Result(name=name, error_code=error.error_code, error_message=error.message)


def _created(described: "_Descriptions", created: CreatedTopic) -> _Result:
    return _Result(
        name=created.name,
        topic_id=created.topic_id,
        error_message=None,
        num_partitions=created.num_partitions,
        replication_factor=created.replication_factor,
        configs=described.of(created.configs),
    )


class _Descriptions:
    """The configs of the topics of one answer; topics with the same configs of their own share one list."""

    def __init__(self, context: Context) -> None:
        self._config = context.cluster.config
        self._wanted = context.api_version >= _FIRST_WITH_CONFIGS
        self._known: dict[frozenset[tuple[str, str]], SharedArray[_Config]] = {}

    def of(self, own: Mapping[str, str]) -> list[_Config]:
        """Every config of a topic that has these of its own."""
        if not self._wanted:
            return []
        key = frozenset(own.items())
        if key not in self._known:
            self._known[key] = SharedArray(_described(self._config, own))
        return self._known[key]


def _described(config: Configuration, own: Mapping[str, str]) -> list[_Config]:
    """Every config of the topic, by name (A-01); its own ones as they were written, also those that are not listed elsewhere."""
    described = {
        one.name: _Config(
            name=one.name,
            value=own.get(one.name, one.value),
            read_only=one.read_only,
            config_source=one.config_source,
            is_sensitive=one.is_sensitive,
        )
        for one in described_resource(config, ResourceType.TOPIC, own)
    }
    for name in own.keys() - described.keys():
        described[name] = _Config(name=name, value=own[name], config_source=DYNAMIC_TOPIC_CONFIG)
    return [described[name] for name in sorted(described)]
