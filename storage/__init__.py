"""The log: batches appended, found again by offset or time, flushed, recovered, cleaned. Knows nothing of the network."""
