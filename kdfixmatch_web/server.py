"""Listening: a socket, the guard before the application, and the address to open."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from kdfixmatch_web.guard import Guard, fresh_token


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: Name or address of this machine.
        port: The port, 0 for one that is free.

    Raises:
        ValueError: There is no such address here, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        cause = error.strerror or str(error)
        raise ValueError(
            "`host` and `port` must be an address of this machine that is free. "
            f"Received: {host}, port {port} ({cause}). Port 0 takes a free one."
        ) from error
    return listening


def written_out(host: str, listening: socket.socket) -> str:
    """A host as browsers write it: of numbers, `0` and `127.1` are short for others.

    Args:
        host: What `listen` was asked for.
        listening: What it returned.
    """
    if any(letter.isalpha() for letter in host):
        return host
    return str(listening.getsockname()[0])


def serve(
    app: ASGIApp, listening: socket.socket, host: str, ready: Callable[[str], None]
) -> None:
    """Answers until the process is asked to end.

    Args:
        app: What answers.
        listening: What `listen` returned.
        host: What it listens at.
        ready: Called with the address that a user has to open.
    """
    port = listening.getsockname()[1]
    guard = Guard(app, fresh_token(), port, host)
    config = uvicorn.Config(
        guard,
        # Its log would have the token.
        access_log=False,
        # What is no request is of no interest to who labels.
        log_level="error",
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
    )
    ready(f"http://{_name(host)}:{port}/?token={guard.token}")
    uvicorn.Server(config).run(sockets=[listening])


def _name(host: str) -> str:
    """What a browser on this machine calls a host."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
