"""What checks are written in: a user, a right, a config, a group's member, a transaction, a batch, each in a line or two.

Whatever a step makes for a check, it takes away after the check. It expects nothing of a broker but what it says; what a broker ought to do
stands in the checks.
"""
