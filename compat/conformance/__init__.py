"""How Apache Kafka behaves, as checks over the raw protocol that any broker can be put to: `pykbroker compat --bootstrap HOST:PORT`.

A check states what it sends and what it expects, makes its own topics and groups, takes them away afterwards, and runs in any order. It must pass on
Apache Kafka before it may count against anybody.
"""
