"""Requests that get no response: the message, and when they end. Real sockets on loopback."""

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sync.clients.errors import RetryNextRunError, RunStoppedError, SyncError
from sync.clients.github import GitHubClient
from sync.clients.transport import Timing

Serve = Callable[[Callable[[socket.socket], object]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve each connection with a function. Returns the URL."""
    closing = threading.Event()
    with ExitStack() as stack:

        def start(handle: Callable[[socket.socket], object]) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(0.1)
            threads: list[threading.Thread] = []

            def run(connected: socket.socket) -> None:
                with connected, suppress(OSError):
                    handle(connected)
                    closing.wait(30)

            def accept() -> None:
                while not closing.is_set():
                    with suppress(TimeoutError):
                        threads.append(threading.Thread(target=run, args=(listener.accept()[0],)))
                        threads[-1].start()
                for thread in threads:
                    thread.join()

            acceptor = threading.Thread(target=accept)
            acceptor.start()
            stack.callback(acceptor.join)
            stack.callback(closing.set)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start


def get(url: str, *, total: float = 60, read: float = 20, stopping: threading.Event | None = None) -> str:
    """The message of the error with which a request ends."""
    timing = Timing(connect=5, read=read, total=total, retry=0.001)
    with pytest.raises(SyncError) as caught:
        GitHubClient(url, "gh-secret", requests_per_minute=1_000_000, timing=timing, stopping=stopping).get_account(
            "ada"
        )
    return str(caught.value)


def close_with_reset(connected: socket.socket) -> None:
    connected.recv(65536)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connected.close()


def free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_refused_connection_is_named() -> None:
    url = free_url()

    assert f"{url.removeprefix('http://')} refused the connection" in get(url)


def test_a_host_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)

    assert "the host name of github.invalid was not found (DNS)" in get("https://github.invalid")


def test_a_server_that_does_not_respond_is_named(serve: Serve) -> None:
    assert "did not respond in time" in get(serve(lambda connected: None), read=0.1)


def test_a_reset_connection_is_named(serve: Serve) -> None:
    assert "closed the connection" in get(serve(close_with_reset))


def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        message = get(f"https://127.0.0.1:{server.server_port}")
        server.shutdown()

    assert f"the certificate of 127.0.0.1:{server.server_port} is not trusted: self-signed certificate" in message
    assert "REQUESTS_CA_BUNDLE" in message


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy asks for a user name and a password"),
        (b"", "the proxy (see HTTPS_PROXY)"),
    ],
)
def test_trouble_with_a_proxy_is_named_without_its_login(
    response: bytes, expected: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connected: socket.socket) -> None:
        connected.recv(65536)
        connected.sendall(response)
        connected.close()

    proxy = serve(refuse) if response else free_url()
    monkeypatch.setenv("HTTPS_PROXY", proxy.replace("http://", "http://user:proxy-secret@"))
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")

    message = get("https://api.github.test")

    assert expected in message
    assert "proxy-secret" not in message


def trickle(first: bytes, each: bytes) -> Callable[[socket.socket], None]:
    """Send the beginning, then one piece at a time, always before the read timeout."""

    def handle(connected: socket.socket) -> None:
        connected.recv(65536)
        connected.sendall(first)
        while True:
            connected.sendall(each)
            time.sleep(0.05)

    return handle


TRICKLES = {
    "status line": trickle(b"H", b"T"),
    "headers": trickle(b"HTTP/1.1 200 OK\r\nx-a: ", b"a"),
    "many headers": trickle(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "body": trickle(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n[", b" "),
    "body without length": trickle(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n[", b" "),
    "chunks": trickle(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("kind", TRICKLES)
def test_a_response_that_trickles_ends_after_the_total_timeout(kind: str, serve: Serve) -> None:
    assert "no complete response within 0.1 s" in get(serve(TRICKLES[kind]), total=0.1)


@pytest.mark.parametrize("kind", TRICKLES)
def test_a_response_that_trickles_does_not_keep_a_run_from_stopping(
    kind: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the limit after the stop, the request would go on for ten minutes."""
    monkeypatch.setattr("sync.clients.session.STOP_GRACE_SECONDS", 0.1)
    stopping = threading.Event()
    url = serve(TRICKLES[kind])
    threading.Timer(0.2, stopping.set).start()

    timing = Timing(connect=5, read=20, total=600, retry=0.001)
    with pytest.raises((RunStoppedError, RetryNextRunError)):
        GitHubClient(url, "", timing=timing, stopping=stopping).get_account("ada")
