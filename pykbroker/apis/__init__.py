"""One module per API, named as its schema file is. Nothing is registered: an API is served, and advertised, when its module is here.

A module has
    VERSIONS    the range it serves, as Kafka 4.3 does (W-08, W-10)
    handle      (context, request) -> response, or a Later of it; None where the protocol sends nothing; Close where Kafka closes
    failed      (request, error) -> the whole answer when the request as a whole failed, in the shape of every version
Its docstring is its contract, always under the same headings.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Protocol, cast

from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import Message

if TYPE_CHECKING:
    from pykbroker.context import Close, Context
    from pykbroker.later import Later


class ApiModule(Protocol):
    """What `pykbroker.apis.NAME` looks like."""

    VERSIONS: range

    def handle(self, context: "Context", request: Message, /) -> "Message | Close | Later[Message | Close | None] | None":
        """Answer a request."""

    def failed(self, request: Message, error: ErrorCode, /) -> "Message | Close | None":
        """The whole answer when the request as a whole failed."""


@cache
def served_names() -> dict[int, str]:
    """API key -> module name, of every API that is served, in ascending order of the keys."""
    present = {module.name for module in iter_modules(__path__)}
    return {key: api.module_name for key, api in API_BY_KEY.items() if api.module_name in present}


@cache
def served(api_key: int) -> "ApiModule | None":
    """The module that serves an API, imported when it is first asked for; None where nobody does."""
    name = served_names().get(api_key)
    return None if name is None else cast("ApiModule", import_module(f"{__name__}.{name}"))
