"""Clusters of several brokers: what checks need that ask one about another, and how leaders are elected among them."""

THREE = "three brokers"
"""What such checks need."""

PREFERRED, UNCLEAN = 0, 1
"""Types of elections: the first replica leads, or, where nobody in sync is left, one that may have missed something (KIP-460)."""
