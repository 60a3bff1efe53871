"""The command line: `serve` runs a broker, the other commands do a person's everyday jobs on any broker, Apache Kafka's included."""
