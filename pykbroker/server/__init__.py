"""Sockets, threads and the wall clock: everything around the core that is not itself deterministic lives in this package.

`listening.Server` accepts connections, `connection.Connection` turns bytes into frames and answers into bytes, `buffers` lends
the memory for both, `surroundings` are the real clock and the real threads, and `running.RunningBroker` puts a whole broker together.
"""
