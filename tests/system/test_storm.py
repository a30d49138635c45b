"""Storms and shortages: what happens thousands of times, or all at once, or when there is nothing left to be had.

The supervisor carries on, keeps to one process a service, answers `status`, says what is wrong a few times and not for
ever, and is itself again when the shortage is over. Deadlines are generous: the machine may have more to do.
"""

import contextlib
import json
import os
import pty
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from supervised import BINARY, TOP, Supervised, wait_for
from test_life import SLEEPER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

SANITIZED = os.path.basename(os.path.dirname(BINARY)) == "asan"
BOMBER = 64323  # a user of the fork bomb's own, so that their number is bounded
LONG_S = 240


@pytest.fixture(params=[False, True], ids=["process", "namespace"])
def namespace(request):
    return request.param


@pytest.fixture(scope="module", name="helper")
def compile_helpers():
    """Where other users can execute them, too."""
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        os.chmod(directory, 0o755)
        for name in ("storm", "process"):
            subprocess.run(["gcc", "-O1", "-static", "-o", f"{directory}/{name}", f"{TOP}/tests/helpers/{name}.c"],
                           check=True)
        yield lambda name: f"{directory}/{name}"


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def is_sleep(pid):
    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        return file.read() == "sleep\n"


def soon(condition):
    """As wait_for(), for what takes milliseconds and happens thousands of times."""
    end = time.monotonic() + LONG_S
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.001)
    return value


class Asking:
    """Asks for the status again and again; the longest that an answer took is in `longest_s`."""

    def __init__(self, supervised):
        self.supervised = supervised
        self.answers, self.longest_s, self.failure = 0, 0.0, None
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        while not self.enough.is_set():
            start = time.monotonic()
            try:
                self.supervised.status()
            except (AssertionError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
                self.failure = error
                return
            self.longest_s = max(self.longest_s, time.monotonic() - start)
            self.answers += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, traceback):
        self.enough.set()
        self.thread.join()
        assert self.failure is None
        print(f"{self.answers} answers, the longest took {self.longest_s:.3f} s")


# ---- storms


def test_a_thousand_kills_in_a_row_leave_one_with_the_right_pid(namespace):
    """Every other one dies as soon as it is there, before or after its exec."""
    kills = 100 if SANITIZED else 1000
    services = {"victim": SLEEPER + "restart-delay = 1ms\nrestart-delay-max = 1ms\n"}
    with Supervised(services, "victim", namespace) as s:
        s.wait_state("victim", "ready")
        main, killed = s.main_pid(), set()
        for i in range(kills):
            pid = soon(lambda: next((p for p in children(main) if p not in killed), None))
            if i % 2:
                soon(lambda pid=pid: is_sleep(pid))
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
            soon(lambda pid=pid: pid not in children(main))
        status = wait_for("ready", lambda: (lambda v: v if v["state"] == "ready" else None)(s.status("victim")))
        left = wait_for("one process", lambda: (lambda pids: pids if len(pids) == 1 else None)(s.processes()))
        assert left[0] not in killed
        with open(f"/proc/{left[0]}/status", encoding="ascii") as file:
            inner = [line.split()[-1] for line in file if line.startswith("NSpid")][0]
        assert int(inner) == status["pid"]
        assert status["starts"] == kills + 1


def test_a_storm_of_orphans_hides_nothing(helper, namespace):
    orphans = 5_000 if SANITIZED else 100_000
    services = {"storm": f"kind = oneshot\nstart-timeout = none\nstart = {helper('storm')} {orphans}\n", "other": SLEEPER}
    with Supervised(services, "storm other", namespace) as s:
        pid = s.wait_state("other", "ready")["pid"]
        with Asking(s) as asking:
            wait_for("the end of the storm", lambda: s.state("storm") == "ready", LONG_S)
        assert asking.answers > 0 and asking.longest_s < 30
        wait_for("only the other one", lambda: len(s.processes()) == 1)
        assert s.status("other")["pid"] == pid


def test_status_answers_beside_a_fork_bomb(helper, namespace):
    services = {"bomb": f"start = {helper('process')} bomb\nuser = {BOMBER}\nlimit-nproc = 100\nstop-timeout = 300ms\n"
                        "restart = never\nnice = 19\n",
                "other": SLEEPER}
    with Supervised(services, "bomb other", namespace) as s:
        pid = s.wait_state("other", "ready")["pid"]
        wait_for("its many processes", lambda: len(s.processes()) > 60)
        with Asking(s) as asking:
            wait_for("some answers", lambda: asking.answers >= 3 or asking.failure, LONG_S)
            assert s.ctl("stop", "bomb", timeout=LONG_S).returncode == 0
        assert asking.longest_s < 30
        assert s.status("other")["pid"] == pid
        wait_for("only the other one", lambda: len(s.processes()) == 1)


def test_ten_thousand_clients_are_answered_in_waves_and_held_open(namespace):
    clients = 1_000 if SANITIZED else 10_000
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], clients + 100), max(before[1], clients + 100)))
    try:
        with Supervised({"sleeper": SLEEPER}, "sleeper", namespace) as s, contextlib.ExitStack() as stack:
            pid = s.wait_state("sleeper", "ready")["pid"]
            with Asking(s) as asking:
                for _ in range(clients):
                    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                    sock.connect(os.path.join(s.run, "control"))
                wait_for("an answer", lambda: asking.answers > 1 or asking.failure, LONG_S)
            assert asking.longest_s < 30
            assert s.status("sleeper")["pid"] == pid
            for _ in range(5):  # waves: all at once, each with a request
                wave = [subprocess.Popen([BINARY, "status"], env={**os.environ, "SUPERVISOR_RUN": s.run},
                                         stdout=subprocess.DEVNULL) for _ in range(20)]
                assert [process.wait(timeout=LONG_S) for process in wave] == [0] * 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_five_hundred_services_come_and_come_back_at_once(namespace):
    pools, members = (4, 25) if SANITIZED else (8, 62)
    names = [f"p{i}" for i in range(pools)]
    pool = SLEEPER + f"instances = {members}\nrestart-delay = 10ms\n"
    with Supervised({name: pool for name in names}, " ".join(names), namespace) as s:
        def all_ready():
            pids = {v["name"]: v["pid"] for v in s.status()["services"] if ":" in v["name"] and v["state"] == "ready"}
            return pids if len(pids) == pools * members else None
        first = wait_for("all of them", all_ready, LONG_S)
        assert len(set(first.values())) == pools * members
        for pid in children(s.main_pid()):
            os.kill(pid, signal.SIGKILL)
        second = wait_for("all of them again", lambda: (lambda now: now if now and not set(now.values()) &
                                                        set(first.values()) else None)(all_ready()), LONG_S)
        assert len(set(second.values())) == pools * members == len(children(s.main_pid()))
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=LONG_S) == 0


def test_a_chain_of_a_hundred_falls_and_rises_in_order(namespace):
    count = 30 if SANITIZED else 100
    names = [f"c{i}" for i in range(count)]
    chain = {name: f"start = /bin/sh -c \"echo {name} >> @RUN@/../order; exec sleep 1000000\"\nrestart-delay = 10ms\n" +
             (f"requires = c{i - 1}\n" if i else "") for i, name in enumerate(names)}
    with Supervised({**chain, "stranger": SLEEPER}, " ".join([*names, "stranger"]), namespace) as s:
        last = names[-1]
        wait_for("the whole chain", lambda: s.state(last) == "ready", LONG_S)
        stranger = s.status("stranger")["pid"]
        before = s.status(last)["pid"]
        assert s.ctl("kill", "c0", "KILL").returncode == 0
        wait_for("the whole chain again", lambda: (lambda v: v["state"] == "ready" and v["pid"] != before)(s.status(last)),
                 LONG_S)
        with open(s.path("run/order"), encoding="ascii") as file:
            order = file.read().split()
        # "ready" is the exec: who writes may still be overtaken by its dependent.
        assert sorted(order[:count]) == sorted(names) and sorted(order[count:]) == sorted(names)
        assert all(v["starts"] == 2 for v in s.status()["services"] if v["name"] in names)
        assert s.status("stranger")["pid"] == stranger
        refused = s.ctl("stop", "c0")
        assert refused.returncode == 1 and "--force" in refused.stderr
        assert s.ctl("stop", "c0", "--force", timeout=LONG_S).returncode == 0
        assert len(s.processes()) == 1


# ---- stops that come at a bad time


def test_a_stop_during_backoff_stays_stopped(namespace):
    services = {"failing": "start = /bin/false\nrestart-delay = 300ms\nrestart-delay-max = 300ms\n"}
    with Supervised(services, "failing", namespace) as s:
        s.wait_state("failing", "backoff")
        assert s.ctl("stop", "failing").returncode == 0
        starts = s.status("failing")["starts"]
        time.sleep(0.8)
        status = s.status("failing")
        assert (status["state"], status["starts"]) == ("down", starts)
        assert s.ctl("start", "failing", "--no-wait").returncode == 0
        wait_for("a new try", lambda: s.status("failing")["starts"] > starts)


def test_a_kill_while_it_stops_ends_the_stop(namespace):
    """It ignores its stop signal and has a day to end."""
    deaf = "stop-timeout = 24h\nready = notify\nstart = /bin/sh -c \"trap '' TERM; echo deaf; while :; do sleep 1000; done\"\n"
    with Supervised({"deaf": deaf.replace("ready = notify\n", "")}, "deaf", namespace) as s:
        s.wait_state("deaf", "ready")
        wait_for("its trap", lambda: "deaf" in s.messages())
        assert s.ctl("stop", "deaf", "--no-wait").returncode == 0
        s.wait_state("deaf", "stopping")
        assert s.ctl("stop", "deaf", "--no-wait").returncode == 0
        assert s.ctl("kill", "deaf", "KILL").returncode == 0
        s.wait_state("deaf", "down")
        wait_for("no process", lambda: not s.processes())


def test_what_ignores_everything_is_down_in_time_and_so_are_all(namespace):
    ignores = ("stop-timeout = 300ms\nstart = /bin/sh -c \"trap '' TERM INT HUP QUIT USR1 USR2; (setsid sleep 424242 &); "
               "while :; do sleep 1000; done\"\n")
    names = [f"i{i}" for i in range(20)]
    with Supervised({name: ignores for name in names}, " ".join(names), namespace) as s:
        for name in names:
            s.wait_state(name, "ready")
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=LONG_S) == 0


# ---- shortages


@contextlib.contextmanager
def no_processes(pid):
    """It cannot fork: a cgroup of its own with the limit that it has reached."""
    for top in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        group = f"{top}/storm-{os.getpid()}"
        try:
            os.mkdir(group)
        except OSError:
            continue
        if os.path.exists(f"{group}/pids.max"):
            break
        os.rmdir(group)
    else:
        pytest.skip("no cgroup that limits the number of processes")
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        before = next(line.split(":")[2].strip() for line in file
                      if line.split(":")[1] == ("pids" if top.endswith("pids") else ""))
    with open(f"{group}/pids.max", "w", encoding="ascii") as file:
        file.write("1")
    with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(pid))
    try:
        yield
    finally:
        with open(f"{top}{before}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rmdir(group)


def test_without_new_processes_it_waits_and_goes_on(namespace):
    services = {"sleeper": SLEEPER + "restart-delay = 10ms\nrestart-delay-max = 200ms\n"}
    with Supervised(services, "sleeper", namespace) as s:
        s.wait_state("sleeper", "ready")
        with no_processes(s.main_pid()):
            os.kill(children(s.main_pid())[0], signal.SIGKILL)
            wait_for("the shortage", lambda: "cannot start a process: Resource temporarily unavailable"
                     in s.status("sleeper")["why"])
            lines = s.messages().count("\n")
            time.sleep(2)
            assert s.messages().count("\n") - lines < 24
            assert s.status()["services"]
        s.wait_state("sleeper", "ready")
        assert len(s.processes()) == 1


@pytest.mark.skipif(SANITIZED, reason="the sanitizer takes all addresses there are")
def test_without_new_memory_it_carries_on(namespace):
    services = {"sleeper": SLEEPER + "restart-delay = 10ms\nrestart-delay-max = 100ms\n"}
    with Supervised(services, "sleeper", namespace) as s:
        s.wait_state("sleeper", "ready")
        main = s.main_pid()
        before = resource.prlimit(main, resource.RLIMIT_AS)
        resource.prlimit(main, resource.RLIMIT_AS, (4096, before[1]))
        for _ in range(5):
            for pid in children(main):
                os.kill(pid, signal.SIGKILL)
            assert s.status()["services"]
            time.sleep(0.1)
        resource.prlimit(main, resource.RLIMIT_AS, before)
        s.wait_state("sleeper", "ready")
        assert len(s.processes()) == 1


def test_a_full_disk_stops_only_the_keeping_of_output(namespace):
    talker = "start = /bin/sh -c \"while :; do echo talk talk talk; sleep 0.1; done\"\nrestart-delay = 10ms\n"
    supervised = Supervised({"talker": talker}, "log talker", namespace)
    disk = os.path.dirname(supervised.run)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", disk], check=True)
    try:
        with supervised as s:
            wait_for("its output", lambda: "talk" in s.ctl("log", "talker").stdout)
            log = s.status("log")["pid"]
            with open(f"{disk}/filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            with open(f"{disk}/last", "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x")
            starts = s.status("talker")["starts"]
            assert s.ctl("kill", "talker", "KILL").returncode == 0
            wait_for("a new one", lambda: s.status("talker")["starts"] > starts and s.state("talker") == "ready")
            time.sleep(1)
            # Said, and not for ever.
            assert s.messages().count("No space left on device") < 5
            os.unlink(f"{disk}/filler")
            os.unlink(f"{disk}/last")
            assert s.ctl("kill", "talker", "KILL").returncode == 0
            lines = s.ctl("log", "talker").stdout
            wait_for("output again", lambda: s.ctl("log", "talker").stdout != lines)
            assert s.status("log")["pid"] == log
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_console_that_goes_away_takes_nobody_along(kind, namespace):
    supervised = Supervised({"sleeper": SLEEPER + "restart-delay = 10ms\n"}, "sleeper", namespace)
    if kind == "pipe":
        os.mkfifo(supervised.path("console"))
        reader = os.open(supervised.path("console"), os.O_RDONLY | os.O_NONBLOCK)
    else:
        reader, terminal = pty.openpty()
        os.symlink(os.ttyname(terminal), supervised.path("console"))
    with supervised as s:
        if kind == "terminal":
            os.close(terminal)
        pid = s.wait_state("sleeper", "ready")["pid"]
        os.close(reader)
        s.console.close()
        for _ in range(3):
            assert s.ctl("kill", "sleeper", "KILL").returncode == 0
            pid = wait_for("a new one", lambda pid=pid: (lambda v: v["pid"] if v["state"] == "ready" and v["pid"] != pid
                                                         else None)(s.status("sleeper")))
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=60) == 0
