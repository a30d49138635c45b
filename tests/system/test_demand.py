"""Sockets on demand: who is not needed does not run, and no client is ever refused."""

import os
import socket
from contextlib import suppress

import pytest

from supervised import Supervised, wait_for

ECHO = """
import socket, sys
listener = socket.socket(fileno=0)
if listener.type == socket.SOCK_DGRAM:
    while True:
        data, peer = listener.recvfrom(100)
        listener.sendto(b"echo " + data, peer)
while True:
    client, _ = listener.accept()
    data = client.recv(100)
    if data == b"die":
        sys.exit(1)
    if data == b"done":
        client.sendall(b"bye")
        sys.exit(0)
    client.sendall(b"echo " + data)
    if data == b"stay":
        client.recv(100)
    client.close()
"""


@pytest.fixture(params=[False, True], ids=["process", "namespace"])
def namespace(request):
    return request.param


@pytest.fixture
def echo(tmp_path):
    """Text of a service that echoes on its socket."""
    os.chmod(tmp_path, 0o755)
    (tmp_path / "echo.py").write_text(ECHO)
    return f"start = /usr/bin/python3 {tmp_path}/echo.py\nrestart-delay = 10ms\non-demand = yes\n"


def free_port(family, kind):
    with socket.socket(family, kind) as s:
        s.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return s.getsockname()[1]


def ask(address, text, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(60)
        s.connect(address)
        s.send(text)
        return s.recv(100)


def processor_ticks(pid):
    """Hundredths of a second that a process has run."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rpartition(") ")[2].split()
    return int(words[11]) + int(words[12])


@pytest.mark.parametrize("words, family, kind, host", [
    ("tcp 127.0.0.1:{port}", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
    ("tcp 0.0.0.0:{port}", socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
    ("tcp [::1]:{port}", socket.AF_INET6, socket.SOCK_STREAM, "::1"),
    ("udp 127.0.0.1:{port}", socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
    ("udp [::1]:{port}", socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
    ("unix {path}", socket.AF_UNIX, socket.SOCK_STREAM, None),
])  # fmt: skip
def test_the_first_client_starts_it_and_it_is_stopped_unused(namespace, echo, tmp_path, words, family, kind, host):
    port = free_port(family, kind) if host else None
    listen = words.format(port=port, path=tmp_path / "echo.sock")
    address = (host, port) if host else str(tmp_path / "echo.sock")
    services = {"echo": f"{echo}listen = {listen}\nidle-stop = 300ms\n", "above": "start = /bin/sleep 1000000\nrequires = echo\n"}
    with Supervised(services, "above", namespace) as s:
        above = s.wait_state("above", "ready")
        assert s.status("echo")["state"] == "listening" and s.status("echo")["starts"] == 0
        assert ask(address, b"hello", family, kind) == b"echo hello"
        assert s.status("echo")["starts"] == 1
        s.wait_state("echo", "listening")
        assert ask(address, b"again", family, kind) == b"echo again"
        assert s.status("echo")["starts"] == 2
        # Nobody who stands on it has noticed.
        assert s.status("above")["pid"] == above["pid"] and s.status("above")["starts"] == 1
        assert "echo: stopped" not in s.messages()


def test_a_client_that_stays_keeps_it_running(namespace, echo):
    port = free_port(socket.AF_INET, socket.SOCK_STREAM)
    services = {"echo": f"{echo}listen = tcp 127.0.0.1:{port}\nidle-stop = 100ms\n", "clock": "start = /bin/sleep 1\nrestart-delay = 1ms\n"}
    with Supervised(services, "echo clock", namespace) as s:
        s.wait_state("echo", "listening")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.send(b"stay")
            assert client.recv(100) == b"echo stay"
            # Many idle times pass, by another service's clock; one more client waits in the queue, which is no
            # reason for anybody to turn round and round.
            with socket.create_connection(("127.0.0.1", port), timeout=60):
                before = processor_ticks(s.main_pid())
                wait_for("the clock", lambda: s.status("clock")["starts"] >= 4)
                assert processor_ticks(s.main_pid()) - before < 100
            assert s.status("echo")["state"] == "ready" and s.status("echo")["starts"] == 1
        s.wait_state("echo", "listening")


def test_one_that_ends_or_crashes_comes_back_for_the_next_client(namespace, echo):
    """The socket is there all the time: who comes meanwhile waits, and is served."""
    port = free_port(socket.AF_INET, socket.SOCK_STREAM)
    with Supervised({"echo": f"{echo}listen = tcp 127.0.0.1:{port}\n"}, "echo", namespace) as s:
        s.wait_state("echo", "listening")
        assert ask(("127.0.0.1", port), b"done") == b"bye"
        s.wait_state("echo", "listening")
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client, suppress(ConnectionResetError):
                client.send(b"die")
                assert client.recv(100) == b""
            assert ask(("127.0.0.1", port), b"hello") == b"echo hello"
        assert s.status("echo")["state"] == "ready"


def test_a_pool_on_demand_starts_whole_and_goes_whole(namespace, echo):
    port = free_port(socket.AF_INET, socket.SOCK_STREAM)
    services = {"echo": f"{echo}listen = tcp 127.0.0.1:{port}\ninstances = 3\nidle-stop = 300ms\n"}
    with Supervised(services, "echo", namespace) as s:
        s.wait_state("echo", "ready")
        assert [s.state(f"echo:{i}") for i in (1, 2, 3)] == ["listening"] * 3
        assert ask(("127.0.0.1", port), b"hello") == b"echo hello"
        assert any(s.status(f"echo:{i}")["starts"] == 1 for i in (1, 2, 3))
        for i in (1, 2, 3):
            s.wait_state(f"echo:{i}", "listening")
        assert s.status("echo")["state"] == "ready"


def test_stopped_by_an_operator_its_clients_are_refused(namespace, echo):
    port = free_port(socket.AF_INET, socket.SOCK_STREAM)
    with Supervised({"echo": f"{echo}listen = tcp 127.0.0.1:{port}\n"}, "echo", namespace) as s:
        s.wait_state("echo", "listening")
        assert s.ctl("stop", "echo").returncode == 0
        with pytest.raises(ConnectionRefusedError):
            ask(("127.0.0.1", port), b"hello")
        assert s.ctl("start", "echo").returncode == 0
        assert ask(("127.0.0.1", port), b"hello") == b"echo hello"


def test_a_socket_that_cannot_be_had_is_tried_again(namespace, echo):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        services = {"echo": f"{echo}listen = tcp 127.0.0.1:{port}\n", "above": "start = /bin/sleep 1000000\nrequires = echo\n"}
        with Supervised(services, "above", namespace) as s:
            wait_for("the reason", lambda: f"listen tcp 127.0.0.1:{port}: Address" in s.status("echo")["why"])
            assert s.status("above")["why"] == "requires echo"
            assert "echo: listens" not in s.messages()
            taken.close()
            s.wait_state("echo", "listening")
            assert ask(("127.0.0.1", port), b"hello") == b"echo hello"
