"""One module per API, named as its schema file is. Nothing is registered: an API is served, and advertised, when its module is here.

A module has
    VERSIONS    the range it serves, as Kafka 4.3 does (W-08, W-10)
    handle      (context, request) -> response, or a Later of it; None where the protocol sends nothing; Close where Kafka closes
    failed      (request, error) -> the whole answer when the request as a whole failed, in the shape of every version
Its docstring is its contract, always under the same headings.
"""
