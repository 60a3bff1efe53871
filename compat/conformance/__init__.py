"""How Apache Kafka behaves, as checks over the raw protocol that any broker can be put to: `pykbroker compat --bootstrap HOST:PORT`.

A check states what it sends and what it expects, makes its own topics and groups, takes them away afterwards, and runs in any order. It must pass on
Apache Kafka before it may count against anybody.

`sections` has the checks, and `steps` what they are written in. What puts a broker to them stands here: `command` is the way in, `runner` runs what
`check` has found, `report` shows it. A check sees the broker as a `target`, or over a raw `connection`, and says with `expectations` what it expects.
"""
