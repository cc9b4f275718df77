"""The address a server listens on: taken at once, so that a port in use is known before any model is loaded."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from banyan.core.errors import BusyError, ConfigError, FileError, SafetyError

_BACKLOG = 512


def check_exposure(host: str, *, no_auth: bool, has_tls: bool, insecure: bool) -> None:
    """Refuse an address where strangers could read along or come in.

    Raises: SafetyError (exit code 12); ConfigError if the host is unknown.
    """
    if is_loopback(host):
        return
    if no_auth:
        raise SafetyError(
            f"refusing to listen on {host} with --no-auth: anybody could use this server.",
            hint="leave out --no-auth, or listen on 127.0.0.1",
        )
    if not has_tls and not insecure:
        raise SafetyError(
            f"refusing to listen on {host} without TLS: keys and texts could be read on the way.",
            hint="give --ssl-certfile and --ssl-keyfile, or --insecure behind a proxy that encrypts",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Raises: ConfigError if the host is unknown.
    """
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for _, address in _addresses(host, 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsFiles:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Try them out before anything else is started.

        Raises: FileError if one cannot be read; ConfigError if they are no certificate and key, or no pair.
        """
        for path in (self.certificate, self.key):
            if not path.is_file():
                raise FileError(f"{path} not found.", hint="TLS needs a certificate and its key as PEM files")
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.certificate, self.key)
        except OSError as error:
            what = f"{self.certificate} and {self.key}"
            raise ConfigError(f"{what} cannot be used for TLS: {error.strerror or error}.") from error


def listen(host: str, port: int) -> socket.socket:
    """Take an address; connections wait until somebody serves them.

    Raises: BusyError (exit code 8) if the port is in use; ConfigError if there is no such address.
    """
    family, _ = _addresses(host, port)[0]
    # The protocol is named, or asyncio leaves Nagle's algorithm on: the body of an answer then waits some 40 ms for the
    # client to acknowledge the head (measured on Linux, over loopback).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # a bound port is only ours once it listens
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise BusyError(f"port {port} on {host} is in use.", hint=f"choose another: --port {port + 1}") from error
        raise ConfigError(f"cannot listen on {host} port {port}: {error}.") from error
    return listener


def url_of(listener: socket.socket, *, has_tls: bool) -> str:
    """Return the address of a listening socket as a person types it."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"{'https' if has_tls else 'http'}://{shown}:{port}"


def _addresses(host: str, port: int) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigError(f"host {host!r} port {port} is not an address of this machine.") from error
    return [(family, str(address[0])) for family, _, _, _, address in found]
