"""supervisor fcgi against a server of the test's own (FastCGI 1.0, responder)."""

import os
import socket
import struct
import subprocess
import threading

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("SUPERVISOR_BIN", os.path.join(TOP, "build", "supervisor"))
BEGIN, END, PARAMS, STDIN, STDOUT, STDERR = 1, 3, 4, 5, 6, 7


def record(kind, content=b"", padding=0, version=1):
    return struct.pack(">BBHHBx", version, kind, 1, len(content), padding) + content + bytes(padding)


def end(protocol_status=0):
    return record(END, struct.pack(">IB3x", 0, protocol_status))


def read_request(stream):
    """Everything up to the empty STDIN record: the begin record's body and the parameters."""
    begin, params = b"", b""
    while True:
        version, kind, number, length, padding = struct.unpack(">BBHHBx", stream.read(8))
        content = stream.read(length + padding)[:length]
        assert (version, number) == (1, 1)
        if kind == BEGIN:
            begin = content
        elif kind == PARAMS:
            params += content
        elif kind == STDIN and not content:
            return begin, parse_params(params)


def parse_params(data):
    def length():
        nonlocal data
        size = 4 if data[0] & 0x80 else 1
        value = int.from_bytes(data[:size], "big") & (0x7FFFFFFF if size == 4 else 0x7F)
        data = data[size:]
        return value
    found = {}
    while data:
        name, value = length(), length()
        found[data[:name].decode()] = data[name:name + value].decode()
        data = data[name + value:]
    return found


class Server:
    """Answers one request with the given bytes, then closes."""

    def __init__(self, answer, chunk=None):
        self.answer, self.chunk, self.request = answer, chunk, None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as stream:
            self.request = read_request(stream)
            step = self.chunk or len(self.answer) or 1
            for at in range(0, len(self.answer), step):
                connection.sendall(self.answer[at:at + step])

    def ask(self, *words):
        done = run("fcgi", self.address, *words)
        self.thread.join(30)
        self.listener.close()
        return done


def run(*words):
    return subprocess.run([BINARY, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_the_scripts_bytes_are_passed_on(chunk):
    page = b"Content-type: text/plain\r\n\r\n" + bytes(range(256)) * 200
    server = Server(record(STDOUT, page[:10], padding=3) + record(STDERR, b"a warning\n") + record(STDOUT, page[10:], padding=255)
                    + record(STDOUT) + end(), chunk)
    done = server.ask("/srv/a.example/page.php", "q=1&x=%20")
    assert (done.returncode, done.stdout, done.stderr) == (0, page, b"a warning\n")
    begin, params = server.request
    assert struct.unpack(">HB5x", begin) == (1, 0)
    assert params["SCRIPT_FILENAME"] == "/srv/a.example/page.php"
    assert params["QUERY_STRING"] == "q=1&x=%20"
    assert params["REQUEST_URI"] == "/page.php?q=1&x=%20"
    assert params["REQUEST_METHOD"] == "GET"


def test_long_values_have_a_long_length():
    server = Server(record(STDOUT, b"\r\n\r\n") + end())
    query = "x=" + "y" * 3000
    assert server.ask("/page.php", query).returncode == 0
    assert server.request[1]["QUERY_STRING"] == query


@pytest.mark.parametrize("status, code", [(b"404 Not Found", 1), (b"500 Oops", 1), (b"302 Found", 0), (b"200 OK", 0)])
def test_the_pages_status_decides_the_exit_code(status, code):
    answer = b"X-Powered-By: x\r\nStatus: " + status + b"\r\n\r\nStatus: 200 is only text here"
    assert Server(record(STDOUT, answer) + end()).ask("/page.php").returncode == code


@pytest.mark.parametrize("answer, text", [
    (b"", b"hung up before its answer was complete"),
    (record(STDOUT, b"\r\n\r\nhalf"), b"hung up before its answer was complete"),
    (record(STDOUT, b"\r\n\r\nhalf")[:12], b"hung up before its answer was complete"),
    (record(STDOUT, b"x", version=2), b"expected FastCGI version 1, found 2"),
    (b"HTTP/1.0 400 Bad Request\r\n\r\n", b"expected FastCGI version 1, found 72"),
    (end(protocol_status=2), b"the request was refused"),
    (record(END, b"short"), b"the request was refused"),
])
def test_a_bad_answer_is_an_error(answer, text):
    done = Server(answer).ask("/page.php")
    assert done.returncode == 1
    assert text in done.stderr


def test_nobody_there_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    done = run("fcgi", address, "/page.php")
    assert done.returncode == 1
    assert b"Connection refused" in done.stderr


@pytest.mark.parametrize("words", [
    [], ["127.0.0.1:9000"], ["127.0.0.1", "/x.php"], ["127.0.0.1:0", "/x.php"], ["127.0.0.1:65536", "/x.php"],
    ["127.0.0.1:9000x", "/x.php"], ["127.0.0.1:", "/x.php"], ["localhost:9000", "/x.php"], ["1.2.3.4.5:9000", "/x.php"],
    [":9000", "/x.php"], ["127.0.0.1:-1", "/x.php"], ["127.0.0.1:9000", "x.php"], ["127.0.0.1:9000", ""],
    ["127.0.0.1:9000", "/x.php", "q=1", "more"], ["127.0.0.1:9000", "/x.php", "--json"],
])
def test_wrong_usage_is_2(words):
    done = run("fcgi", *words)
    assert done.returncode == 2
    assert b"usage: supervisor fcgi" in done.stderr


def test_a_query_that_is_too_long_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = run("fcgi", f"127.0.0.1:{listener.getsockname()[1]}", "/page.php", "x" * 9000)
    assert done.returncode == 1
    assert b"Argument list too long" in done.stderr
