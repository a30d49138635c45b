"""What a service's processes are given, and that none of them is left: with cgroups, and where there are none."""

import contextlib
import errno
import os
import signal
import subprocess
import tempfile

import pytest

from supervised import TOP, Supervised, wait_for
from test_life import SLEEPER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

BOMBER = 64321  # a user of the fork bombs' own, so that their number is bounded
V1, NONE, READ_ONLY, CGROUP2 = "version 1", "none", "read-only", "version 2"

# What the directory of the cgroups is, in a mount namespace of the supervisor's own.
CGROUPS = {
    V1: "mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd && "
        "mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd",
    NONE: "mount -t tmpfs tmpfs /sys/fs/cgroup",
    READ_ONLY: "cd /; for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do [ $(stat -fc %T $d) != cgroup2fs ] || "
               "mount -o remount,bind,ro $d; done",
    CGROUP2: ":",
}
SAID = {
    V1: "no cgroup2 is mounted: services are held by session",
    NONE: "no cgroup2 is mounted: services are held by session",
    READ_ONLY: "cannot use cgroups: no cgroup \"supervisor\" below our own: Read-only file system",
}


def in_mounts(script):
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script + ' || exit 99; exec "$@"', "sh"]


def without_cgroups(kind, services, start, namespace):
    probe = subprocess.run([*in_mounts(CGROUPS[kind]), "true"], check=False, capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no such mounts here: {probe.stderr}")
    supervised = Supervised(services, start, namespace)
    supervised.wrap = in_mounts(CGROUPS[kind])
    return supervised


@pytest.fixture(params=[False, True], ids=["process", "namespace"])
def namespace(request):
    return request.param


@pytest.fixture(scope="module", name="process")
def compile_process():
    """Where other users can execute it, too."""
    with tempfile.TemporaryDirectory(prefix="process-") as directory:
        os.chmod(directory, 0o755)
        path = os.path.join(directory, "process")
        subprocess.run(["gcc", "-O1", "-static", "-o", path, os.path.join(TOP, "tests/helpers/process.c")], check=True)
        yield path


def report_of(supervised, name):
    """What the helper's "report" printed, as a mapping."""
    supervised.wait_state(name, "ready")
    text = wait_for("the report", lambda: (lambda out: out if "end\n" in out else None)(supervised.messages()))
    lines = (line.partition(": ") if ": " in line else line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in lines}


# ---- what a process is given


ATTRIBUTES = [
    ("scheduling = batch", "scheduling", "3 0"),
    ("scheduling = idle", "scheduling", "5 0"),
    ("scheduling = fifo 10", "scheduling", "1 10"),
    ("scheduling = rr 99", "scheduling", "2 99"),
    ("scheduling = other", "scheduling", "0 0"),
    ("cpu-affinity = 0", "Cpus_allowed_list", "0"),
    ("cpu-affinity = 0 1000-1023", "Cpus_allowed_list", "0"),
    ("io-class = idle", "io", str(3 << 13)),
    ("io-class = best-effort 7", "io", str(2 << 13 | 7)),
    ("io-class = realtime 1", "io", str(1 << 13 | 1)),
    ("nice = -7", "nice", "-7"),
    ("nice = 9", "nice", "9"),
    ("oom-score = -17", "oom-score", "-17"),
    ("# whatever ours is", "nice", "0"),
]


def may_lower_its_score():
    """A container may lack CAP_SYS_RESOURCE."""
    return subprocess.run(["sh", "-c", "echo -17 >/proc/self/oom_score_adj"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("key, field, value", ATTRIBUTES, ids=[row[0] for row in ATTRIBUTES])
def test_a_process_has_what_its_file_says(process, key, field, value):
    if key == "oom-score = -17" and not may_lower_its_score():
        pytest.skip("root may not lower a score here")
    with Supervised({"reporter": f"start = {process} report\n{key}\n"}, "reporter") as s:
        assert report_of(s, "reporter")[field] == value


@pytest.mark.parametrize("calls", ["none", "close_range"])
def test_signals_and_descriptors_are_clean_whoever_started_us(process, calls, namespace):
    """The story: a shell in the background ignores INT and QUIT, cron blocks, a wrapper leaks what it has open."""
    services = {"reporter": f"start = {process} report\nlisten = unix @RUN@/r.sock\nlisten = unix @RUN@/s.sock\n"}
    s = Supervised(services, "reporter", namespace)
    s.wrap = [process, "deny", str(errno.ENOSYS), calls, process, "dirty"]
    with s:
        report = report_of(s, "reporter")
        assert {key: int(report[key], 16) for key in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd")} == dict.fromkeys(
            ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"), 0)
        assert report["descriptors"] == "0 1 2 3 4"
        assert report["nice"] == "0"


@pytest.mark.parametrize("without, key, why", [
    ("sys_resource", "oom-score = -500", "oom-score: Permission denied"),
    ("sys_nice", "nice = -5", "nice: Permission denied"),
    ("sys_nice", "scheduling = fifo 1", "scheduling: Operation not permitted"),
    ("sys_admin,-sys_nice", "io-class = realtime 0", "io-class: Operation not permitted"),
    ("", "cpu-affinity = 1023", "cpu-affinity: Invalid argument"),
    ("sys_resource", "limit-core = 0\nlimit-nofile = 1G", "limit nofile: Operation not permitted"),
])  # fmt: skip
def test_what_may_not_be_given_fails_the_start_and_is_named(without, key, why):
    s = Supervised({"lost": f"start = /bin/sleep 1000\nrestart = never\nno-new-privileges = no\n{key}\n"}, "lost")
    if without and not (without == "sys_resource" and not may_lower_its_score()):
        s.wrap = ["setpriv", f"--bounding-set=-{without}", f"--inh-caps=-{without}"]
    with s:
        assert s.wait_state("lost", "failed")["why"] == why


@pytest.mark.parametrize("calls, error", [
    ("clone3", errno.ENOSYS),
    ("clone3", errno.EPERM),
    ("clone3,pidfd_open,pidfd_send_signal", errno.ENOSYS),
    ("clone3,pidfd_open", errno.EPERM),
])  # fmt: skip
def test_without_newer_calls_older_ones_do(process, calls, error, namespace):
    """As in a container whose filter does not know them, or on an old kernel."""
    services = {"base": f"start = {process} report\nrestart-delay = 10ms\n", "above": SLEEPER + "requires = base\n",
                "leaver": "start = /bin/sh -c \"setsid sleep 1000 & exec sleep 1000\"\n"}
    s = Supervised(services, "base above leaver", namespace)
    s.wrap = [process, "deny", str(error), calls]
    with s:
        before = {name: s.wait_state(name, "ready")["pid"] for name in services}
        assert report_of(s, "base")["descriptors"] == "0 1 2"
        s.ctl("kill", "base", "KILL")
        wait_for("base and above again", lambda: all(
            s.state(name) == "ready" and s.status(name)["pid"] not in (0, before[name]) for name in ("base", "above")))
        assert s.status("leaver")["pid"] == before["leaver"]
        assert s.ctl("stop", "leaver").returncode == 0
        assert s.ctl("stop", "base", "--force").returncode == 0
        assert not s.processes()


# ---- what is left of it


# Each leaves something that one way of looking would miss.
LEAVERS = {
    "child": "sleep 1000 & exec sleep 1000",
    "session": "setsid sleep 1000 & exec sleep 1000",
    "orphan": "(setsid setsid sleep 1000 &) ; exec sleep 1000",
    "grandchild": "(setsid sh -c '(setsid sh -c \\\"sleep 1000; true\\\" &) ; sleep 1000' &) ; exec sleep 1000",
    "below": "(setsid sh -c 'env -i setsid sleep 1000; true' &) ; exec sleep 1000",
}


def leaver(script):
    return f"start = /bin/sh -c \"{script}\"\nrestart-delay = 10ms\nstop-timeout = 5s\n"


@pytest.mark.parametrize("kind", CGROUPS)
@pytest.mark.parametrize("way", LEAVERS)
def test_nothing_is_left_of_a_stopped_service_and_others_stay(kind, way, namespace):
    services = {"leaver": leaver(LEAVERS[way]), "other": leaver(LEAVERS["orphan"])}
    with without_cgroups(kind, services, "leaver other", namespace) as s:
        for name in services:
            s.wait_state(name, "ready")
        least = {"child": 2, "session": 2, "orphan": 2, "grandchild": 4, "below": 3}[way]
        wait_for("all that they start", lambda: len(s.processes()) >= least + 2)
        other = s.status("other")["pid"]
        assert s.ctl("stop", "leaver").returncode == 0
        wait_for("two processes of the other", lambda: len(s.processes()) == 2)
        assert s.status("other")["pid"] == other
        assert s.ctl("stop", "other").returncode == 0
        wait_for("no process", lambda: not s.processes())


@pytest.mark.parametrize("kind", CGROUPS)
def test_it_never_runs_beside_what_is_left_of_its_last_run(kind, namespace):
    """What is left holds a lock; a start that came before its end would exit with 3."""
    script = ("exec 9>@RUN@/../lock; flock -n 9 || exit 3; i=0; while [ $i -lt 40 ]; do (setsid sleep 1000 &) ; "
              "i=$((i+1)); done; exec sleep 1000")
    with without_cgroups(kind, {"holder": leaver(script).replace("10ms", "1ms")}, "holder", namespace) as s:
        for starts in range(2, 7):
            s.wait_state("holder", "ready")
            wait_for("what it leaves", lambda: len(s.processes()) == 41)
            s.ctl("kill", "holder", "KILL")
            wait_for("the next start", lambda starts=starts: s.status("holder")["starts"] == starts)
        assert "exited with 3" not in s.messages()


@pytest.mark.parametrize("kind", [V1, NONE, READ_ONLY])
def test_that_there_are_no_cgroups_is_said_once_and_the_rest_works(kind, namespace):
    services = {"daemon": SLEEPER + "memory-max = 64M\npids-max = 20\ncpu-max = 50%\nrestart-delay = 10ms\n",
                "once": "kind = oneshot\nstart = /bin/true\nstop = /bin/sh -c \"echo > @RUN@/../undone\"\n",
                "above": SLEEPER + "requires = once daemon\n",
                "stubborn": "stop-timeout = 200ms\nstart = /bin/sh -c \"trap '' TERM; while :; do sleep 1; done\"\n"}
    with without_cgroups(kind, services, "above stubborn log", namespace) as s:
        pid = s.wait_state("daemon", "ready")["pid"]
        s.wait_state("above", "ready")
        s.ctl("kill", "daemon", "KILL")
        wait_for("another", lambda: s.status("daemon")["pid"] not in (0, pid) and s.state("above") == "ready")
        s.wait_state("stubborn", "ready")
        assert s.ctl("stop", "stubborn").returncode == 0
        assert s.ctl("restart", "daemon", "--force").returncode == 0
        s.wait_state("above", "ready")
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=60) == 0
        assert os.path.exists(s.path("run/undone"))
        assert sum("cgroup" in line for line in s.messages().splitlines()) == 1
        assert SAID[kind] in s.messages()


def test_the_tree_of_an_earlier_run_is_none_where_it_cannot_be_written():
    """The story: the directory was there, so that making it did not fail, and each start failed in it instead."""
    with open("/proc/self/cgroup", encoding="ascii") as file:
        ours = [line.strip()[3:] for line in file if line.startswith("0::")]
    mounts = [mount for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if os.path.exists(f"{mount}/cgroup.procs")]
    if not ours or not mounts:
        pytest.skip("no cgroup2 here")
    trees = [f"{mounts[0]}{ours[0].rstrip('/')}/supervisor{suffix}" for suffix in ("", *(f"-{i}" for i in range(1, 10)))]
    made = [tree for tree in trees if not os.path.exists(tree)]
    try:
        for tree in made:
            os.mkdir(tree)
        with without_cgroups(READ_ONLY, {"one": SLEEPER}, "one", False) as s:
            s.wait_state("one", "ready")
            assert s.messages().count("Read-only file system") == 1
            assert SAID[READ_ONLY] in s.messages()
    finally:
        for tree in made:
            with contextlib.suppress(OSError):
                os.rmdir(tree)


@pytest.mark.parametrize("kind", [NONE, CGROUP2])
def test_what_hides_even_its_environment_ends_with_us(kind):
    """The known gap: no session, no parent, no environment. Closed at the latest when the supervisor ends."""
    services = {"hider": leaver("(env -i setsid setsid sleep 987654 &) ; exec sleep 1000"), "other": SLEEPER}
    with without_cgroups(kind, services, "hider other", False) as s:
        s.wait_state("other", "ready")
        wait_for("the hidden one", lambda: len(s.processes()) == 3)
        assert s.ctl("stop", "hider").returncode == 0
        left = s.processes()
        assert len(left) == (2 if kind == NONE else 1)
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=60) == 0
        assert not any(os.path.exists(f"/proc/{pid}") for pid in left)


@pytest.mark.parametrize("kind", [NONE, CGROUP2])
def test_a_fork_bomb_is_ended_by_a_stop(process, kind, namespace):
    """Without pids-max: only its user's own limit keeps the machine of this test alive."""
    services = {"bomb": f"start = {process} bomb\nuser = {BOMBER}\nlimit-nproc = 150\nstop-timeout = 300ms\n"
                        "nice = 19\nrestart = never\n",
                "other": SLEEPER}
    with without_cgroups(kind, services, "bomb other", namespace) as s:
        pid = s.wait_state("other", "ready")["pid"]
        wait_for("its many processes", lambda: len(s.processes()) > 100)
        assert s.ctl("stop", "bomb").returncode == 0
        wait_for("the other one alone", lambda: len(s.processes()) == 1)
        assert s.status("other")["pid"] == pid


@pytest.mark.parametrize("kind", [NONE, CGROUP2])
def test_a_signal_reaches_its_children(kind, namespace):
    child = "trap 'echo child has it' USR1; echo child; while :; do sleep 0.05; done"
    services = {"family": f"start = /bin/sh -c \"sh -c \\\"{child}\\\" & trap : USR1; while :; do wait; done\"\n"}
    with without_cgroups(kind, services, "family", namespace) as s:
        wait_for("the child", lambda: "child\n" in s.messages())
        assert s.ctl("kill", "family", "USR1").returncode == 0
        wait_for("the child's answer", lambda: "child has it" in s.messages())
        assert s.state("family") == "ready"


def test_a_first_thread_that_is_gone_hides_no_process(process, namespace):
    services = {"threads": leaver(f"({process} threads &) ; exec sleep 1000")}
    with without_cgroups(NONE, services, "threads", namespace) as s:
        s.wait_state("threads", "ready")
        wait_for("its second thread", lambda: "going on" in s.messages())
        assert s.ctl("stop", "threads").returncode == 0
        wait_for("no process", lambda: not s.processes())


def test_a_missing_controller_is_said_once_and_its_limits_do_no_harm(namespace):
    """Where the memory or cpu controller is not ours to pass on; where all are, nothing is said."""
    keys = "memory-max = 64M\nmemory-high = 32M\npids-max = 20\ncpu-weight = 10\ncpu-max = 50%\nio-weight = 10\n"
    with Supervised({"one": SLEEPER + keys, "two": SLEEPER + keys}, "one two", namespace) as s:
        for name in ("one", "two"):
            s.wait_state(name, "ready")
        for controller in ("memory", "pids", "cpu", "io"):
            assert s.messages().count(f"no {controller} controller") in (0, 1)
