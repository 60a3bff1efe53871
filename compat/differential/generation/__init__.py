"""How sequences are made: a seed decides everything. Each module knows the requests about one thing."""
