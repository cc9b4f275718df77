import asyncio
import socket
from pathlib import Path

import pytest

from banyan.core.errors import BusyError, ConfigError, FileError, SafetyError
from banyan.serve.listening import TlsFiles, check_exposure, is_loopback, listen, url_of


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_strangers_reach_needs_keys_and_tls(host: str) -> None:
    with pytest.raises(SafetyError) as caught:
        check_exposure(host, no_auth=True, has_tls=True, insecure=True)
    assert caught.value.exit_code == 12
    with pytest.raises(SafetyError):
        check_exposure(host, no_auth=False, has_tls=False, insecure=False)
    check_exposure(host, no_auth=False, has_tls=True, insecure=False)
    check_exposure(host, no_auth=False, has_tls=False, insecure=True)


def test_loopback_is_told_from_the_rest() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "192.0.2.1"))


def test_an_address_that_is_not_ours_is_refused_in_one_line() -> None:
    for host, port in (("192.0.2.1", 0), ("no.such.host.invalid", 0), ("127.0.0.1", 70_000)):
        with pytest.raises(ConfigError):
            listen(host, port).close()


def test_tls_files_that_are_no_pair_are_refused_in_one_line(tmp_path: Path) -> None:
    tls = TlsFiles(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    with pytest.raises(FileError, match="cert.pem not found"):
        tls.check()
    tls.certificate.write_text("no certificate")
    tls.key.write_text("no key")
    with pytest.raises(ConfigError, match="cannot be used for TLS"):
        tls.check()


def test_the_url_is_what_a_person_types() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener, has_tls=False) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert url_of(listener, has_tls=True).startswith("https://")


def test_a_port_that_somebody_listens_on_is_busy() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(BusyError) as caught:
        listen("127.0.0.1", taken.getsockname()[1])
    assert caught.value.hint is not None and "--port" in caught.value.hint


def test_the_body_of_an_answer_does_not_wait_for_the_head_to_be_acknowledged() -> None:
    async def accepted_without_delay() -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            accepted.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listen("127.0.0.1", 0)
        async with await asyncio.start_server(connected, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return await accepted

    assert asyncio.run(accepted_without_delay())
