"""InitProducerId: an id for a producer that wants each of its records written once, in order (KIP-98).

Versions    0-5.
Authorizes  IdempotentWrite on the cluster, or Write on any topic; Write on the transactional id.
Waits       until the block of ids that the first one is taken from is on disk.
Notes       v3 producer_id and producer_epoch, which mean nothing without a transactional id, but must be both there or both not (I-03).
Not done    transactions: with a transactional id it is TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which every client takes for final.
Semantics   I-01 … I-03.  Sources: KIP-98, KIP-360.
"""

from pykbroker.context import Context
from pykbroker.later import Later, when
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import InitProducerIdRequest, InitProducerIdResponse

VERSIONS = range(6)

NONE_GIVEN = -1


def handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse | Later[InitProducerIdResponse]:
    """A fresh id each time, with epoch 0."""
    if request.transactional_id:
        return failed(request, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if request.transactional_id == "" or (request.producer_id == NONE_GIVEN) != (request.producer_epoch == NONE_GIVEN):
        return failed(request, ErrorCode.INVALID_REQUEST)
    return when(context.cluster.controller.allocate_producer_id(), lambda allocated: InitProducerIdResponse(producer_id=allocated))


def failed(request: InitProducerIdRequest, error: ErrorCode) -> InitProducerIdResponse:
    """The error, and no id."""
    return InitProducerIdResponse(error_code=error, producer_id=-1, producer_epoch=-1)
