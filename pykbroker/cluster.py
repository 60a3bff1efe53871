"""All the state there is, and `handle`: the story of one request, from its frame to its answer.

One object, one thread, no await. The clocks, the files, the random source and the way to run work elsewhere are handed in, so a run is
reproducible from its seed, and a test needs no event loop.
"""

import logging
from collections.abc import Callable

from pykbroker.apis import ApiModule, served
from pykbroker.context import Answer, Close, Context
from pykbroker.later import Later
from pykbroker.limits import MAX_ARRAY_ELEMENTS_PER_REQUEST
from pykbroker.node import Node
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decoder
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.header import API_VERSIONS, RequestHeader, read_request_header, response_frame
from pykbroker.protocol.messages import Message
from pykbroker.protocol.wire import Buffer, Malformed
from pykbroker.session import Session

log = logging.getLogger("pykbroker")

Response = Message | Close | None


class Cluster(Node):
    """The broker's state (see Node), and the way in for requests."""

    def handle(self, session: Session, frame: Buffer) -> Answer | Later[Answer | Close | None] | Close | None:
        """One request in; what goes back out, now or later. None: the protocol sends nothing. `frame` is without its size."""
        try:
            header, body = read_request_header(frame)
            module = served(header.api_key)
            if module is None or header.api_version not in module.VERSIONS:
                return self._unserved(header)
            request_class = API_BY_KEY[header.api_key].request
            request, _ = decoder(request_class, header.api_version)(frame, body, MAX_ARRAY_ELEMENTS_PER_REQUEST)
        except Malformed as error:
            return Close(f"malformed request: {error}")
        context = Context(self, session, header.api_version, header.client_id)
        response = self._respond(module, context, request)
        if isinstance(response, Later):
            return self._answer_later(header, module, request, response)
        return self._answer(header, response)

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
        log.error("%s failed unexpectedly", type(request).__name__, exc_info=error)
        self.unexpected_errors.append(error)
        return module.failed(request, ErrorCode.UNKNOWN_SERVER_ERROR)

    def _answer(self, header: RequestHeader, response: Response) -> Answer | Close | None:
        if response is None or isinstance(response, Close):
            return response
        return response_frame(response, header.api_version, header.correlation_id)

    def _answer_later(
        self, header: RequestHeader, module: ApiModule, request: Message, response: Later[Response]
    ) -> Answer | Later[Answer | Close | None] | Close | None:
        answer: Later[Answer | Close | None] = Later()
        answer.overlaps = response.overlaps
        settle: Callable[[Response], None] = lambda settled: answer.settle(self._answer(header, settled))  # noqa: E731
        response.then(settle, lambda error: settle(self._failed(module, request, error)))
        return answer.value if answer.settled else answer
