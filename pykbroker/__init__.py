"""A server that speaks Apache Kafka's wire protocol, in Python."""

__version__ = "0.1.0.dev0"
