"""The command line and the control socket: what they print, how they exit, and that no client can do harm."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

from supervised import BINARY, DEADLINE_S, Supervised, wait_for

SLEEPER = "kind = daemon\nstart = /bin/sleep 1000000\n"
VERBS = ["status", "members", "start", "stop", "restart", "kill", "log", "check", "keygen", "poweroff", "reboot", "halt",
         "fcgi", "reload", "scale"]

# src/control/protocol.h
REQUEST = struct.Struct("=IHHi64s")
MAGIC = 0x63746C34
STATUS, MEMBERS, START, STOP, RESTART, KILL, SHUTDOWN = range(1, 8)
SCALE = 10
NO_WAIT = 2
END = 4


def run(*arguments, run_dir="/nonexistent/run", **options):
    return subprocess.run([BINARY, *arguments], env={**os.environ, "SUPERVISOR_RUN": run_dir}, text=True,
                          capture_output=True, timeout=DEADLINE_S, check=False, **options)


def request(verb, name="", flags=0, number=0, magic=MAGIC):
    return REQUEST.pack(magic, verb, flags, number, name.encode())


@contextlib.contextmanager
def connection(s, *, timeout=DEADLINE_S):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(os.path.join(s.run, "control"))
        sock.settimeout(timeout)
        yield sock


def last_record(sock):
    """(exit code, text) of the END of an answer; None if the supervisor hung up without."""
    while record := sock.recv(4096):
        if struct.unpack_from("=H", record, 4)[0] == END:
            return struct.unpack_from("=i", record, 8)[0], record[12:].split(b"\0")[0].decode()
    return None


@pytest.fixture(scope="module")
def quiet():
    """A supervisor that only answers questions."""
    services = {
        "sleeper": SLEEPER,
        "failing": "kind = oneshot\nrestart = never\nstart = /bin/false\n",
        "pool": SLEEPER + "instances = 3\n",
        "all": "kind = group\nrequires = sleeper pool\n",
    }
    with Supervised(services, "sleeper failing all log") as s:
        s.wait_state("failing", "failed")
        s.wait_state("all", "ready")
        yield s


# ---- usage


def test_help_names_every_verb_within_80_columns():
    for words in (["help"], ["--help"], ["-h"]):
        answer = run(*words)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert max(map(len, answer.stdout.splitlines())) <= 80
        for verb in VERBS + ["version"]:
            assert re.search(rf"^  (.* \| )?{verb}\b", answer.stdout, re.M), verb
    assert run().returncode == 2
    assert "usage: supervisor" in run().stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    answer = run(verb, "--help")
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"usage: supervisor {verb}")
    assert answer.stderr == ""


def test_version_is_one_line():
    for word in ("version", "--version"):
        answer = run(word)
        assert answer.returncode == 0
        assert re.fullmatch(r"\S+\n", answer.stdout)


@pytest.mark.parametrize("words", [
    ["nonsense"], ["worker"], ["worker", "nonsense"], ["-x"], ["status", "a", "b"], ["status", "--nonsense"],
    ["status", "-f"], ["status", "--force"], ["members", "x"], ["members", "-n", "3"], ["start"], ["start", "a", "b"],
    ["start", "a", "--wait"], ["start", "a", "--json"], ["stop"], ["stop", "--force"], ["restart"], ["kill"],
    ["kill", "a", "NONSENSE"], ["kill", "a", "0"], ["kill", "a", "-9"], ["kill", "a", "65"], ["kill", "a", "9x"],
    ["kill", "a", ""], ["kill", "a", "9", "9"], ["log"], ["log", "a", "b"], ["log", "a", "-n"], ["log", "a", "-n", "x"],
    ["log", "a", "-n", ""], ["log", "a", "-n", "-1"], ["log", "a", "--json"], ["poweroff", "now"], ["reboot", "-f"],
    ["halt", "x"], ["check", "--nonsense"], ["check", "a", "b"], ["keygen", "x"],
])  # fmt: skip
def test_wrong_usage_is_told_on_stderr_with_code_2(words):
    answer = run(*words)
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.count("\n") >= 1


@pytest.mark.parametrize("words", [
    ["status"], ["status", "a"], ["status", "--json"], ["members"], ["start", "a"], ["stop", "a"], ["restart", "a"],
    ["kill", "a"], ["poweroff"], ["reboot"], ["halt"], ["log", "a"], ["start", "a" * 100],
])  # fmt: skip
def test_without_a_supervisor_the_answer_is_no(words, tmp_path):
    answer = run(*words, run_dir=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert str(tmp_path) in answer.stderr or "a" * 100 in answer.stderr
    (tmp_path / "control").touch()  # no socket
    assert run(*words, run_dir=str(tmp_path)).returncode == 1


def test_a_run_directory_that_cannot_be_a_sockets_is_told(tmp_path):
    answer = run("status", run_dir="/" + "x" * 200)
    assert answer.returncode == 1 and "too long" in answer.stderr
    # The option wins over the variable.
    answer = run("status", f"--run={tmp_path}", run_dir="/" + "x" * 200)
    assert answer.returncode == 1 and str(tmp_path) in answer.stderr


def test_an_answer_that_cannot_be_written_is_none(quiet):
    for words in (["status"], ["status", "--json"], ["help"], ["version"], ["keygen"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([BINARY, *words], env={**os.environ, "SUPERVISOR_RUN": quiet.run}, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 1, words
        assert "No space left" in done.stderr


# ---- status, members


def test_status_is_a_table_for_people_and_json_for_scripts(quiet):
    table = quiet.ctl("status")
    assert table.returncode == 0
    head, _, titles, *rows = table.stdout.splitlines()
    assert head.startswith("(lone node)  profile test  up ")
    assert titles.split() == ["SERVICE", "STATE", "PID", "SINCE", "STARTS"]
    assert "\033" not in table.stdout
    assert all(line == line.rstrip() for line in table.stdout.splitlines())
    states = {row.split()[0]: row.split()[1] for row in rows}
    assert states == {"sleeper": "ready", "failing": "failed", "pool": "ready", "pool:1": "ready", "pool:2": "ready",
                      "pool:3": "ready", "all": "ready", "log": "ready"}
    assert "exited with 1" in table.stdout

    status = quiet.status()
    assert status["profile"] == "test" and status["node"] == "" and status["stopping"] is False
    assert status["ready"] is False  # one has failed
    assert status["services_failed"] == 1
    assert {s["name"]: s["state"] for s in status["services"]} == states
    assert {"name", "state", "wanted", "pid", "since_ms", "starts", "failures", "why",
            "health", "check", "check_failures"} == set(status["services"][0])

    one = quiet.ctl("status", "sleeper")
    assert one.stdout.splitlines()[-1].split()[:2] == ["sleeper", "ready"]
    assert len(quiet.status("pool:2")) == len(status["services"][0])


@pytest.mark.parametrize("verb", ["status", "start", "stop", "restart", "kill"])
@pytest.mark.parametrize("name", ["nobody", "x" * 63, "x" * 64, "x" * 300, 'quo"te', "\N{SNOWMAN}", "\033[31m", "%s%n"],
                         ids=["plain", "63", "64", "300", "quote", "snowman", "escape", "format"])
def test_an_unknown_service_is_named(quiet, verb, name):
    answer = quiet.ctl(verb, name)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert f'no service called "{name}"' in answer.stderr


def test_members_of_a_lone_node(quiet):
    answer = quiet.ctl("members")
    assert answer.returncode == 1 and "no cluster" in answer.stderr
    answer = quiet.ctl("members", "--json")
    assert answer.returncode == 1 and json.loads(answer.stdout) == []


def on_a_terminal(s, *words, environment=None):
    master, slave = pty.openpty()
    env = {**os.environ, "SUPERVISOR_RUN": s.run, **(environment or {})}
    with subprocess.Popen([BINARY, *words], env=env, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave) as process:
        os.close(slave)
        text = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while more := os.read(master, 4096):
                text += more
        process.wait(timeout=DEADLINE_S)
    os.close(master)
    return text.decode()


def test_colours_are_for_terminals_that_want_them(quiet):
    text = on_a_terminal(quiet, "status")
    assert "\033[32mready" in text and "\033[31mfailed" in text
    assert "\033" not in on_a_terminal(quiet, "status", environment={"NO_COLOR": "1"})
    assert "\033" in on_a_terminal(quiet, "status", environment={"NO_COLOR": ""})


# ---- start, stop, restart, kill


def test_start_stop_and_restart_wait_until_it_is_done():
    slow = ("kind = daemon\nready = unix @RUN@/slow.socket\nstop-timeout = 20s\nstart = /usr/bin/python3 -c "
            "\"import signal, socket, sys, time; signal.signal(15, lambda *a: (time.sleep(0.5), sys.exit(0))); "
            "time.sleep(0.5); s = socket.socket(socket.AF_UNIX); p = '@RUN@/slow.socket'; "
            "__import__('os').path.exists(p) and __import__('os').unlink(p); s.bind(p); s.listen(); "
            "exec('while 1: s.accept()')\"\n")
    with Supervised({"slow": slow}, "slow") as s:
        first = s.wait_state("slow", "ready")
        answer = s.ctl("stop", "slow")
        assert (answer.returncode, answer.stdout) == (0, "slow: down\n")
        assert s.state("slow") == "down"
        answer = s.ctl("start", "slow")
        assert (answer.returncode, answer.stdout) == (0, "slow: ready\n")
        second = s.status("slow")
        assert second["pid"] != first["pid"]
        answer = s.ctl("restart", "slow")
        assert (answer.returncode, answer.stdout) == (0, "slow: ready\n")
        third = s.status("slow")
        assert third["pid"] != second["pid"] and third["starts"] == 3
        for verb, state in (("stop", "down"), ("start", "ready")):
            answer = s.ctl(verb, "slow", "--no-wait")
            assert (answer.returncode, answer.stdout) == (0, "")
            assert s.state("slow") in ("stopping", "starting")
            s.wait_state("slow", state)
        answer = s.ctl("restart", "slow", "--no-wait")
        assert answer.returncode == 0 and s.state("slow") == "stopping"


def test_what_does_not_come_up_is_answered_with_its_reason():
    services = {
        "failing": "kind = oneshot\nrestart = never\nstart = /bin/false\n",
        "flapping": "kind = daemon\nready = notify\nrestart-delay = 5s\nstart = /bin/false\n",
        "above": SLEEPER + "requires = failing\n",
        "top": SLEEPER + "requires = above\n",
        "pool": SLEEPER + "instances = 2\nrequires = failing\n",
        "conditional": SLEEPER + "when = path /run/nonexistent\n",
    }
    with Supervised(services, "failing flapping above top pool conditional") as s:
        s.wait_state("failing", "failed")
        for verb in ("start", "restart"):
            for name in services:
                answer = s.ctl(verb, name)
                assert answer.returncode == 1, (verb, name, answer)
                assert answer.stderr.startswith(f"supervisor: {name}: "), answer
        assert "exited with 1" in s.ctl("start", "flapping").stderr
        assert "requires above" in s.ctl("start", "top").stderr
        assert "waits for /run/nonexistent" in s.ctl("restart", "conditional").stderr


def test_kill_reaches_all_processes_of_a_service():
    services = {
        "trapper": "kind = daemon\nstart = /bin/sh -c \"trap 'touch @RUN@/../usr1' USR1; while :; do sleep 0.05; done\"\n",
        "pool": SLEEPER + "instances = 2\nrestart-delay = 10ms\n",
        "group": "kind = group\nrequires = trapper\n",
        "done": "kind = oneshot\nstart = /bin/true\n",
    }
    with Supervised(services, "trapper pool group done") as s:
        s.wait_state("group", "ready")
        time.sleep(0.3)  # the shell sets its trap
        for signal_name in ("USR1", "SIGUSR1", str(int(signal.SIGUSR1))):
            assert s.ctl("kill", "trapper", signal_name).returncode == 0
            wait_for("the trap", lambda: os.path.exists(s.path("run/usr1")))
            os.unlink(s.path("run/usr1"))
        before = {n: s.wait_state(f"pool:{n}", "ready")["pid"] for n in (1, 2)}
        assert s.ctl("kill", "pool", "KILL").returncode == 0
        for n in (1, 2):
            wait_for(f"pool:{n} anew", lambda n=n: s.status(f"pool:{n}")["pid"] not in (0, before[n]))
        for name in ("group", "done"):
            s.wait_state(name, "ready")
            answer = s.ctl("kill", name)
            assert answer.returncode == 1 and f"{name} has no process" in answer.stderr
        # Not by this program's own command line, which knows better.
        with connection(s) as sock:
            sock.send(request(KILL, "trapper", number=999))
            assert last_record(sock) == (2, "no signal has the number 999")


def test_a_start_with_very_many_ways_down_ends():
    """Each layer of two requires both of the layer below: 2^40 ways from top to bottom."""
    services = {}
    for layer in range(40):
        below = f"requires = a{layer - 1} b{layer - 1}\n" if layer else ""
        for side in "ab":
            services[f"{side}{layer}"] = "kind = group\n" + below
    with Supervised(services, "a39 b39") as s:
        s.wait_state("a39", "ready")
        assert s.ctl("stop", "a0", "--force").returncode == 0
        assert s.ctl("start", "a39", timeout=20).returncode == 0


# ---- log


def test_log_shows_the_last_lines_across_a_rotation():
    """Files are rotated at 256 KiB; the lines asked for may lie in both."""
    talker = ("kind = oneshot\nstart = /usr/bin/python3 -c \"import sys; "
              "[print('line', i, 'x' * 100) for i in range(4000)]\"\n")
    with Supervised({"talker": talker}, "talker log") as s:
        wait_for("the last line", lambda: "line 3999" in s.ctl("log", "talker", "-n", "1").stdout)
        kept = s.ctl("log", "talker", "-n", "1000000").stdout.splitlines()
        size = os.path.getsize(os.path.join(s.run, "log", "talker.log"))
        in_last_file = size // len(kept[-1] + "\n")
        assert 0 < in_last_file < len(kept)
        for n in (0, 1, 2, in_last_file - 1, in_last_file, in_last_file + 1, len(kept) - 1, len(kept), len(kept) + 1):
            lines = s.ctl("log", "talker", "-n", str(n)).stdout.splitlines()
            assert lines == (kept[-n:] if n else []), n
        assert len(s.ctl("log", "talker").stdout.splitlines()) == 50
        assert [int(line.split()[2]) for line in kept] == list(range(4000 - len(kept), 4000))


def test_log_follows_over_a_rotation_without_a_gap():
    """3500 lines of 126 bytes: one rotation, at 256 KiB."""
    script = ("import os, time\n"
              "while not os.path.exists('@RUN@/../go'): time.sleep(0.02)\n"
              "for i in range(3500):\n"
              "    print(i, 'x' * 100, flush=i % 100 == 0)\n"
              "    if i % 100 == 0: time.sleep(0.005)\n")
    s = Supervised({"talker": "kind = oneshot\nstart = /usr/bin/python3 @RUN@/../talk.py\n"}, "talker log")
    with open(s.path("run/talk.py"), "w", encoding="ascii") as file:
        file.write(script.replace("@RUN@", s.run))
    with s:
        wait_for("the file", lambda: os.path.exists(os.path.join(s.run, "log", "talker.log")))
        with subprocess.Popen([BINARY, "log", "talker", "-f", "-n", "10000"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "SUPERVISOR_RUN": s.run}) as follow:
            open(s.path("run/go"), "w", encoding="ascii").close()
            numbers = []
            while not numbers or numbers[-1] != 3499:
                numbers.append(int(follow.stdout.readline().split()[1]))
            follow.kill()
        assert numbers == list(range(3500))


def test_log_shows_no_byte_that_a_terminal_obeys_and_ends_the_last_line():
    nasty = ("kind = oneshot\nstart = /usr/bin/python3 -c \"import os; "
             "os.write(1, bytes([27, 91, 51, 49, 109, 0xc2, 0x9b, 0x9b, 0x7f, 9, 0xc3, 0xa4, 0xe2, 0x98, 0x83]))\"\n")
    with Supervised({"nasty": nasty}, "nasty log") as s:
        s.wait_state("nasty", "ready")
        time.sleep(0.2)
        assert s.ctl("stop", "log").returncode == 0
        with open(os.path.join(s.run, "log", "nasty.log"), "rb") as file:
            text = file.read().split(b" ", 1)[1]
        assert text == b"?[31m\xc2???\t\xc3\xa4\xe2\x98\x83\n"


def test_log_reads_regular_files_only(quiet):
    """The directory belongs to the log process: what it could put there must neither be followed nor block."""
    directory = os.path.join(quiet.run, "log")
    os.mkfifo(os.path.join(directory, "fifo.log"))
    os.symlink("/etc/passwd", os.path.join(directory, "link.log"))
    os.mkdir(os.path.join(directory, "directory.log"))
    for name in ("fifo", "link", "directory", "../log/sleeper", "..", "", "nobody", "x" * 600):
        answer = quiet.ctl("log", name, timeout=10)
        assert answer.returncode == 1 and answer.stdout == "", name
        assert f'a service called "{name}"' in answer.stderr


# ---- clients that mean no good


def alive(s):
    answer = s.ctl("status", "--json", timeout=20)
    return answer.returncode == 0 and json.loads(answer.stdout)


@pytest.mark.parametrize("packet", [
    b"", b"x", request(STATUS)[:-1], request(STATUS) + b"x", b"\0" * REQUEST.size, b"\xff" * REQUEST.size,
    request(STATUS, magic=0), request(STATUS, magic=MAGIC + 1), request(0), request(11), request(65535),
    request(STATUS, flags=4), request(START, "sleeper", flags=0x8000), REQUEST.pack(MAGIC, START, 0, 0, b"x" * 64),
    request(SCALE, "sleeper", number=65), request(SCALE, "sleeper", number=-1),
    request(SHUTDOWN, number=4), request(SHUTDOWN, number=-1), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100_000,
], ids=lambda p: f"{len(p)}-{p[:12].hex()}")  # fmt: skip
def test_a_packet_that_is_no_request_is_refused(quiet, packet):
    with connection(quiet) as sock:
        sock.send(packet)
        answer = last_record(sock)
        # An empty packet cannot be told from a hang-up.
        assert answer is None if packet == b"" else answer[0] == 2 and "not understood" in answer[1]
    assert alive(quiet)


def test_a_second_request_while_the_first_waits_is_a_mistake():
    services = {"never": "kind = daemon\nready = notify\nstart-timeout = none\nstart = /bin/sleep 1000000\n"}
    with Supervised(services, "never") as s, connection(s) as sock:
        sock.send(request(START, "never"))
        sock.send(request(STATUS))
        assert last_record(sock) is None
        assert alive(s)


def test_clients_that_never_read_cost_nobody_else_anything():
    """500 services make an answer that no socket buffer holds."""
    services = {"many@": "kind = group\n"}
    rows = [" ".join(f"many@{i}" for i in range(first, first + 100)) for first in range(0, 500, 100)]
    with Supervised(services, "\nservices = ".join(rows)) as s:
        assert len(alive(s)["services"]) == 500
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                last = stack.enter_context(connection(s))
                last.send(request(STATUS))
            for _ in range(3):
                assert len(alive(s)["services"]) == 500
            # The last one was not dropped, and still gets all.
            assert last_record(last) == (0, "")
            assert cpu_seconds_of(s, 1) < 0.5


def cpu_seconds_of(s, seconds):
    """Processor time that the supervisor uses while nothing is asked of it."""
    def used():
        with open(f"/proc/{s.main_pid()}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    before = used()
    time.sleep(seconds)
    return used() - before


def test_ten_thousand_connections_leave_room_for_one_more():
    with Supervised({"sleeper": SLEEPER}, "sleeper") as s:
        kept = []
        for i in range(10_000):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.connect(os.path.join(s.run, "control"))
            kept.append(sock)
            if len(kept) > 500:
                kept.pop(0).close()
            if i % 1000 == 0:
                assert alive(s)
        assert alive(s)
        assert s.state("sleeper") == "ready"
        assert cpu_seconds_of(s, 1) < 0.5


def test_many_who_wait_leave_room_for_those_who_ask():
    never = "kind = daemon\nready = notify\nstart-timeout = none\nstart = /bin/sleep 1000000\n"
    with Supervised({"never": never}, "never") as s:
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(connection(s)) for _ in range(48)]
            for sock in waiting:
                sock.send(request(START, "never"))
            answer = s.ctl("start", "never")
            assert answer.returncode == 1 and "--no-wait" in answer.stderr
            assert s.ctl("start", "never", "--no-wait").returncode == 0
            idle = [stack.enter_context(connection(s)) for _ in range(100)]
            assert alive(s) and idle
            assert not select.select(waiting, [], [], 0)[0]
        # Those have hung up: there is room to wait again.
        with connection(s) as sock:
            sock.send(request(START, "never"))
            assert not select.select([sock], [], [], 0.5)[0]
            assert s.ctl("stop", "never").returncode == 0
            assert last_record(sock)[0] == 1


def test_the_control_socket_is_roots_alone(quiet):
    assert os.stat(os.path.join(quiet.run, "control")).st_mode & 0o777 == 0o600
