"""The broker's loggers and their levels under Kafka's names: `root` is `pykbroker`, the root of ours, never Python's own.

Python keeps loggers for the whole process, so brokers that share one share their levels, as they do in a Java process.
"""

import logging
from collections.abc import Mapping

from pykbroker.protocol.errors import ErrorCode, KafkaError

ROOT = "root"

_LEVELS = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
_OURS = "pykbroker"


def logger_levels() -> Mapping[str, str]:
    """Every logger there is, with the level that holds for it."""
    names = sorted(name for name in logging.Logger.manager.loggerDict if name == _OURS or name.startswith(_OURS + "."))
    levels = {ROOT: _level_name(_logger(ROOT))}
    return levels | {name: _level_name(_logger(name)) for name in names if name != _OURS}


def check_level(name: str, level: str | None) -> None:
    """Whether a logger exists and may have a level; None: it may lose its own. Raises KafkaError (K-13)."""
    if name not in logger_levels():
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"There is no logger {name}.")
    if level is None:
        if name == ROOT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "The root logger always has a level.")
    elif level not in _LEVELS:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"{level} is no log level for {name}; there are {', '.join(sorted(_LEVELS))}.")


def set_level(name: str, level: str | None) -> None:
    """Give a logger a level, or let it follow the root again; both were checked."""
    _logger(name).setLevel(logging.NOTSET if level is None else _LEVELS[level])


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(_OURS if name == ROOT else name)


def _level_name(logger: logging.Logger) -> str:
    level = logger.getEffectiveLevel()
    return next((name for name, number in reversed(_LEVELS.items()) if level >= number), "TRACE")
