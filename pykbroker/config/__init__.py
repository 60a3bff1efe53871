"""Kafka's configs: what they are, which values they may have, what is configured, and what a request to change them comes to.

`definitions` reads Kafka's configs from `tables`. `properties` collects what is given at the start, `start_rules` refuses what cannot be
served, `configuration` holds what is in effect. While the broker runs, `changes` turns requests into records, under the laws of `rules`
and `broker_rules`; `description` is how a configuration is told to clients, and `page` writes docs/CONFIGS.md.
"""

from pykbroker.config.configuration import Configuration, TopicConfig
from pykbroker.config.definitions import ResourceType, text_of
from pykbroker.config.start_rules import ConfigError

__all__ = ["ConfigError", "Configuration", "ResourceType", "TopicConfig", "text_of"]
