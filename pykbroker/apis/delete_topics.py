"""DeleteTopics: topics go, with all that is in them.

Versions    1-6.
Authorizes  Delete on each topic, Describe to learn its name or id (there is no authorizer yet).
Waits       until the decision is on disk; timeout_ms is not needed for that.
Notes       v3 delete.topic.enable=false has an error of its own. v5 messages. v6 by id, or by name; the answer has both.
Not done    nothing.
Semantics   A-09, M-11. Sources: KIP-4, KIP-322, KIP-516.
"""

from collections import Counter
from collections.abc import Sequence

from pykbroker.context import Context
from pykbroker.later import Later, when
from pykbroker.metadata import Metadata, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DeleteTopicsRequest, DeleteTopicsResponse

VERSIONS = range(1, 7)

_Result = DeleteTopicsResponse.DeletableTopicResult
_State = DeleteTopicsRequest.DeleteTopicState
_NO_ID = bytes(16)
_FIRST_WITH_STATES = 6
_FIRST_WITH_DISABLED = 3


def handle(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse | Later[DeleteTopicsResponse]:
    """All topics that can go, go in one decision; each of the others is answered by itself."""
    states = request.topics if context.api_version >= _FIRST_WITH_STATES else [_State(name=name) for name in request.topic_names]
    if not context.cluster.config.broker("delete.topic.enable"):
        supported = context.api_version >= _FIRST_WITH_DISABLED
        return _all_failed(states, ErrorCode.TOPIC_DELETION_DISABLED if supported else ErrorCode.INVALID_REQUEST)
    refused, doomed = _sorted_out(context.cluster.metadata, states)
    deleted = [_Result(name=topic.name, topic_id=topic.topic_id) for topic in doomed]
    answer = DeleteTopicsResponse(responses=refused + deleted)
    if not doomed:
        return answer
    return when(context.cluster.controller.delete_topics(doomed), lambda _: answer)


def failed(request: DeleteTopicsRequest, error: ErrorCode) -> DeleteTopicsResponse:
    """Every topic with the error."""
    return _all_failed(request.topics or [_State(name=name) for name in request.topic_names], error)


def _all_failed(states: Sequence[_State], error: ErrorCode) -> DeleteTopicsResponse:
    return DeleteTopicsResponse(responses=[_Result(name=state.name, topic_id=state.topic_id, error_code=error) for state in states])


def _sorted_out(metadata: Metadata, states: Sequence[_State]) -> tuple[list[_Result], list[Topic]]:
    """What cannot be deleted, with the reason, and what can."""
    refused: list[_Result] = []
    names = Counter(state.name for state in states if state.name is not None and state.topic_id == _NO_ID)
    ids = Counter(state.topic_id for state in states if state.name is None and state.topic_id != _NO_ID)
    for state in states:
        if state.name is None and state.topic_id == _NO_ID:
            refused.append(_refused(state.name, state.topic_id, ErrorCode.INVALID_REQUEST, "Neither a topic's name nor its id is given."))
        elif state.name is not None and state.topic_id != _NO_ID:
            refused.append(_refused(state.name, state.topic_id, ErrorCode.INVALID_REQUEST, "A topic's name and its id are both given."))
    doomed: dict[bytes, Topic] = {}
    for topic_id, times in ids.items():
        topic = metadata.topic_by_id(topic_id)
        if times > 1:
            refused.append(_refused(None, topic_id, ErrorCode.INVALID_REQUEST, "Duplicate topic id."))
        elif topic is None:
            refused.append(_refused(None, topic_id, ErrorCode.UNKNOWN_TOPIC_ID, "No topic has this id."))
        else:
            doomed[topic_id] = topic
    for name, times in names.items():
        topic = metadata.topic(name)
        if times > 1:
            refused.append(_refused(name, _NO_ID, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
        elif topic is None:
            refused.append(_refused(name, _NO_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "No topic has this name."))
        elif topic.topic_id in ids:
            doomed.pop(topic.topic_id, None)
            refused.append(_refused(name, topic.topic_id, ErrorCode.INVALID_REQUEST, "The topic is given by its name and by its id."))
        else:
            doomed[topic.topic_id] = topic
    return refused, list(doomed.values())


def _refused(name: str | None, topic_id: bytes, error: ErrorCode, message: str) -> _Result:
    return _Result(name=name, topic_id=topic_id, error_code=error, error_message=message)
