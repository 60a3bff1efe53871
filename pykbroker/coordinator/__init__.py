"""Group coordinators: what they know is in `__consumer_offsets`, in Kafka's record formats, and comes back by replay."""
