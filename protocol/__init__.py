"""The wire: Kafka's messages, headers, error codes, record batches. Knows nothing of brokers, sockets or time."""
