"""Which APIs there are: number, name, and the classes of its request and response. Nothing is read or compiled before it is asked for."""

from collections.abc import Iterator, Mapping
from functools import cached_property

from pykbroker.protocol import messages
from pykbroker.protocol.definitions import api_files, definitions_in
from pykbroker.protocol.messages import Message


class Api:
    """One API of Kafka's protocol."""

    def __init__(self, key: int, file_name: str) -> None:
        self.key = key
        self.module_name = file_name
        """Its name as files have it: `list_offsets`."""

    @cached_property
    def name(self) -> str:
        """Its name as Kafka has it: `ListOffsets`."""
        return self.request.SCHEMA.name.removesuffix("Request")

    @cached_property
    def request(self) -> type[Message]:
        """The class of its request."""
        return self._message("Request")

    @cached_property
    def response(self) -> type[Message]:
        """The class of its response."""
        return self._message("Response")

    def _message(self, suffix: str) -> type[Message]:
        names = definitions_in(f"{self.key:02d}_{self.module_name}.kmsg")
        made: type[Message] = getattr(messages, next(name for name in names if name.endswith(suffix)))
        return made


class _Apis(Mapping[int, Api]):
    """API key -> Api, for every API that Kafka's definitions have."""

    @cached_property
    def _all(self) -> dict[int, Api]:
        return {key: Api(key, name) for key, name in sorted(api_files().items())}

    def __getitem__(self, key: int) -> Api:
        return self._all[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


API_BY_KEY: Mapping[int, Api] = _Apis()
