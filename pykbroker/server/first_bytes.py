"""Something that does not speak Kafka came to a Kafka port: its first bytes say what it is, and one sentence says it to a person."""

_HTTP_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")


def what_speaks(first_bytes: bytes, size: int, max_request_bytes: int) -> str:
    """Why a connection that begins a request with `first_bytes`, which would be a size of `size`, is closed."""
    if first_bytes.startswith(_HTTP_METHODS):
        return (
            "speaks HTTP; this port speaks Kafka's own protocol, which a browser, curl or a health check cannot: give it to a Kafka client"
        )
    if first_bytes[:2] == b"\x16\x03":
        return "begins with a TLS handshake; this port is plaintext: set security.protocol=PLAINTEXT in the client"
    if first_bytes.startswith(b"SSH-"):
        return "speaks SSH; this port speaks Kafka's own protocol"
    if size > max_request_bytes:
        return f"announces a request of {size} bytes; socket.request.max.bytes={max_request_bytes} is the limit"
    return f"announces a request of {size} bytes, which no Kafka client does"
