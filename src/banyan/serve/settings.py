"""What a server allows, in one frozen place."""

from __future__ import annotations

from banyan.core.config import config


@config
class ServerSettings:
    """Limits and switches of one server process; the defaults suit one machine."""

    needs_key: bool = True  # False only on a loopback address
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")  # Host headers answered without a key
    max_body_bytes: int = 1_048_576
    max_header_bytes: int = 32_768
    max_headers: int = 100
    header_seconds: float = 5.0  # until all headers have arrived
    body_seconds: float = 10.0  # until the whole body has arrived
    answer_seconds: float = 120.0  # from the accepted request to the whole answer
    send_seconds: float = 30.0  # until a client has taken one piece of a stream
    search_seconds: float = 5.0  # until a search through what is stored gives what it has found by then
    drain_seconds: float = 30.0  # for answers still being written when the server is told to stop
    ping_seconds: float = 10.0  # of silence in a stream, before a comment keeps the connection open
    progress_seconds: float = 1.0  # between two notes of a growing answer
    max_requests: int = 64  # answered at the same time; more are told to come back
    max_completion_tokens: int = 512  # of an answer whose request names no limit
