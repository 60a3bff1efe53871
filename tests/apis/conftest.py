"""A client of the data APIs without a socket: it creates topics, produces and fetches in any version, and sees what waits."""

import pytest

from pykbroker.context import Close
from pykbroker.later import Later
from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.messages import FetchRequest, ListOffsetsRequest, ProduceRequest
from pykbroker.protocol.records import BatchProperties, NewRecord, batches, build_batch
from pykbroker.session import Session

ONE_RECORD = b"a batch with one record"
UNKNOWN_ID = b"\x01" * 16


class Waiting:
    """A request that is not answered yet, or was answered meanwhile."""

    def __init__(self, later, decode):
        self.later = later
        self.decode = decode

    @property
    def is_answered(self):
        return self.later.settled

    @property
    def response(self):
        return self.decode(self.later.value)


class DataClient:
    """Speaks with one cluster over one session, whose clocks stand still unless a test advances them."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.session = Session(cluster.broker)
        self.client_id = "a-test"

    def create(self, name, partitions=1, **configs):
        configs = {key.replace("_", "."): str(value) for key, value in configs.items()}
        made = self.cluster.controller.create_topics([NewTopic(name, partitions, 1, configs=configs)])
        self.cluster.waits.advance()  # one with very many partitions is made in slices
        (created,) = made.value if isinstance(made, Later) else made
        assert created.name == name
        return name

    def delete(self, name):
        self.cluster.controller.delete_topics([self.cluster.metadata.topics[name]])

    def partition(self, name, index=0):
        return self.cluster.metadata.partition(name, index)

    def topic_id(self, name):
        topic = self.cluster.metadata.topics.get(name)
        return UNKNOWN_ID if topic is None else topic.topic_id

    def send(self, request, version):
        """The answer, decoded; a Close; None where nothing is sent; Waiting where the answer comes later."""
        frame = bytearray(b"".join(request_frame(request, version, 7, self.client_id))[4:])

        def decode(answer):
            if answer is None or isinstance(answer, Close):
                return answer
            return read_response(API_BY_KEY[request.API_KEY].response, version, b"".join(answer)[4:])[1]

        answer = self.cluster.handle(self.session, memoryview(frame))
        frame[:] = bytes(len(frame))  # the server reads its next frame into the same buffer
        return Waiting(answer, decode) if isinstance(answer, Later) else decode(answer)

    def another_connection(self):
        """The same client, or another one, by another door."""
        return DataClient(self.cluster)

    # -- produce -------------------------------------------------------------------------------------------------

    def batch(self, count=1, *, size=10, timestamp=None, key=b"k", **properties):
        first = self.cluster.clock.now_ms if timestamp is None else timestamp
        records = [NewRecord(b"v" * size, key, timestamp=first + number) for number in range(count)]
        return build_batch(records, BatchProperties(**properties))

    def produce_request(self, topic, records, *, version=11, acks=-1, transactional_id=None):
        """`records` by partition."""
        by_id = version >= 13
        return ProduceRequest(
            acks=acks,
            timeout_ms=1000,
            transactional_id=transactional_id,
            topic_data=[
                ProduceRequest.TopicProduceData(
                    name="" if by_id else topic,
                    topic_id=self.topic_id(topic) if by_id else bytes(16),
                    partition_data=[ProduceRequest.PartitionProduceData(index=index, records=data) for index, data in records],
                )
            ],
        )

    def produce(self, topic, records=ONE_RECORD, *, partition=0, version=11, acks=-1):
        """Produce to one partition; its answer."""
        data = [(partition, self.batch() if records is ONE_RECORD else records)]
        response = self.send(self.produce_request(topic, data, version=version, acks=acks), version)
        if response is None or isinstance(response, (Close, Waiting)):
            return response
        return response.responses[0].partition_responses[0]

    # -- fetch ---------------------------------------------------------------------------------------------------

    def fetch_request(self, partitions, *, version=12, max_wait_ms=0, forget=(), **fields):
        """`partitions` as (topic, index, offset) or (topic, index, offset, {field: value}), `forget` as (topic, indexes)."""
        by_id = version >= 13
        topics = [
            FetchRequest.FetchTopic(
                topic="" if by_id else name,
                topic_id=self.topic_id(name) if by_id else bytes(16),
                partitions=[
                    FetchRequest.FetchPartition(
                        **{"partition": index, "fetch_offset": offset, "partition_max_bytes": 1 << 20, **(more[0] if more else {})}
                    )
                ],
            )
            for name, index, offset, *more in partitions
        ]
        forgotten = [
            FetchRequest.ForgottenTopic(
                topic="" if by_id else name, topic_id=self.topic_id(name) if by_id else bytes(16), partitions=list(indexes)
            )
            for name, indexes in forget
        ]
        defaults = {"min_bytes": 1, "max_bytes": 1 << 25, "session_epoch": -1}
        return FetchRequest(topics=topics, forgotten_topics_data=forgotten, max_wait_ms=max_wait_ms, **{**defaults, **fields})

    def fetch(self, *partitions, version=12, **fields):
        return self.send(self.fetch_request(partitions, version=version, **fields), version)

    @staticmethod
    def told(response):
        """(topic, partition, error, offsets of the batches) of each partition in an answer, in its order."""
        return [
            (topic.topic, one.partition_index, one.error_code, [batch.base_offset for batch in batches(one.records)])
            for topic in response.responses
            for one in topic.partitions
        ]

    # -- offsets -------------------------------------------------------------------------------------------------

    def offset(self, topic, timestamp, *, partition=0, version=11, **fields):
        """Where that timestamp stands: the answer for one partition."""
        wanted = ListOffsetsRequest.ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
        request = ListOffsetsRequest(
            **{"replica_id": -1, **fields}, topics=[ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[wanted])]
        )
        return self.send(request, version).topics[0].partitions[0]


@pytest.fixture
def start(new_cluster):
    """Start a cluster, and give a client of it."""
    return lambda *args, **kwargs: DataClient(new_cluster(*args, **kwargs))


@pytest.fixture
def client(start):
    return start()
