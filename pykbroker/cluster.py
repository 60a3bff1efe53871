"""All the state there is, and `handle`: the story of one request, from its frame to its answer.

One object, one thread, no await. The clocks, the files, the random source and the way to run work elsewhere are handed in, so a run is
reproducible from its seed, and a test needs no event loop.
"""

import logging
import sys
from typing import TYPE_CHECKING

from pykbroker.apis import ApiModule, served
from pykbroker.broker import Broker
from pykbroker.config import ResourceType, text_of
from pykbroker.context import Answer, Close, Context
from pykbroker.coordinator.groups import GroupCoordinator
from pykbroker.fetch_sessions import FetchSessions
from pykbroker.later import Later
from pykbroker.limits import MAX_ARRAY_ELEMENTS_PER_REQUEST
from pykbroker.log_directory import LogDirectory, PartitionId, topic_id_text
from pykbroker.metadata import Metadata
from pykbroker.metadata.controller import Controller
from pykbroker.metadata.log import MetadataLog
from pykbroker.produce_lane import FIRST_VERSION as FIRST_VERSION_WITH_LANES
from pykbroker.produce_lane import ProduceLanes
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decoder
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.header import API_VERSIONS, PRODUCE, RequestHeader, read_request_header, response_frame
from pykbroker.protocol.messages import ConfigRecord, Message, ProduceRequest, ProduceResponse, RemoveTopicRecord
from pykbroker.protocol.wire import Buffer, Malformed, Unencodable
from pykbroker.storage.checkpoints import META_PROPERTIES, CheckpointDamaged, read_properties, write_properties
from pykbroker.topic_names import CLUSTER_METADATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykbroker.clock import Clock
    from pykbroker.config import Configuration
    from pykbroker.context import Offload, Random
    from pykbroker.metadata import Topic
    from pykbroker.session import Session
    from pykbroker.storage.files import Files
    from pykbroker.storage.log import UnifiedLog

log = logging.getLogger("pykbroker")

Response = Message | Close | None


class Cluster:
    """The state, and the way in for requests. Nothing is served before `start`."""

    def __init__(
        self, *, clock: "Clock", waits: "Clock", files: "Files", config: "Configuration", random: "Random", offload: "Offload"
    ) -> None:
        self.clock = clock
        """The broker's own time: sessions, retention, expiry."""
        self.waits = waits
        """The time of what clients time themselves: a Fetch's max_wait_ms, a Produce's timeout_ms."""
        self.files = files
        self.config = config
        self.random = random
        self.offload = offload
        self.logs = LogDirectory(files, config, clock, offload)
        self.metadata_log = MetadataLog(files, clock, offload)
        self.broker = Broker(config.integer("node.id"), text_of(config.broker("broker.rack")))
        self.metadata = Metadata(self)
        self.controller = Controller(self)
        self.groups = GroupCoordinator(self)
        self.fetch_sessions = FetchSessions(self)
        self.room_for_records = sys.maxsize
        """How many bytes of records one Fetch may answer with; less while many answers wait for peers that do not take them."""
        self.unexpected_errors: list[BaseException] = []
        """Bugs: exceptions that nobody expected, each answered with UNKNOWN_SERVER_ERROR. A test looks at them at its end."""

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Replay what is on disk, check it where the last stop was not clean, and be ready to serve. Raises OSError, CheckpointDamaged."""
        self._identify()
        self.logs.open()
        self.metadata_log.open(clean=self.logs.was_clean, recovery_point=self.logs.recovery_point(_METADATA))
        self.logs.kept_elsewhere = lambda: {_METADATA: self.metadata_log.recovery_point}
        if self.metadata_log.is_empty:
            self.logs.insist_on_none()
        deleted: list[PartitionId] = []
        for offset, record in self.metadata_log.replay():
            if isinstance(record, RemoveTopicRecord):
                deleted += _partitions_of(self.metadata.topics_by_id[record.topic_id])
            self.replay(offset, record)
        self.logs.finish_deletions(deleted)
        self.controller.start()
        if not self.logs.was_clean:
            self.logs.open_all(self._partitions())
        self.metadata.on_topic_deleted.append(self._topic_deleted)
        self.logs.on_back.append(self._log_is_back)
        self.config.on_change.append(self._config_changed)
        self.groups.start()
        self.logs.start_housekeeping(self._partitions)

    def _partitions(self) -> list[PartitionId]:
        return [one for topic in self.metadata.topics.values() for one in _partitions_of(topic)]

    def stop(self) -> None:
        """Everything to disk, and the mark that says that the stop was clean, if it was."""
        self.groups.stop()
        self.metadata_log.close()
        self.logs.close(self.broker.epoch if self.metadata_log.offline is None else None)
        self.files.close()

    def _identify(self) -> None:
        """Who this data directory belongs to: read, or decided now and written down (Kafka's meta.properties)."""
        known = read_properties(self.files, META_PROPERTIES)
        if known is None:
            known = {
                "version": "1",
                "cluster.id": topic_id_text(self.random.randbytes(16)),
                "node.id": str(self.broker.node_id),
                "directory.id": topic_id_text(self.random.randbytes(16)),
            }
            write_properties(self.files, META_PROPERTIES, known)
        if known.get("node.id") != str(self.broker.node_id):
            raise CheckpointDamaged(
                f"The data directory belongs to node {known.get('node.id')}, not to node.id={self.broker.node_id}; "
                "set node.id to that, or use another data directory."
            )
        if not known.get("cluster.id"):
            raise CheckpointDamaged(f"{META_PROPERTIES} is damaged: it has no cluster.id.")
        self.metadata.cluster_id = known["cluster.id"]

    def replay(self, offset: int, record: Message) -> None:
        """A record of the metadata log is true from now on."""
        if isinstance(record, ConfigRecord):
            self.config.replay(record)
        self.metadata.replay(record, offset)

    def _topic_deleted(self, topic: "Topic") -> None:
        for partition in topic.partitions:
            self.logs.delete_log(topic.name, partition.index)
        self.config.forget(ResourceType.TOPIC, topic.name)

    def _log_is_back(self, log: "UnifiedLog") -> None:
        topic, _, index = log.directory.rpartition("-")
        partition = self.metadata.partition(topic, int(index))
        if partition is not None:
            partition.log_is_back(log)

    def _config_changed(self, resource_type: ResourceType, name: str) -> None:
        if resource_type == ResourceType.TOPIC:
            topic = self.metadata.topics.get(name)
            if topic is not None:
                self.logs.reconfigure((name, partition.index) for partition in topic.partitions)
        elif resource_type == ResourceType.BROKER:
            self.logs.reconfigure(list(self.logs.logs))

    # -- a request -----------------------------------------------------------------------------------------------

    def handle(self, session: "Session", frame: Buffer) -> Answer | Later[Answer | Close | None] | Close | None:
        """One request in; what goes back out, now or later. None: the protocol sends nothing. `frame` is without its size."""
        try:
            if session.shortcut is not None and (answer := session.shortcut(frame)) is not None:
                return answer
            header, body = read_request_header(frame)
            module = served(header.api_key)
            if module is None or header.api_version not in module.VERSIONS:
                return self._unserved(header)
            request_class = API_BY_KEY[header.api_key].request
            request, behind = decoder(request_class, header.api_version)(frame, body, MAX_ARRAY_ELEMENTS_PER_REQUEST)
        except Malformed as error:
            return Close(f"malformed request: {error}")
        context = Context(self, session, header.api_version, header.client_id)
        response = self._respond(module, context, request)
        if isinstance(response, Later):
            return self._answer_later(header, module, request, response)
        answered = self._answer(header, module, request, response)
        if header.api_key == PRODUCE and header.api_version >= FIRST_VERSION_WITH_LANES and behind == len(frame):
            self._open_lane(session, frame, header, request, response, answered)
        return answered

    def _open_lane(
        self,
        session: "Session",
        frame: Buffer,
        header: RequestHeader,
        request: Message,
        response: Response,
        answer: Answer | Close | None,
    ) -> None:
        """A Produce was answered at once: the next one like it goes a shorter way."""
        if isinstance(answer, list) and isinstance(request, ProduceRequest) and isinstance(response, ProduceResponse):
            lanes = session.shortcut
            if not isinstance(lanes, ProduceLanes):
                lanes = session.shortcut = ProduceLanes(self, session)
            lanes.open(frame, request, response, header, answer)

    def _unserved(self, header: RequestHeader) -> Answer | Close:
        """An API or version that is not served closes the connection; only ApiVersions says what would be (KIP-511, W-01 to W-03)."""
        if header.api_key == API_VERSIONS:
            from pykbroker.apis.api_versions import unsupported_version

            return response_frame(unsupported_version(), 0, header.correlation_id)
        return Close(f"API key {header.api_key} version {header.api_version} is not served")

    def _respond(self, module: ApiModule, context: Context, request: Message) -> Response | Later[Response]:
        try:
            return module.handle(context, request)
        except Exception as error:  # noqa: BLE001 - law 3: one bad request hurts nobody else
            return self._failed(module, request, error)

    def _failed(self, module: ApiModule, request: Message, error: BaseException) -> Response:
        """The answer in place of one that failed: an expected fault has its code, anything else is a bug and is kept for who asks."""
        if isinstance(error, KafkaError):
            return module.failed(request, error.error_code)
        self.report(error, f"{type(request).__name__} failed unexpectedly")
        return module.failed(request, ErrorCode.UNKNOWN_SERVER_ERROR)

    def report(self, error: BaseException, what: str) -> None:
        """A bug came to light: it is logged with its traceback, and kept for a test to find."""
        log.error("%s", what, exc_info=error)
        if len(self.unexpected_errors) < _MOST_KEPT_ERRORS:
            self.unexpected_errors.append(error)

    def _answer(self, header: RequestHeader, module: ApiModule, request: Message, response: Response) -> Answer | Close | None:
        """The response as a frame. One that cannot be encoded is a bug, and answered as any other bug; where not even that can be said, it closes."""
        if response is None or isinstance(response, Close):
            return response
        try:
            return response_frame(response, header.api_version, header.correlation_id)
        except Unencodable as error:
            instead = self._failed(module, request, error)
        if instead is None or isinstance(instead, Close):
            return instead
        try:
            return response_frame(instead, header.api_version, header.correlation_id)
        except Unencodable as error:
            self.report(error, f"the answer to a failed {type(request).__name__} cannot be encoded either")
            return Close(f"the answer to a {type(request).__name__} cannot be encoded")

    def _answer_later(
        self, header: RequestHeader, module: ApiModule, request: Message, response: Later[Response]
    ) -> Answer | Later[Answer | Close | None] | Close | None:
        answer: Later[Answer | Close | None] = Later()
        answer.overlaps = response.overlaps
        settle: Callable[[Response], None] = lambda settled: answer.settle(self._answer(header, module, request, settled))  # noqa: E731
        response.then(settle, lambda error: settle(self._failed(module, request, error)))
        return answer.value if answer.settled else answer


def _partitions_of(topic: "Topic") -> list[PartitionId]:
    return [(topic.name, partition.index, topic.topic_id) for partition in topic.partitions]


_MOST_KEPT_ERRORS = 100
_METADATA = (CLUSTER_METADATA, 0)
