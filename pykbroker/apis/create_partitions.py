"""CreatePartitions: give topics more partitions.

Versions    0-3.
Authorizes  Alter on each topic (there is no authorizer yet).
Waits       until the decision is on disk; timeout_ms is not needed for that.
Notes       An assignment names the replicas of each added partition; null leaves it to the broker, an empty list is a wrong one.
            v3 may be refused for a quota (there are no quotas yet).
Not done    nothing. More than 10,000 partitions at once get POLICY_VIOLATION, where Kafka 4.3 fails with UNKNOWN_SERVER_ERROR (A-16).
Semantics   A-10, A-16, A-22. Sources: KIP-195.
"""

from collections import Counter

from pykbroker.context import Context
from pykbroker.later import Later, when
from pykbroker.metadata.controller import MorePartitions
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import CreatePartitionsRequest, CreatePartitionsResponse

VERSIONS = range(4)

_Result = CreatePartitionsResponse.CreatePartitionsTopicResult


def handle(context: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse | Later[CreatePartitionsResponse]:
    """Each topic by itself; one that is named twice is refused once."""
    times = Counter(topic.name for topic in request.topics)
    repeated = [_result(name, KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")) for name in times if times[name] > 1]
    wanted = [
        MorePartitions(topic.name, topic.count, None if topic.assignments is None else [one.broker_ids for one in topic.assignments])
        for topic in request.topics
        if times[topic.name] == 1
    ]
    results = context.cluster.controller.create_partitions(wanted, validate_only=request.validate_only)

    def answer(errors: list[KafkaError | None]) -> CreatePartitionsResponse:
        return CreatePartitionsResponse(
            results=repeated + [_result(topic.name, error) for topic, error in zip(wanted, errors, strict=True)]
        )

    return when(results, answer)


def failed(request: CreatePartitionsRequest, error: ErrorCode) -> CreatePartitionsResponse:
    """Every topic with the error."""
    return CreatePartitionsResponse(results=[_result(topic.name, KafkaError(error)) for topic in request.topics])


def _result(name: str, error: KafkaError | None) -> _Result:
    if error is None:
        return _Result(name=name)
    silent = error.error_code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return _Result(name=name, error_code=error.error_code, error_message=None if silent else error.message)
