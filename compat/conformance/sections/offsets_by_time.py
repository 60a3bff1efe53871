"""L: ListOffsets, OffsetForLeaderEpoch, DeleteRecords."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect
from pykbroker.compat.target import LATEST, Target
from pykbroker.protocol.errors import ErrorCode


@check("L-02", api="ListOffsets", versions="1-11")
def latest_is_the_end_of_the_log(target: Target, version: int) -> None:
    """Given records 0-2 in two batches, LATEST answers offset 3 and timestamp -1, whatever the last batch's base is. KIP-79."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b"])
    target.produce(topic, [b"c"])

    latest = target.list_offsets(topic, timestamp=LATEST, version=version)

    expect(latest, error_code=ErrorCode.NONE, offset=3, timestamp=-1)
