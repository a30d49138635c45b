"""The demo's Ethernet switch: a real process, real sockets, and a machine's end of each port in Python."""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/helpers"))

from ethernet import BROADCAST, Guest, TinyHost, checksum, frame, mac  # pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ.get("BUILD", TOP / "build"))
FRAME_MAX = 65550

pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("SUPERVISOR_BIN", ""), reason="no part of the program; once is enough"
)


def until(predicate, seconds=5.0):
    """The switch answers commands before or after it has read what a port sent."""
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Switch:
    def __init__(self, program, directory, options=(), ports=("a", "b", "c")):
        self.directory = directory
        self.process = subprocess.Popen(
            [program, *options, str(directory), *ports],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = self.process.stdout.readline() == "ready\n"

    def guests(self, *names):
        return [Guest(f"{self.directory}/{name}.port", 1 + "abc".index(name)) for name in names]

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(f"{self.directory}/switch.ctl")
        return sock

    def ask(self, line):
        with self.connect() as sock, sock.makefile("rw") as lines:
            lines.write(line + "\n")
            lines.flush()
            return json.loads(lines.readline())

    def do(self, line):
        answer = self.ask(line)
        assert answer["ok"], answer

    def stats(self, port):
        return next(p for p in self.ask("stats")["ports"] if p["name"] == port)

    def wait_connected(self, *names):
        """A connection is taken when the switch comes to it, not when connect(2) returns."""
        until(lambda: all(p["connected"] for p in self.ask("status")["ports"] if p["name"] in names))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=10)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    out = BUILD / "test-switch"
    done = subprocess.run(
        ["make", "-s", "-C", str(TOP / "image/demo/switch"), f"OUT={out}", "SANITIZE=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(out / "switch")


@pytest.fixture
def switch(program, tmp_path):
    made = Switch(program, tmp_path, ["--seed=7"])
    assert made.ready
    yield made
    code, errors = made.end()
    assert code == 0
    assert "Sanitizer" not in errors and "runtime error" not in errors, errors


@pytest.fixture
def with_host(program, tmp_path):
    """A switch with the host's port; it ends even where the test fails."""
    made = []

    def start(options, ports):
        made.append(Switch(program, tmp_path, ["--host=10.77.0.254/24", *options], ports))
        assert made[0].ready
        return made[0]

    yield start
    assert [switch.end()[0] for switch in made] == [0]


@pytest.fixture
def three(switch):
    guests = switch.guests("a", "b", "c")
    switch.wait_connected("a", "b", "c")
    yield guests
    for guest in guests:
        guest.sock.close()


def learn(guests):
    """Every guest has spoken once, and all have heard it."""
    for speaker in guests:
        hello = frame(BROADCAST, speaker.mac)
        speaker.send(hello)
        for listener in guests:
            if listener is not speaker:
                assert listener.hears(hello)


def test_broadcast_reaches_all_others(three):
    a, b, c = three
    a.send(frame(BROADCAST, a.mac))
    assert b.hears(frame(BROADCAST, a.mac))
    assert c.hears(frame(BROADCAST, a.mac))
    assert a.hears_nothing()


def test_unknown_address_is_flooded_and_a_learnt_one_is_not(three):
    a, b, c = three
    a.send(frame(b.mac, a.mac))
    assert b.hears(frame(b.mac, a.mac))
    assert c.hears(frame(b.mac, a.mac))
    b.send(frame(a.mac, b.mac))
    assert a.hears(frame(a.mac, b.mac))
    a.send(frame(b.mac, a.mac, b"again"))
    assert b.hears(frame(b.mac, a.mac, b"again"))
    assert c.hears_nothing()


def test_address_that_moves_is_followed(three):
    """A service address goes from one node to the other with its MAC address."""
    a, b, c = three
    moving = mac(99)
    b.send(frame(BROADCAST, moving))
    assert a.hears(frame(BROADCAST, moving)) and c.hears(frame(BROADCAST, moving))
    c.send(frame(BROADCAST, moving))
    assert a.hears(frame(BROADCAST, moving)) and b.hears(frame(BROADCAST, moving))
    a.send(frame(moving, a.mac))
    assert c.hears(frame(moving, a.mac))
    assert b.hears_nothing()


def test_frame_to_an_address_of_its_own_port_goes_nowhere(three):
    a, b, c = three
    learn(three)
    a.send(frame(a.mac, a.mac))
    assert a.hears_nothing() and b.hears_nothing() and c.hears_nothing()


def test_addresses_go_with_their_machine(switch, three):
    a, b, c = three
    learn(three)
    b.sock.close()
    until(lambda: switch.ask("stats")["macs"] == 2)
    again = switch.guests("b")[0]
    switch.wait_connected("b")
    a.send(frame(b.mac, a.mac))
    assert again.hears(frame(b.mac, a.mac))
    assert c.hears(frame(b.mac, a.mac))


def test_newest_connection_of_a_port_wins(switch, three):
    a, b, _ = three
    again = switch.guests("b")[0]
    with pytest.raises(EOFError):
        b.receive()
    a.send(frame(BROADCAST, a.mac))
    assert again.hears(frame(BROADCAST, a.mac))


def test_order_and_content_survive(three):
    a, b, _ = three
    learn(three)
    sent = [frame(b.mac, a.mac, bytes([i % 256]) * (1 + 37 * i % 9000)) for i in range(200)]
    for data in sent:
        a.send(data)
        assert b.hears(data)


def test_frames_in_pieces_and_in_one_piece(three):
    a, b, _ = three
    learn(three)
    first, second = frame(b.mac, a.mac, b"1" * 500), frame(b.mac, a.mac, b"2" * 60)
    stream = b"".join(struct.pack(">I", len(f)) + f for f in (first, second))
    for i in range(0, len(stream), 7):
        a.sock.sendall(stream[i : i + 7])
    assert b.hears(first) and b.hears(second)
    a.sock.sendall(stream)
    assert b.hears(first) and b.hears(second)


def test_largest_frame_passes(three):
    a, b, _ = three
    learn(three)
    largest = frame(b.mac, a.mac, b"x" * (FRAME_MAX - 14))
    a.send(largest)
    assert b.hears(largest)


# --- links


def test_cut_pair_is_cut_both_ways_for_floods_too(switch, three):
    a, b, c = three
    learn(three)
    switch.do("cut a b")
    a.send(frame(b.mac, a.mac))
    b.send(frame(a.mac, b.mac))
    a.send(frame(BROADCAST, a.mac))
    assert c.hears(frame(BROADCAST, a.mac))
    assert a.hears_nothing() and b.hears_nothing()
    assert switch.stats("b")["dropped_cut"] == 2
    switch.do("heal a b")
    a.send(frame(b.mac, a.mac))
    assert b.hears(frame(b.mac, a.mac))


def test_one_way_cut(switch, three):
    a, b, _ = three
    learn(three)
    switch.do("cut a>b")
    a.send(frame(b.mac, a.mac))
    b.send(frame(a.mac, b.mac))
    assert a.hears(frame(a.mac, b.mac))
    assert b.hears_nothing()


def test_cut_of_one_port_isolates_it(switch, three):
    a, b, c = three
    learn(three)
    switch.do("cut a")
    a.send(frame(BROADCAST, a.mac))
    b.send(frame(BROADCAST, b.mac))
    assert c.hears(frame(BROADCAST, b.mac))
    assert c.hears_nothing() and b.hears_nothing() and a.hears_nothing()
    links = {(l["from"], l["to"]) for l in switch.ask("status")["links"]}
    assert links == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}
    switch.do("heal")
    assert switch.ask("status")["links"] == []
    a.send(frame(BROADCAST, a.mac))
    assert b.hears(frame(BROADCAST, a.mac)) and c.hears(frame(BROADCAST, a.mac))


def test_heal_of_one_pair_leaves_the_others(switch):
    switch.do("cut a")
    switch.do("heal a b")
    links = {(l["from"], l["to"]) for l in switch.ask("status")["links"]}
    assert links == {("a", "c"), ("c", "a")}


def test_delay(switch, three):
    a, b, _ = three
    learn(three)
    switch.do("delay a>b 300ms")
    start = time.monotonic()
    for i in range(5):
        a.send(frame(b.mac, a.mac, bytes([i])))
    for i in range(5):
        assert b.hears(frame(b.mac, a.mac, bytes([i])))
    assert 0.29 <= time.monotonic() - start < 1.5
    b.send(frame(a.mac, b.mac))
    start = time.monotonic()
    assert a.hears(frame(a.mac, b.mac))
    assert time.monotonic() - start < 0.25


def test_shorter_delay_overtakes_and_a_cut_catches_what_is_under_way(switch, three):
    a, b, _ = three
    learn(three)
    switch.do("delay a b 500ms")
    a.send(frame(b.mac, a.mac, b"slow"))
    until(lambda: switch.ask("stats")["delayed"] == 1)
    switch.do("delay a b 0ms")
    a.send(frame(b.mac, a.mac, b"fast"))
    assert b.hears(frame(b.mac, a.mac, b"fast"))
    assert b.hears(frame(b.mac, a.mac, b"slow"))
    switch.do("delay a b 300ms")
    a.send(frame(b.mac, a.mac, b"caught"))
    until(lambda: switch.ask("stats")["delayed"] == 1)
    switch.do("cut a b")
    time.sleep(0.4)
    switch.do("heal")
    assert b.hears_nothing()


def test_loss_is_as_large_as_said(switch, three):
    a, b, _ = three
    learn(three)
    switch.do("loss a b 25%")
    for i in range(400):
        a.send(frame(b.mac, a.mac, struct.pack(">I", i)))
    heard = 0
    while b.receive(0.3) is not None:
        heard += 1
    assert heard + switch.stats("b")["dropped_loss"] == 400
    assert 240 < heard < 360
    switch.do("loss a b 100%")
    a.send(frame(b.mac, a.mac))
    assert b.hears_nothing()


# --- what must not hurt


@pytest.mark.parametrize(
    "line, error",
    [
        ("cut", "cut: expected a link: A B, A>B or A"),
        ("cut a nobody", 'no port "nobody"'),
        ("cut a a", "cut: a port has no link to itself"),
        ("cut a>a", "cut: a port has no link to itself"),
        ("cut a>b c", "cut: expected A>B alone, found more words"),
        ("cut a>", 'no port ""'),
        ("cut a b c", "cut: expected a link: A B, A>B or A"),
        ("cut a b c d e f", "too many words"),
        ("delay a b", 'delay: found "b", expected 0ms to 60s, such as 50ms'),
        ("delay a b 50", 'delay: found "50", expected 0ms to 60s, such as 50ms'),
        ("delay a b 61s", 'delay: found "61s", expected 0ms to 60s, such as 50ms'),
        ("delay a b -1ms", 'delay: found "-1ms", expected 0ms to 60s, such as 50ms'),
        ("delay 5ms", "delay: expected a link and a value"),
        ("loss a b 101%", 'loss: found "101%", expected 0% to 100%, such as 10%'),
        ("loss a b 100.1%", 'loss: found "100.1%", expected 0% to 100%, such as 10%'),
        ("loss a b 5", 'loss: found "5", expected 0% to 100%, such as 10%'),
        ("heal nobody", 'no port "nobody"'),
        ("status now", "status: takes no argument"),
        ("", "empty command"),
        (
            'say "hi"\\',
            'no command "say"; there are: cut, delay, heal, loss, stats, status',
        ),
        ("\x7f\"", 'no command "\x7f\""; there are: cut, delay, heal, loss, stats, status'),
    ],
)
def test_bad_commands_are_refused_with_reason(switch, line, error):
    assert switch.ask(line) == {"ok": False, "error": error}
    assert switch.ask("status")["links"] == []


def test_endless_command_line_drops_its_client_only(switch):
    with switch.connect() as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(b"x" * 4096)
            assert sock.recv(1) == b""
    assert switch.ask("status")["ok"]


def test_many_commands_in_one_write_are_answered_in_order(switch):
    with switch.connect() as sock, sock.makefile("r") as lines:
        sock.sendall(b"cut a b\nstatus\nheal\nstatus\n")
        answers = [json.loads(lines.readline()) for _ in range(4)]
    assert [len(a.get("links", [])) for a in answers] == [0, 2, 0, 0]


def test_more_clients_than_places_wait(switch):
    clients = [switch.connect() for _ in range(17)]
    clients[16].sendall(b"status\n")
    clients[0].close()
    assert json.loads(clients[16].makefile().readline())["ok"]
    for client in clients[1:]:
        client.close()


def test_oversized_frame_disconnects_its_port_only(switch, three):
    a, b, c = three
    learn(three)
    a.sock.sendall(struct.pack(">I", FRAME_MAX + 1) + b"x" * 100)
    with pytest.raises((EOFError, ConnectionResetError)):
        a.receive()
    assert switch.stats("a")["bad_frames"] == 1
    b.send(frame(c.mac, b.mac))
    assert c.hears(frame(c.mac, b.mac))


def test_runt_frames_are_dropped_and_counted(switch, three):
    a, b, _ = three
    for length in (0, 1, 13):
        a.send(b"x" * length)
    a.send(frame(BROADCAST, a.mac))
    assert b.hears(frame(BROADCAST, a.mac))
    assert switch.stats("a")["bad_frames"] == 3


def test_port_that_stops_reading_blocks_nobody(switch, three):
    """Its queue fills, frames for it are dropped and counted, and the others go on as before."""
    a, b, c = three
    learn(three)
    big = b"x" * 8000
    for i in range(3000):
        a.send(frame(b.mac, a.mac, big))
        if i % 100 == 0:
            a.send(frame(c.mac, a.mac, bytes([i // 100])))
            assert c.hears(frame(c.mac, a.mac, bytes([i // 100])))
    stats = switch.stats("b")
    assert stats["dropped_full"] > 0
    assert stats["queued"] <= 1024
    heard = 0
    while b.receive(0.3) is not None:
        heard += 1
    assert heard + stats["dropped_full"] == 3000
    a.send(frame(b.mac, a.mac, b"and on"))
    assert b.hears(frame(b.mac, a.mac, b"and on"))


def test_table_of_addresses_is_bounded(switch, three):
    a, b, _ = three
    for i in range(3000):
        a.send(frame(b.mac, b"\x02\x00\x00\x00" + struct.pack(">H", i)))
        while b.receive(0) is not None:
            pass
    until(lambda: switch.stats("a")["in_frames"] == 3000)
    assert switch.ask("stats")["macs"] == 2048


# --- its command line, and the way in from the host


@pytest.mark.parametrize(
    "words, error",
    [
        ([], "expected a directory and at least one port"),
        (["."], "expected a directory and at least one port"),
        ([".", "A"], "found A"),
        ([".", "-x"], "found -x"),
        ([".", "a/b"], "found a/b"),
        ([".", "x" * 33], "found " + "x" * 33),
        ([".", "a", "a"], "this name is taken: a"),
        ([".", "host"], "this name is taken: host"),
        (["--forward=127.0.0.1:1=1.2.3.4:5", ".", "a"], "--forward needs --host"),
        (["--seed=x", ".", "a"], "--seed: expected a number, found x"),
        (["--what", ".", "a"], "unknown option, or one without its value: --what"),
    ],
)
def test_wrong_arguments(program, tmp_path, words, error):
    done = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    assert error in done.stderr and "usage:" in done.stderr


@pytest.mark.parametrize(
    "words, error",
    [
        (["--host=10.0.0.1", ".", "a"], "expected ADDRESS/BITS"),
        (["--host=10.0.0.1/99", ".", "a"], "expected ADDRESS/BITS"),
        (["--host=10.0.0.1/24", "--forward=127.0.0.1:0=1.2.3.4:5", ".", "a"], "expected ADDRESS:PORT"),
        (["--host=10.0.0.1/24", "--forward=0.0.0.0:8000=1.2.3.4:5", ".", "a"], "must be a loopback address"),
        (["/nowhere", "a"], "cannot listen at /nowhere/a.port: No such file or directory"),
        (["x" * 120, "a"], "File name too long"),
    ],
)
def test_what_the_system_refuses(program, tmp_path, words, error):
    done = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert error in done.stderr


def test_port_in_use_is_a_clear_error(program, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [program, "--host=10.77.0.254/24", f"--forward=127.0.0.1:{port}=10.77.0.100:80", str(tmp_path), "a"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    assert done.returncode == 1
    assert f"127.0.0.1:{port}=10.77.0.100:80: cannot listen there: Address already in use" in done.stderr


def test_the_host_reaches_the_web_address_through_its_forward(with_host):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    switch = with_host([f"--forward=127.0.0.1:{port}=10.77.0.100:80"], ("a", "b"))
    (a,) = switch.guests("a")
    switch.wait_connected("a")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(TinyHost(a).serve_one()))
    thread.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=10) as answer:
        assert answer.read() == b"hello"
    thread.join()
    assert seen[0].startswith(b"GET /page ")
    assert switch.end()[0] == 0


def test_a_machine_does_not_get_out(with_host):
    """slirp is restricted: the host's own services cannot be reached at its address, and it gives nobody an address."""
    switch = with_host([], ("a",))
    (a,) = switch.guests("a")
    switch.wait_connected("a")
    host = TinyHost(a)
    gateway = socket.inet_aton("10.77.0.254")
    a.send(
        frame(BROADCAST, a.mac)[:12]
        + b"\x08\x06\0\1\x08\0\6\4\0\1" + a.mac + host.ADDRESS + b"\0" * 6 + gateway
    )
    answer = a.receive()
    assert answer[20:22] == b"\0\2" and answer[28:32] == gateway
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        service.listen()
        # A segment that looks as if it answered one: its ports and addresses are turned round.
        port = struct.pack(">H", service.getsockname()[1])
        asked = a.mac + answer[6:12] + b"\x08\0" + b"\0" * 12 + gateway + b"\0" * 4 + port + port + b"\0" * 16
        host.tcp(asked, 2, 1000, 0)
        assert not select.select([service], [], [], 0.5)[0]
    dhcp = struct.pack(">HHHH", 68, 67, 308, 0) + b"\1\1\6\0" + b"\0" * 24 + a.mac + b"\0" * 202
    dhcp += b"\x63\x82\x53\x63\x35\1\1\xff".ljust(64, b"\0")
    head = struct.pack(">BBHIBBH", 0x45, 0, 20 + len(dhcp), 0, 64, 17, 0) + b"\0" * 4 + b"\xff" * 4
    head = head[:10] + checksum(head) + head[12:]
    a.send(BROADCAST + a.mac + b"\x08\0" + head + dhcp)
    while (heard := a.receive(0.5)) is not None:
        assert heard[23] != 17, "an answer to DHCP"
