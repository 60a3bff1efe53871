"""Sequences as JSON and back: only fields that are not at their default, bytes as hex, ids that are not known yet by where they will be read."""

from typing import Any

from compat.differential.steps import Answered, ProducersBatch, Step, Subscription
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.messages import Message, Struct

_KEY_BY_NAME = {api.name: key for key, api in API_BY_KEY.items()}

Json = Any


def written(step: Step) -> Json:
    """A step as JSON can hold it."""
    return {
        "number": step.number,
        "connection": step.connection,
        "api": step.api,
        "version": step.version,
        "request": _written(step.request),
        "damage": step.damage,
    }


def read(plain: Json) -> Step:
    """The step that was written."""
    message = API_BY_KEY[_KEY_BY_NAME[plain["api"]]].request
    request = _read(plain["request"], message, message)
    damage = None if plain["damage"] is None else (plain["damage"][0], plain["damage"][1])
    return Step(plain["number"], plain["connection"], plain["version"], request, damage)


def _written(value: object) -> Json:
    match value:
        case Struct():
            fresh = type(value)()
            told = ((one.name, getattr(value, one.name)) for one in value._fields)
            return {name: _written(found) for name, found in told if found != getattr(fresh, name)}
        case list():
            return [_written(one) for one in value]
        case bytes():
            return {"hex": value.hex()}
        case Answered():
            never = [] if value.never is None else [_written(value.never)]
            return {"answered": [value.step, list(value.path), _written(value.otherwise), *never]}
        case Subscription():
            return {"subscription": value.topic}
        case ProducersBatch():
            return {
                "batch": value.batch.hex(),
                "producer_id": _written(value.producer_id),
                "producer_epoch": _written(value.producer_epoch),
                "spoiled": value.spoiled,
            }
    return value


def _read(plain: Json, struct: type[Struct] | None, message: type[Message]) -> Any:
    match plain:
        case list():
            return [_read(one, struct, message) for one in plain]
        case {"hex": text, **nothing} if not nothing:
            return bytes.fromhex(text)
        case {"subscription": topic, **nothing} if not nothing:
            return Subscription(topic)
        case {"answered": [step, path, otherwise, *never]}:
            return Answered(step, tuple(path), _read(otherwise, None, message), *(_read(one, None, message) for one in never))
        case {"batch": batch, "producer_id": producer_id, "producer_epoch": epoch, "spoiled": spoiled}:
            return ProducersBatch(bytes.fromhex(batch), _read(producer_id, None, message), _read(epoch, None, message), spoiled)
        case dict() if struct is not None:
            made = struct()
            for one in made._fields:
                if one.name in plain:
                    setattr(made, one.name, _read(plain[one.name], getattr(message, one.type, None) if one.fields else None, message))
            return made
    return plain
