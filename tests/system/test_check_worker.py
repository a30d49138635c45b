"""The worker `check` against servers of the test's own, and against real ones."""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

import pytest

from supervised import BINARY, DEADLINE_S, Supervised, wait_for

ASAN = os.path.basename(os.path.dirname(BINARY)) == "asan"
PHP, LIGHTTPD = shutil.which("php-cgi8.2"), shutil.which("lighttpd", path="/usr/sbin:/usr/bin")


def check(*words, timeout=DEADLINE_S):
    done = subprocess.run([BINARY, "worker", "check", *words], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=timeout, check=False)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode()


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix="check-") as path:
        yield path


@contextlib.contextmanager
def server(answer=None, listener=None, chunk=None, hold=False):
    """Answers each connection with the given bytes after reading something; `asked` holds what it read."""
    listener = listener or socket.create_server(("127.0.0.1", 0))
    asked = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                if answer is None:
                    continue
                asked.append(connection.recv(65536))
                step = chunk or len(answer) or 1
                for at in range(0, len(answer), step):
                    connection.sendall(answer[at:at + step])
                if hold:
                    connection.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield name_of(listener), asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE_S)


def name_of(listener):
    name = listener.getsockname()
    if isinstance(name, str):
        return name
    return f"[{name[0]}]:{name[1]}" if listener.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def unix_listener(path, kind=socket.SOCK_STREAM):
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(path)
    if kind != socket.SOCK_DGRAM:
        listener.listen()
    return listener


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_tcp_accepts_or_refuses(family, host):
    with server(listener=socket.create_server((host, 0), family=family)) as (address, _):
        assert check("tcp", address) == (0, f"tcp {address} accepts\n")
    assert check("tcp", address) == (1, f"tcp {address}: connect: Connection refused\n")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_a_path_may_have_any_type_of_socket(kind):
    with directory() as home:
        path = os.path.join(home, "socket")
        assert check("unix", path) == (1, f"unix {path}: connect: No such file or directory\n")
        with unix_listener(path, kind):
            assert check("unix", path) == (0, f"unix {path} accepts\n")
        assert check("unix", path) == (1, f"unix {path}: connect: Connection refused\n")


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("status, code", [(200, 0), (204, 0), (302, 0), (399, 0), (199, 1), (400, 1), (404, 1), (503, 1)])
def test_the_status_decides(status, code, chunk):
    with server(b"HTTP/1.1 %d Some Words\r\nServer: test\r\n\r\nbody" % status, chunk=chunk) as (address, asked):
        assert check("http", address, "/health?x=1") == (code, f"HTTP {status} from {address}/health?x=1\n")
    assert asked == [f"GET /health?x=1 HTTP/1.0\r\nHost: {address}\r\nUser-Agent: supervisor\r\nConnection: close\r\n\r\n".encode()]


def test_a_host_may_be_asked_for():
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as (address, asked):
        assert check("http", address, "/", "a.example")[0] == 0
    assert b"\r\nHost: a.example\r\n" in asked[0]


def test_the_body_is_not_waited_for():
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", hold=True) as (address, _):
        assert check("http", address, "/")[0] == 0


@pytest.mark.parametrize("answer, text", [
    (b"", "hung up after 0 bytes of an answer"),
    (b"HTTP/1.1 200 OK\r\nA: b\r\n", "hung up after 23 bytes of an answer"),
    (b"SSH-2.0-x\x1b[31m\r\n", 'answers no HTTP: "SSH-2.0-x?[31m??…"'),
    (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 20000, 'answers no HTTP: "HTTP/1.1 200 OK??A: aaaaaaaaaaa…"'),
])
def test_what_is_no_answer_is_bad(answer, text):
    with server(answer) as (address, _):
        assert check("http", address, "/") == (1, f"http {address}: {text}\n")


def record(kind, content=b"", padding=0, version=1, request=0):
    return struct.pack(">BBHHBx", version, kind, request, len(content), padding) + content + bytes(padding)


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("answer", [
    record(10, b"\x0e\x01FCGI_MAX_CONNS1", padding=7),
    record(10),
    record(11, b"\x09" + bytes(7)),  # knows no GET_VALUES, but FastCGI
])
def test_fastcgi_answers(answer, chunk):
    with server(answer, chunk=chunk) as (address, asked):
        assert check("fcgi", address) == (0, f"FastCGI from {address}\n")
    assert asked == [record(9, b"\x0e\x00FCGI_MAX_CONNS")]


@pytest.mark.parametrize("answer, text", [
    (b"", "hung up before its answer was complete"),
    (record(10, b"\x0e\x01FCGI_MAX_CONNS1")[:12], "hung up before its answer was complete"),
    (record(10, version=2), "answers no FastCGI: \"????????…\""),
    (record(10, request=1), "answers with a record of type 10, request 1"),
    (record(3, bytes(8)), "answers with a record of type 3, request 0"),
    (b"HTTP/1.0 400 Bad Request\r\n\r\n", "answers no FastCGI: \"HTTP/1.0…\""),
    (record(10, b"\x0e\x02FCGI_MAX_CONNS1"), "its answer holds no name-value pairs"),
])
def test_what_is_no_fastcgi_is_bad(answer, text):
    with server(answer) as (address, _):
        assert check("fcgi", address) == (1, f"fcgi {address}: {text}\n")


def test_fastcgi_at_a_path():
    with directory() as home:
        path = os.path.join(home, "socket")
        with server(record(10), listener=unix_listener(path)):
            assert check("fcgi-unix", path) == (0, f"FastCGI from {path}\n")


@pytest.mark.parametrize("words", [
    (), ("tcp",), ("tcp", "127.0.0.1"), ("tcp", "127.0.0.1:0"), ("tcp", "localhost:80"), ("tcp", "127.0.0.1:80", "x"),
    ("unix", "relative"), ("unix", "/srv/a/b"), ("unix", "/run/" + "x" * 120), ("udp", "127.0.0.1:53"),
    ("http", "127.0.0.1:80"), ("http", "127.0.0.1:80", "x"), ("http", "127.0.0.1:80", "/a b"),
    ("http", "127.0.0.1:80", "/a\r\nX: y"), ("http", "127.0.0.1:80", "/", "a b"), ("http", "127.0.0.1:80", "/", ""),
    ("http", "127.0.0.1:80", "/", "a", "b"), ("--until-ready",), ("tcp", "127.0.0.1:80", "--until-ready"),
])
def test_wrong_arguments_are_refused(words):
    code, text = check(*words)
    assert code == 2 and text.strip()


def test_until_ready_says_what_is_in_the_way_and_waits_for_it():
    port = free_port()
    waiting = subprocess.Popen([BINARY, "worker", "check", "--until-ready", "tcp", f"127.0.0.1:{port}"],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert waiting.stderr.readline() == f"tcp 127.0.0.1:{port}: connect: Connection refused\n".encode()
    time.sleep(0.5)
    assert waiting.poll() is None
    with socket.create_server(("127.0.0.1", port)):
        assert waiting.wait(DEADLINE_S) == 0
    # Said once, however often it was tried.
    assert waiting.stderr.read() == f"tcp 127.0.0.1:{port} accepts\n".encode()
    waiting.stderr.close()


def test_until_ready_is_at_once_where_it_can_be():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert check("--until-ready", "tcp", name_of(listener)) == (0, f"tcp {name_of(listener)} accepts\n")


def test_until_ready_does_not_spin():
    waiting = subprocess.Popen([BINARY, "worker", "check", "--until-ready", "tcp", f"127.0.0.1:{free_port()}"],
                               stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)
        with open(f"/proc/{waiting.pid}/status", encoding="ascii") as file:
            slept = int(next(line.split()[1] for line in file if line.startswith("voluntary_ctxt")))
    finally:
        waiting.kill()
        waiting.wait()
    assert 4 <= slept <= 40, slept  # 20, 40, 80, 160, 320 ms, then twice a second


@pytest.mark.skipif(not PHP, reason="php-cgi8.2 is not installed")
def test_real_php_cgi():
    with directory() as home:
        address, path = f"127.0.0.1:{free_port()}", os.path.join(home, "php")
        for kind, place in (("fcgi", address), ("fcgi-unix", path)):
            php = subprocess.Popen([PHP, "-b", place], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
            try:
                wait_for("php-cgi", lambda k=kind, p=place: check(k, p) == (0, f"FastCGI from {p}\n"))
                assert check(kind, place)[0] == 0  # once is not all it can
            finally:
                php.kill()
                php.wait()
            assert check(kind, place)[0] == 1


@pytest.mark.skipif(not LIGHTTPD, reason="lighttpd is not installed")
def test_real_lighttpd():
    with directory() as home:
        port = free_port()
        with open(os.path.join(home, "conf"), "w", encoding="ascii") as file:
            file.write(f'server.document-root = "{home}"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n')
        with open(os.path.join(home, "page"), "w", encoding="ascii") as file:
            file.write("x" * 100000)
        web = subprocess.Popen([LIGHTTPD, "-D", "-f", os.path.join(home, "conf")], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert check("--until-ready", "tcp", f"127.0.0.1:{port}")[0] == 0
            assert check("http", f"127.0.0.1:{port}", "/page") == (0, f"HTTP 200 from 127.0.0.1:{port}/page\n")
            assert check("http", f"127.0.0.1:{port}", "/none") == (1, f"HTTP 404 from 127.0.0.1:{port}/none\n")
        finally:
            web.kill()
            web.wait()


CONFINED = """
kind = oneshot
start = @check --until-ready {what}
restart = never
user = 65534
group = 65534
seccomp = @check
root = empty
limit-nofile = 16
memory-max = 16M
pids-max = 1
"""


@pytest.mark.skipif(ASAN or os.geteuid() != 0, reason="needs root, and the product: an empty root holds no loader")
def test_it_needs_no_more_than_its_filter_and_an_empty_root():
    with server(b"HTTP/1.0 200 OK\r\n\r\n") as (web, _), server(record(10)) as (php, _):
        late = free_port()
        services = {"web": CONFINED.format(what=f"http {web} /"), "php": CONFINED.format(what=f"fcgi {php}"),
                    "late": CONFINED.format(what=f"tcp 127.0.0.1:{late}")}
        with Supervised(services, "log web php late") as s:
            for name in ("web", "php"):
                s.wait_state(name, "ready")
            assert s.state("late") == "starting"
            with socket.create_server(("127.0.0.1", late)):
                s.wait_state("late", "ready")
