"""The same requests to Apache Kafka and to pykbroker, and every difference between their answers."""
