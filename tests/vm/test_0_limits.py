"""Limits of memory, processes, processors and disks as a real kernel keeps them: one small machine with nothing in it.

It boots the program itself as PID 1, with services of its own that start one after another; what happens is read from its console.
"""

import os
import re
import subprocess
import sys
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, "image"), os.path.join(TOP, "image", "demo")]
import machine  # noqa: E402
from baking import cpio  # noqa: E402

BINARY = os.environ.get("SUPERVISOR_BIN", os.path.join(TOP, "build", "supervisor"))
MEMORY_MIB = 160
DEADLINE_S = 240
NEVER = "restart = never\n"
UNREADY = "ready = notify\nstart-timeout = 4s\nstop-timeout = 1s\n" + NEVER

# In this order: each waits until the one before is ready or has failed.
SERVICES = {
    "limits": "start = /process report\nmemory-max = 64M\nmemory-high = 48M\npids-max = 12\ncpu-weight = 50\n"
              "cpu-max = 150%\nio-weight = 400\noom-score = -300\nscheduling = fifo 3\n",
    "spinner": "kind = oneshot\nstart = /process spin 3000\ncpu-max = 20%\n",
    "glutton": "start = /process eat 64\nmemory-max = 24M\n" + UNREADY,
    "bounded": "start = /process bomb\npids-max = 20\n" + UNREADY,
    "unbounded": "start = /process bomb\n" + UNREADY,
    "hog": f"start = /process eat {MEMORY_MIB * 2}\noom-score = 1000\n" + UNREADY,
    "last": "kind = oneshot\nstart = /process spin 10\n",
}


def initrd(process):
    tree = cpio.Tree()
    for path, source in (("/init", BINARY), ("/process", process)):
        with open(source, "rb") as file:
            tree.file(path, file.read(), 0o755)
    tree.character("/dev/console", 0o600, 5, 1)
    for directory in ("/proc", "/sys", "/run", "/tmp", "/root"):
        tree.directory(directory)
    tree.file("/etc/supervisor/profiles/limits.profile",
              ("description = limits\nservices = " + " ".join(SERVICES) + "\n").encode())
    before = None
    for name, text in SERVICES.items():
        wants = f"wants = {before}\n" if before else ""
        tree.file(f"/etc/supervisor/services/{name}.service", (text + wants).encode())
        before = name
    return cpio.archive(tree, 0)


@pytest.fixture(scope="module", name="console")
def boot(tmp_path_factory):
    """What the machine had said on its console when its last service was ready."""
    directory = tmp_path_factory.mktemp("limits")
    process = directory / "process"
    subprocess.run(["gcc", "-O1", "-static", "-o", process, os.path.join(TOP, "tests/helpers/process.c")], check=True)
    subprocess.run([os.path.join(TOP, "image/bake.sh"), "--profile", "web", "--out", directory / "image", "--binary", BINARY],
                   check=True, capture_output=True, timeout=600)
    (directory / "initrd").write_bytes(initrd(process))
    accelerator = machine.Accelerator("tcg")
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", *accelerator.words(),
               "-m", str(MEMORY_MIB), "-smp", "1", "-no-reboot",
               "-kernel", machine.unpacked_kernel(str(directory / "image/vmlinuz"), str(directory)),
               "-initrd", directory / "initrd",
               "-append", accelerator.cmdline("console=ttyS0 quiet loglevel=1 panic=1 -- --profile=limits"),
               "-serial", f"file:{directory}/console"]
    (directory / "console").touch()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as qemu:
        try:
            end = time.monotonic() + DEADLINE_S
            text = ""
            while "last: ready" not in text and qemu.poll() is None and time.monotonic() < end:
                time.sleep(0.2)
                text = (directory / "console").read_text("utf-8", "replace").replace("\r", "")
        finally:
            qemu.kill()
    assert "last: ready" in text, text
    return text


def test_each_limit_is_in_its_cgroup_file(console):
    found = dict(re.findall(r"^([a-zA-Z_.-]+): +(.*)$", console, re.MULTILINE))
    assert {name: found.get(name) for name in ("memory.max", "memory.high", "memory.oom.group", "pids.max", "cpu.weight",
                                               "cpu.max", "io.weight")} == {
        "memory.max": str(64 << 20), "memory.high": str(48 << 20), "memory.oom.group": "1", "pids.max": "12",
        "cpu.weight": "50", "cpu.max": "150000 100000", "io.weight": "default 400"}
    assert (found["oom-score"], found["scheduling"]) == ("-300", "1 3")
    assert "controller" not in console


def test_no_more_of_a_processor_than_it_may_have(console):
    assert 5 <= int(re.search(r"^spin: (\d+)%", console, re.MULTILINE)[1]) <= 30


def test_a_service_that_runs_out_of_memory_dies_as_a_whole_and_says_why(console):
    """The child is the one too big; the parent alone would wait for it for ever."""
    assert "glutton: failed: killed: out of memory (memory-max)" in console
    assert console.count("eaten") == 0


def test_the_machine_running_out_of_memory_is_told_apart(console):
    assert "hog: failed: killed: out of memory (of the machine)" in console


def test_a_fork_bomb_within_its_limit_and_without_one_is_ended(console):
    before, _, after = console.partition("bounded: failed")
    assert "bomb: EAGAIN" in before
    assert "unbounded: failed: not ready" in after
    assert after.index("unbounded: failed") < after.index("hog: failed")
