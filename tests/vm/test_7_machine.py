"""One machine alone and everything that can go wrong with it: process 1 frozen or crashed, a helper silent, mounts and
processes that nothing ends, boot that cannot go on.
"""

import glob
import os
import re
import subprocess
import time

import pytest

from lone import BUILD, Lone, bake, headers
from nodes import TOP, wait_for

TROUBLE = "kind = daemon\nstart = /usr/bin/trouble {}\nrestart = never\ncapabilities = all\n"
SERVICES = {f"services/{kind}.service": TROUBLE.format(kind) for kind in ("stuck", "freeze", "segv", "kexec", "nofork")}
MODULES = "boot-modules = virtio_pci virtio_net virtio_blk virtio_console virtio-rng button evdev"
KEY = "pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk="
SECRET = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
CLUSTER = f"""cluster = demo
voters = lone
[node lone]
role = web
address = 10.77.0.31/24
key = {KEY}
[node data1]
role = data
address = 10.77.0.11/24
key = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
disk = serial:data
[address nfs-a]
address = 10.77.0.101/24
role = data
prefer = data1
[share a.example]
address = nfs-a
"""
FILES = {"cluster.conf": CLUSTER, "node.conf": f"name = lone\nsecret-key = {SECRET}\n", **SERVICES}


def profile(services, *more):
    return {**FILES, "profiles/web.profile": "\n".join([MODULES, f"services = {services}", *more, ""])}


@pytest.fixture(scope="module")
def image():
    directory = os.path.join(BUILD, "vm-lone")
    os.makedirs(directory, exist_ok=True)
    program = os.path.join(directory, "trouble")
    subprocess.run(["musl-gcc", "-static", "-O1", "-isystem", headers(directory), "-o", program,
                    os.path.join(TOP, "tests/vm/trouble.c")], check=True)
    kernel = os.path.join(directory, "image", "vmlinuz")
    additions = [(program, "/usr/bin/trouble")]
    bake(directory, "web", *additions)
    cache = os.environ.get("CACHE", os.path.join(TOP, ".cache"))
    fuse = glob.glob(f"{cache}/unpacked/linux-image-*/lib/modules/*/kernel/fs/fuse/fuse.ko")
    return bake(directory, "web", *additions, (fuse[-1], "/fuse.ko"), (kernel, "/boot/vmlinuz"))


@pytest.fixture
def lone(image):
    made = Lone(os.path.join(BUILD, "vm-lone"), image)
    try:
        yield made
    finally:
        if not made.off():
            made.kill()
        print(made.said()[-6000:])


def trouble(lone, kind):
    lone.do("kill", kind, "USR1")


# ---- the end


@pytest.fixture
def idle(lone):
    lone.power_on(profile("log network gossip agent stuck", "shutdown-timeout = 15s"), "-- --profile=web")
    lone.wait_ready()
    return lone


def test_nothing_wakes_process_1_while_all_services_are_idle_and_it_ends_at_once(idle, measured):
    """With the gossip process among them, which looks for its siblings all the time."""
    def switches():
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", idle.read("/proc/1/status"), re.MULTILINE).group(1))

    def quiet():
        before = switches()
        time.sleep(20)
        return "quiet" if switches() == before else None
    wait_for("a quiet time", quiet, 200)
    measured("idle machine: wake-ups of process 1 in 20 s", 0)
    code, _, err = idle.ctl("reboot", "--kexec")
    assert code == 1 and "no kernel is loaded" in err
    begin = time.monotonic()
    idle.end("poweroff")
    idle.wait_off()
    measured("idle machine: off after, s", round(time.monotonic() - begin, 1))
    said = idle.said()
    assert "still there" not in said and "supervisor: power off" in said and "reboot: Power down" in said
    assert "watchdog" not in said


def test_a_process_that_nothing_ends_and_a_mount_that_hangs_do_not_keep_it_on(idle, measured):
    trouble(idle, "stuck")
    pid = idle.service("stuck")["pid"]
    wait_for("a thread that waits for an answer", lambda: "stuck\n" in idle.do("log", "stuck"))
    begin = time.monotonic()
    idle.end("poweroff")
    idle.wait_off(150)
    measured("stuck process and mount: off after, s", round(time.monotonic() - begin, 1))
    said = idle.said()
    assert re.search(r"shutdown waits for stuck \((stopping|clearing)\)", said)
    assert re.search(rf"killed, \d+ s ago, and still there: trouble\[{pid}\] \(D\)", said)
    assert f"cannot be killed, going on without: trouble[{pid}] (D)" in said
    assert "unmount /mnt/stuck/inner (tmpfs, nothing): does not end" in said
    assert "unmount by force /mnt/stuck (fuse, nothing)" in said
    assert "reboot: Power down" in said


def test_a_mount_from_an_address_that_never_answers_does_not_keep_it_on(lone, measured):
    lone.power_on(profile("log network agent share@a.example"), "-- --profile=web")
    lone.wait_status("the mount hangs", lambda status: [
        s["state"] for s in status["services"] if s["name"] == "share@a.example"] == ["starting"])
    begin = time.monotonic()
    lone.end("poweroff")
    lone.wait_off(150)
    measured("mount of a silent server: off after, s", round(time.monotonic() - begin, 1))
    assert "reboot: Power down" in lone.said()


def test_without_a_process_to_be_had_it_ends_all_the_same(lone, measured):
    """No child can be made: not for a stop command, not for sync, not for reboot(2)."""
    lone.power_on(profile("log network agent nofork"), "-- --profile=web")
    lone.wait_ready()
    trouble(lone, "nofork")
    wait_for("no more processes", lambda: lone.read("/proc/sys/kernel/threads-max") == "1\n")
    begin = time.monotonic()
    assert lone.qmp("system_powerdown")
    lone.wait_off()
    measured("no processes to be had: off after, s", round(time.monotonic() - begin, 1))
    assert "supervisor: sync: Resource temporarily unavailable" in lone.said()
    assert "reboot: Power down" in lone.said()


def test_a_loaded_kernel_is_started(lone):
    lone.power_on(profile("log agent kexec"), "-- --profile=web")
    lone.wait_ready()
    trouble(lone, "kexec")
    wait_for("the kernel is loaded", lambda: lone.read("/sys/kernel/kexec_loaded") == "1\n")
    lone.end("reboot", "--kexec")
    lone.wait_said("supervisor: start the loaded kernel")
    # It finds no init in it, and says so.
    lone.wait_said("Linux version")
    assert "supervisor: reboot\n" not in lone.said()


# ---- the hardware watchdog


@pytest.fixture
def watched(lone):
    files = profile("log network gossip agent freeze segv", "boot-modules = i6300esb", "watchdog = 12s")
    lone.power_on(files, "-- --profile=web")
    lone.wait_ready()
    return lone


ARMED = "supervisor: watchdog /dev/watchdog0: resets this machine after 12 s of silence"


def test_a_frozen_process_1_is_reset(watched):
    assert ARMED in watched.said()
    time.sleep(30)  # it is fed
    assert watched.said().count(ARMED) == 1
    with watched.events() as event:
        trouble(watched, "freeze")
        assert event("WATCHDOG")["data"] == {"action": "reset"}
    watched.wait_said(ARMED, times=2)
    watched.wait_ready()


def test_a_helper_that_is_silent_is_replaced(watched, measured):
    for name in ("gossip", "log"):
        pid = watched.service(name)["pid"]
        watched.do("kill", name, "STOP")
        begin = time.monotonic()
        wait_for(f"another {name}", lambda name=name, pid=pid: watched.service(name)["pid"] not in (0, pid))
        measured(f"watchdog of 12 s: silent {name} replaced after, s", round(time.monotonic() - begin, 1))
        assert f"supervisor: {name}: does not answer: killed" in watched.said()
    assert watched.said().count(ARMED) == 1
    assert "not fed" not in watched.said()
    watched.end("poweroff")
    watched.wait_off()
    assert "reboot: Power down" in watched.said()


def test_a_crash_is_reported_on_the_console_and_the_machine_comes_back(watched):
    pid = watched.service("segv")["pid"]
    trouble(watched, "segv")
    watched.wait_said(ARMED, times=2)
    said = watched.said()
    assert f"supervisor: CRASHED: SIGSEGV sent by process {pid}, pc 0x" in said
    assert re.search(r"supervisor: version \S+, build id [0-9a-f]{40}; goal: run; was at: wait or event\n", said)
    assert "supervisor: reboot in 5 s" in said
    assert "Kernel panic" not in said
    watched.wait_ready()


# ---- boot cannot go on


def test_the_emergency_shell_runs_on_the_console_tries_again_and_reboots(lone):
    files = {"profiles/web.profile": MODULES + "\nservices = nobody\n"}
    lone.power_on(files, "-- --profile=web --emergency-shell=/usr/bin/trouble")
    # The first one exits with 0, the second with 1.
    lone.wait_said("emergency shell: process 1 of 1, terminal /dev/console", times=3)
    said = lone.said()
    assert "profiles/web.profile:2: services: found \"nobody\"" in said
    assert "supervisor: configuration refused: nothing is started" in said
    assert said.index("supervisor: once more") < said.index("supervisor: reboot\n")
    assert "session 1" in said


def test_without_an_emergency_shell_it_waits_for_its_power_button(lone):
    lone.power_on({"profiles/web.profile": MODULES + "\nservices = nobody\n"}, "-- --profile=web")
    lone.wait_said("supervisor: configuration refused: nothing is started")
    lone.wait_said("supervisor: power button")
    lone.wait_said("lone node: profile web, 0 services")
    assert lone.qmp("system_powerdown")
    lone.wait_off()
    assert "reboot: Power down" in lone.said()
