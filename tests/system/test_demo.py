"""The demo command: real command, real switch, machines played by tests/helpers/fake-qemu.py."""

import base64
import contextlib
import json
import lzma
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import termios
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", TOP / "build"))
DEMO = TOP / "image/demo/demo.py"
NODES = ("data1", "data2", "php1", "php2", "web1", "web2")
sys.path.insert(0, str(TOP / "image/demo"))

import machine as machines  # pylint: disable=wrong-import-position
from state import Process, State, start_time  # pylint: disable=wrong-import-position

pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("SUPERVISOR_BIN", ""), reason="no part of the program; once is enough"
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(predicate, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Demo:
    def __init__(self, directory):
        self.ills = directory / "ills"
        self.state = directory / "state"
        images = directory / "images"
        tools = directory / "tools"
        for path in (self.ills, tools):
            path.mkdir()
        for role in ("data", "php", "web"):
            (images / role).mkdir(parents=True)
            (images / role / "cmdline").write_text(f"quiet -- --profile={role}\n", encoding="ascii")
            (images / role / "vmlinuz").write_bytes(bytes(1024))
            (images / role / "initrd").write_bytes(b"")
        (tools / "qemu-system-x86_64").symlink_to(TOP / "tests/helpers/fake-qemu.py")
        self.port = free_port()
        self.words = ["/usr/bin/python3", str(DEMO), f"--state={self.state}", f"--port={self.port}", f"--images={images}"]
        self.environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "FAKE_QEMU": str(self.ills),
            "BUILD": str(BUILD),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self, *words):
        return subprocess.Popen(
            [*self.words, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words, code=0):
        done = self.start(*words)
        out, errors = done.communicate(timeout=120)
        assert done.returncode == code, f"{words}: exit code {done.returncode}\n{out}{errors}"
        return out, errors

    def nodes(self):
        """Phases of all nodes, whatever the exit code of `status` is."""
        process = self.start("status", "--json")
        return {name: node["phase"] for name, node in json.loads(process.communicate(timeout=60)[0])["nodes"].items()}

    def pids(self):
        """Of everything that runs for this state directory."""
        found = []
        for path in (self.state / "run").glob("*.pid"):
            if pid := Process(str(path)).pid():
                found.append(pid)
        return found

    def strays(self):
        """Processes that work in the state directory, recorded or not."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if os.readlink(path) == str(self.state / "run"):
                    found.append(path.parent.name)
        return found

    def ill(self, name, *words):
        (self.ills / name).write_text(" ".join(words), encoding="ascii")

    def end(self):
        for path in (self.state / "run").glob("*.pid"):
            Process(str(path)).end(1, signal.SIGKILL)
        for pid in self.strays():
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def demo(tmp_path):
    made = Demo(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    """One that is up, for tests that leave it as it was."""
    made = Demo(tmp_path_factory.mktemp("up"))
    out, _ = made.run("up")
    assert out == f"http://127.0.0.1:{made.port}/\n"
    yield made
    made.end()


# --- its life


def test_up_status_down(demo):
    out, errors = demo.run("up")
    assert out == f"http://127.0.0.1:{demo.port}/\n"
    for name in NODES:
        assert f"{name:8} ready" in errors
    assert "up after" in errors and "MiB of memory" in errors
    assert set(demo.nodes().values()) == {"ready"}
    _, errors = demo.run("down")
    assert errors.splitlines() == ["powering off web1 web2", "powering off php1 php2", "powering off data1 data2"]
    assert demo.pids() == []
    assert set(demo.nodes().values()) == {"off"}
    demo.run("status", code=1)
    demo.run("down")


def test_second_up_finds_all_running(up):
    before = sorted(up.pids())
    up.run("up")
    assert sorted(up.pids()) == before


def test_foreground_powers_off_on_interrupt(demo):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = demo.start()
        assert process.stdout.readline() == f"http://127.0.0.1:{demo.port}/\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "powering off data1 data2" in errors
        assert demo.pids() == []


def test_foreground_ends_when_the_demo_is_taken_down_elsewhere(demo):
    process = demo.start()
    process.stdout.readline()
    demo.run("down")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "powered off from elsewhere" in errors


def test_up_that_is_interrupted_leaves_nothing_running(demo):
    for name in NODES:
        demo.ill(name, "mute")
    process = demo.start("up")
    until(lambda: len(demo.pids()) == 7)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "what was started is off again" in errors
    assert demo.pids() == []


def test_second_interrupt_cuts_the_power(demo):
    demo.ill("data1", "deaf")
    process = demo.start()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    until(lambda: len(demo.pids()) < 7)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted again: power cut" in errors
    assert demo.pids() == []


def test_interrupt_at_any_moment_leaves_nothing_behind(demo):
    """A machine was started and not yet recorded when the signal came: nobody would ever have ended it."""
    demo.run("up")
    demo.run("down")
    for moment in range(12):
        process = demo.start("up")
        time.sleep(0.05 + 0.04 * moment)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert demo.strays() == []


def test_up_after_the_switch_has_ended_asks_for_a_down(demo):
    demo.run("up")
    Process(str(demo.state / "run/switch.pid")).end()
    assert "the switch has ended" in demo.run("up", code=1)[1]
    demo.run("down")
    assert demo.pids() == []


def test_killed_foreground_is_cleaned_up_by_down(demo):
    process = demo.start()
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert len(demo.pids()) == 7
    demo.run("down")
    assert demo.pids() == []


def test_disks_and_keys_survive_down_and_go_with_reset(demo):
    demo.run("up")
    disk = demo.state / "disks/data1-data.raw"
    with open(disk, "r+b") as file:
        file.write(b"precious")
    node = (demo.state / "cluster/web1.conf").read_text(encoding="ascii")
    demo.run("down")
    demo.run("up")
    assert disk.read_bytes()[:8] == b"precious"
    assert (demo.state / "cluster/web1.conf").read_text(encoding="ascii") == node
    demo.run("reset")
    assert demo.pids() == []
    assert not disk.exists() and not (demo.state / "cluster").exists()


def test_kill_start_stop_of_one_machine(demo):
    demo.run("up")
    demo.run("kill", "php1")
    assert demo.nodes() == {**dict.fromkeys(NODES, "ready"), "php1": "off"}
    assert "php1 is off" in demo.run("kill", "php1", code=1)[1]
    assert "php1 is off" in demo.run("ctl", "php1", "status", code=1)[1]
    demo.run("start", "php1")
    until(lambda: demo.nodes()["php1"] == "ready")
    assert "php1 runs" in demo.run("start", "php1", code=1)[1]
    demo.run("stop", "php1")
    assert demo.nodes()["php1"] == "off"
    demo.run("down")
    assert "the demo is off" in demo.run("start", "php1", code=1)[1]


def test_a_hung_machine_says_so_and_goes_on(up):
    up.run("hang", "php1")
    until(lambda: up.nodes()["php1"] == "hung")
    up.run("resume", "php1")
    until(lambda: up.nodes()["php1"] == "ready")


def test_a_hung_machine_is_powered_off_in_order(demo):
    demo.run("up")
    demo.run("hang", "php1")
    _, errors = demo.run("down")
    assert "switched off" not in errors


def test_a_slow_disk(up):
    up.run("slow", "data1", "20")
    assert json.loads((up.state / "run/data1.qmp-last").read_text()) == {
        "device": "data", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 20, "iops_rd": 0, "iops_wr": 0}
    assert "no disk that it writes to" in up.run("slow", "web1", "20", code=1)[1]
    assert 'found "fast"' in up.run("slow", "data1", "fast", code=1)[1]


def test_machine_deaf_to_power_off_is_switched_off_in_the_end(demo):
    demo.run("up")
    demo.ill("php2", "deaf")
    process = demo.start("--deadline=2", "stop", "php2")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "php2: not off in 2 s, switched off" in errors
    assert demo.nodes()["php2"] == "off"


# --- what goes wrong


def test_machine_that_ends_is_reported_with_its_last_words(demo):
    demo.ill("php1", "panics")
    _, errors = demo.run("up", code=1)
    assert "php1 went off" in errors and "    | panic?" in errors
    demo.run("down")
    demo.ill("php1", "dies")
    _, errors = demo.run("up", code=1)
    assert "php1 went off" in errors and "    | qemu: no such luck" in errors


def test_deadline_says_who_is_not_ready(demo):
    demo.ill("data2", "mute")
    demo.ill("web1", "mute")
    _, errors = demo.run("--deadline=3", "up", code=1)
    assert "the site does not answer 200 after 3 s: not asked yet" in errors
    assert "data2: kernel\n    | kernel of data2" in errors and "web1: kernel" in errors
    assert "php1: " not in errors
    assert len(demo.pids()) == 7, "left as it is, to be looked at"


def test_two_commands_at_once_do_not_collide(demo):
    for name in NODES:
        demo.ill(name, "mute")
    process = demo.start("up")
    until(lambda: len(demo.pids()) == 7)
    assert "another demo command is at work" in demo.run("down", code=1)[1]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def test_port_in_use(demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", demo.port))
        taken.listen()
        _, errors = demo.run("up", code=1)
    assert f"port {demo.port} of 127.0.0.1: Address already in use; choose another by --port N" in errors
    assert demo.pids() == []


def test_state_in_a_place_with_a_long_name(tmp_path):
    """Names of Unix sockets end at 107 bytes; directories do not."""
    made = Demo(tmp_path)
    made.words[2] = f"--state={tmp_path / ('x' * 120)}"
    made.state = tmp_path / ("x" * 120)
    try:
        made.run("up")
        assert made.run("ctl", "web1", "echo", "hi", code=3)[0] == "hi\n"
        made.run("down")
    finally:
        made.end()


@pytest.mark.parametrize(
    "words, code, error",
    [
        (["frobnicate"], 2, 'no verb "frobnicate"'),
        (["--port=0", "up"], 2, "--port: expected 1 to 65535, found 0"),
        (["--port=x", "up"], 2, "--port"),
        (["up", "--port=0"], 2, "--port: expected 1 to 65535, found 0"),
        (["up", "--json"], 2, "usage: demo up"),
        (["--deadline=0", "up"], 2, "--deadline: expected 1 to 86400, found 0"),
        (["--what"], 2, "usage"),
        (["up", "now"], 2, "usage: demo up"),
        (["ctl", "web1"], 2, "usage: demo ctl NODE ARG…"),
        (["ctl", "web9", "status"], 1, 'no node "web9"; there are: data1'),
        (["kill"], 2, "usage: demo kill NODE"),
        (["console", "web1"], 1, "web1 is off"),
        (["log", "web1"], 1, "web1 was never started"),
        (["cut", "a", "b"], 1, "the switch does not run"),
        (["--site=/nowhere", "up"], 1, "--site /nowhere: No such file or directory"),
        (["net"], 1, "the switch does not run"),
    ],
)
def test_bad_commands(demo, words, code, error):
    assert error in demo.run(*words, code=code)[1]
    assert demo.pids() == []


def test_site_with_a_name_that_is_no_host(demo, tmp_path):
    (tmp_path / "site/Not A Host").mkdir(parents=True)
    (tmp_path / "site/c.example").mkdir()
    _, errors = demo.run(f"--site={tmp_path}/site", "up", code=1)
    assert "expected directories named as hosts (a.example), found Not A Host" in errors


def test_help(demo):
    out, _ = demo.run("help")
    assert out.startswith("usage: ./build.sh demo")
    assert demo.run("--help")[0] == out
    assert not demo.state.exists()


# --- talking to machines


def test_ctl_passes_output_and_exit_code_on(up):
    out, errors = up.run("ctl", "data1", "echo", "a b", "", "c", code=3)
    assert (out, errors) == ("a b  c\n", "complaint\n")


def test_options_may_follow_the_verb_but_are_left_to_ctl(up):
    assert up.run("status", f"--state={up.state}", "--json")[0].startswith('{"nodes"')
    assert up.run("ctl", "data1", "echo", "--port=0", code=3)[0] == "--port=0\n"


def test_ctl_skips_what_an_earlier_client_left(up):
    assert up.run("ctl", "data1", "stale") == ("", "")


def test_ctl_refused_and_broken(up):
    assert "demo: not today" in up.run("ctl", "data1", "refuse", code=1)[1]
    assert "a frame of 1073741824 bytes" in up.run("ctl", "data1", "huge", code=1)[1]


def test_ctl_of_a_machine_that_goes_off_meanwhile(demo):
    demo.run("up")
    assert "the machine went off" in demo.run("ctl", "data1", "crash", code=1)[1]


def test_links(up):
    up.run("cut", "data1", "data2")
    up.run("delay", "web1>php1", "20ms")
    out, _ = up.run("status")
    assert "link     data1>data2 cut" in out and "link     data2>data1 cut" in out
    assert "link     web1>php1 20 ms, 0% lost" in out
    up.run("heal")
    assert "link" not in up.run("status")[0]
    assert 'no port "data9"' in up.run("cut", "data9", code=1)[1]
    assert up.run("net")[0].splitlines()[0].split()[:2] == ["port", "queued"]


def test_console_shows_passes_on_and_leaves(up):
    """Against a console of our own: what the machine writes, what is typed, and Ctrl-]."""
    path = up.state / "run/web2.serial"
    os.rename(path, f"{path}.kept")
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            leader, follower = pty.openpty()
            process = subprocess.Popen([*up.words, "console", "web2"], env=up.environment, stdin=follower, stdout=follower,
                                       stderr=subprocess.PIPE, text=True)
            serial, _ = server.accept()
            until(lambda: not termios.tcgetattr(follower)[3] & termios.ICANON)
            serial.sendall(b"login: ")
            seen = b""
            while b"login: " not in seen:
                seen += os.read(leader, 100)
            os.write(leader, b"root\x03")
            assert serial.recv(5, socket.MSG_WAITALL) == b"root\x03"
            os.write(leader, b"\x1d")
            _, errors = process.communicate(timeout=10)
            assert process.returncode == 0 and "leave with Ctrl-]" in errors
            assert termios.tcgetattr(follower)[3] & termios.ICANON
            serial.close()
            os.close(leader)
            os.close(follower)
    finally:
        os.rename(f"{path}.kept", path)


def test_log(up):
    assert up.run("log", "php2")[0] == "kernel of php2\npanic?\n"


# --- parts


def test_config_disk_holds_the_node_and_the_cluster(up):
    with tarfile.open(up.state / "disks/php1-config.raw") as tar:
        assert sorted(tar.getnames()) == ["cluster.conf", "node.conf"]
        node = tar.extractfile("node.conf").read().decode()
        cluster = tar.extractfile("cluster.conf").read().decode()
        assert tar.getmember("node.conf").mode == 0o600
    assert node.startswith("name = php1\nsecret-key = ")
    assert len(base64.b64decode(node.split()[-1])) == 32
    assert cluster.count("[node ") == 6 and cluster.count("key = ") == 6
    assert (up.state / "disks/php1-config.raw").stat().st_mode & 0o077 == 0
    assert (up.state / "disks/php1-config.raw").stat().st_size % 512 == 0


def test_the_program_accepts_the_demos_cluster(up, tmp_path):
    for node in ("data1", "data2", "web1", "web2"):  # profile php wants the image's user php
        (tmp_path / "node.conf").touch(0o600)
        (tmp_path / "node.conf").write_bytes((up.state / f"cluster/{node}.conf").read_bytes())
        (tmp_path / "cluster.conf").write_bytes((up.state / "cluster/cluster.conf").read_bytes())
        done = subprocess.run(
            [BUILD / "supervisor", "check", f"--profile={node[:-1]}", f"--node={node}", tmp_path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_number_that_another_process_has_now_is_never_signalled(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        process = Process(str(tmp_path / "x.pid"))
        process.record(stranger.pid)
        record = json.loads((tmp_path / "x.pid").read_text(encoding="ascii"))
        for change in ({"start": record["start"] - 1}, {"boot": "another"}):
            (tmp_path / "x.pid").write_text(json.dumps({**record, **change}), encoding="ascii")
            assert process.pid() is None and process.open() is None
            assert not process.send(signal.SIGKILL)
        (tmp_path / "x.pid").write_text("garbage", encoding="ascii")
        assert process.pid() is None
        assert stranger.poll() is None
        stranger.kill()


def test_a_zombie_does_not_count_as_running(tmp_path):
    child = subprocess.Popen(["true"])
    until(lambda: start_time(child.pid) is None)
    process = Process(str(tmp_path / "x.pid"))
    process.record(child.pid)
    assert process.pid() is None
    child.wait()


def test_lock_is_free_again_after_its_holder(tmp_path):
    state = State(tmp_path)
    for _ in range(2):
        with state.locked():
            pass


def test_kernel_is_unpacked_once_and_only_if_it_can_be(tmp_path):
    kernel = b"\x7fELF" + b"kernel" * 1000
    packed = lzma.compress(kernel, lzma.FORMAT_XZ)
    image = bytearray(2 * 512 + 100) + packed + b"\x01\x02\x03\x04"
    image[0x1F1] = 1
    struct.pack_into("<II", image, 0x248, 100, len(packed) + 4)
    path = tmp_path / "vmlinuz"
    path.write_bytes(image)
    out = machines.unpacked_kernel(str(path), str(tmp_path))
    assert pathlib.Path(out).read_bytes() == kernel
    os.utime(out, (1, 1))
    assert machines.unpacked_kernel(str(path), str(tmp_path)) == out
    assert os.stat(out).st_mtime == 1
    path.write_bytes(bytes(4096))
    assert machines.unpacked_kernel(str(path), str(tmp_path)) == str(path)
    path.write_bytes(b"short")
    assert machines.unpacked_kernel(str(path), str(tmp_path)) == str(path)
