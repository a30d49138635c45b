"""What process 1 does when things go wrong with it, how it ends, and that it sleeps when there is nothing to do.

Here as process 1 of a PID namespace and as an ordinary process; what only a whole machine does is in tests/vm/test_7_machine.py.
"""

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

from supervised import BINARY, DEADLINE_S, Supervised, wait_for

SLEEPER = "kind = daemon\nstart = /bin/sleep 1000000\n"
SANITIZED = os.path.basename(os.path.dirname(BINARY)) == "asan"


@pytest.fixture(params=[False, True], ids=["process", "namespace"])
def namespace(request):
    return request.param


# ---- the exit code says why


@pytest.mark.parametrize("words, code", [(["poweroff"], 0), (["reboot"], 133), (["halt"], 4)])
def test_the_exit_code_says_what_was_asked_for(namespace, words, code):
    with Supervised({"sleeper": SLEEPER}, "sleeper", namespace) as s:
        s.wait_state("sleeper", "ready")
        assert s.ctl(*words).returncode == 0
        assert s.process.wait(timeout=DEADLINE_S) == code


def test_kexec_is_for_machines_and_refused_elsewhere(namespace):
    with Supervised({"sleeper": SLEEPER}, "sleeper", namespace) as s:
        s.wait_state("sleeper", "ready")
        answer = s.ctl("reboot", "--kexec")
        assert answer.returncode == 1 and "not the init of a machine" in answer.stderr
        assert s.ctl("poweroff", "--kexec").returncode == 2
        assert s.state("sleeper") == "ready"


def test_what_it_waits_for_at_the_end_is_said_by_name():
    slow = "kind = oneshot\nstart = /bin/true\nstop = /bin/sleep 4\n"
    with Supervised({"slow": slow, "sleeper": SLEEPER}, "slow sleeper") as s:
        s.wait_state("slow", "ready")
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=DEADLINE_S) == 0
        assert re.search(r"shutdown waits for slow \(undoing\); at most \d+ s more", s.messages())


UNDOING = "kind = oneshot\nstart = /bin/true\nstop = /bin/sleep 1000\nstop-timeout = none\n"


def hasten(s, milliseconds):
    with open(os.path.join(s.config, "profiles/test.profile"), "a", encoding="utf-8") as file:
        file.write(f"shutdown-timeout = {milliseconds}ms\n")
    return s


@pytest.mark.parametrize("words, code", [(["poweroff"], 3), (["reboot"], 133)])
def test_the_one_deadline_of_shutdown_ends_what_has_none_of_its_own(namespace, words, code):
    with hasten(Supervised({"slow": UNDOING}, "slow", namespace), 1500) as s:
        s.wait_state("slow", "ready")
        begin = time.monotonic()
        s.ctl(*words)
        assert s.process.wait(timeout=DEADLINE_S) == code
        assert 1.5 <= time.monotonic() - begin < 20
        assert "slow: still undoing at the end of shutdown: killed" in s.messages()
        assert "some services did not stop in time" in s.messages()


# ---- what no service owns


def enter(s, *command):
    """A process in the supervisor's PID namespace whose parent goes away: process 1 inherits it."""
    script = "setsid \"$@\" >/dev/null 2>&1 & exit 0"
    subprocess.run(["nsenter", f"--pid=/proc/{s.main_pid()}/ns/pid", "/bin/sh", "-c", script, "sh", *command],
                   stdin=subprocess.DEVNULL, check=True, timeout=DEADLINE_S)


def in_namespace_of(pid):
    """Processes of that PID namespace, as seen from here."""
    wanted, found = os.readlink(f"/proc/{pid}/ns/pid"), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                    found.append(int(name))
    return found


def test_strays_in_a_container_are_told_to_end_and_then_killed(tmp_path):
    """One says farewell on TERM, one ignores it: what neither a service's cgroup nor its stop would have met."""
    farewell = tmp_path / "farewell"
    with Supervised({"sleeper": SLEEPER}, "sleeper", True) as s:
        s.wait_state("sleeper", "ready")
        enter(s, "/bin/sh", "-c", f"trap 'echo bye > {farewell}; exit' TERM; echo > {tmp_path}/a; while :; do sleep 0.05; done")
        enter(s, "/bin/sh", "-c", f"trap '' TERM; echo > {tmp_path}/b; while :; do sleep 0.05; done")
        wait_for("both strays", lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        begin = time.monotonic()
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=DEADLINE_S) == 0
        assert time.monotonic() - begin < 30
        assert farewell.read_text() == "bye\n"
        assert re.search(r"told to end, \d+ s ago, and still there: sh\[\d+\] \([SR]\)", s.messages())


def test_without_strays_nothing_is_waited_for():
    with Supervised({"sleeper": SLEEPER}, "sleeper", True) as s:
        s.wait_state("sleeper", "ready")
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=DEADLINE_S) == 0
        assert "still there" not in s.messages()


# ---- its own death


SIGNALS = [signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_a_crash_is_reported_and_is_the_exit_code(namespace, number):
    with Supervised({"sleeper": SLEEPER}, "sleeper", namespace) as s:
        pid = s.wait_state("sleeper", "ready")["pid"]
        os.kill(s.main_pid(), number)
        assert s.process.wait(timeout=DEADLINE_S) == 128 + number
        said = s.messages()
        assert f"supervisor: CRASHED: {number.name} sent by process " in said
        assert re.search(r"pc 0x[0-9a-f]+ \(the program \+ 0x[0-9a-f]+\)", said) or SANITIZED or "pc 0x" in said
        version = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout.strip()
        assert re.search(rf"supervisor: version {re.escape(version)}, build id (\w+); goal: run; was at: wait or event\n", said)
        if not namespace:
            os.kill(pid, signal.SIGKILL)  # with its PID namespace it would be gone


def test_the_build_id_is_the_programs(namespace):
    if SANITIZED:
        pytest.skip("the product has one")
    notes = subprocess.run(["readelf", "-n", BINARY], capture_output=True, text=True, check=True).stdout
    wanted = re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)
    with Supervised({"sleeper": SLEEPER}, "sleeper", namespace) as s:
        pid = s.wait_state("sleeper", "ready")["pid"]
        os.kill(s.main_pid(), signal.SIGSEGV)
        s.process.wait(timeout=DEADLINE_S)
        assert f"build id {wanted};" in s.messages()
        if not namespace:
            os.kill(pid, signal.SIGKILL)


# ---- boot cannot go on


def broken(tmp_path, shell, *more):
    """Process 1 of a namespace over a configuration that is refused."""
    (tmp_path / "profiles").mkdir(exist_ok=True)
    (tmp_path / "profiles/test.profile").write_text("services = nobody\n")
    (tmp_path / "shell").write_text("#!/bin/sh\n" + shell)
    (tmp_path / "shell").chmod(0o755)
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", BINARY, f"--config={tmp_path}", f"--run={tmp_path}/run",
            f"--emergency-shell={tmp_path}/shell", *more]


def run(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_the_emergency_shell_may_repair_and_boot_goes_on(tmp_path):
    services = tmp_path / "services"
    shell = (f"echo here as $$ of $PPID\nmkdir {services}\n"
             f"printf 'kind = oneshot\\nstart = /bin/sh -c \"echo up > {tmp_path}/up\"\\n' > {services}/nobody.service\n")
    with subprocess.Popen(broken(tmp_path, shell, "--profile=test"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:
        try:
            wait_for("the service", (tmp_path / "up").exists)
            with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
                os.kill(int(file.read()), signal.SIGTERM)
            assert process.wait(timeout=DEADLINE_S) == 0
        finally:
            process.kill()
        said = process.stdout.read()
    assert "profiles/test.profile:1: " in said
    assert "configuration refused: nothing is started" in said
    assert "exit 0 tries again, exit 1 reboots" in said
    assert re.search(r"^here as \d+ of 1$", said, re.MULTILINE)
    assert "once more" in said


def test_the_emergency_shell_that_gives_up_ends_the_container(tmp_path):
    answer = run(broken(tmp_path, "exit 3\n", "--profile=test"))
    assert answer.returncode == 1 and "configuration refused" in answer.stderr


def test_the_emergency_shell_also_comes_without_a_profile(tmp_path):
    answer = run(broken(tmp_path, "echo here; exit 3\n"))
    assert answer.returncode == 1
    assert "no profile given" in answer.stderr and "wrong options" in answer.stderr and "here\n" in answer.stdout


def test_an_emergency_shell_that_is_not_there_changes_nothing(tmp_path):
    command = broken(tmp_path, "exit 0\n", "--profile=test")
    (tmp_path / "shell").unlink()
    answer = run(command)
    assert answer.returncode == 1
    assert f"exec {tmp_path}/shell: No such file" in answer.stderr


def test_an_emergency_shell_that_ends_at_once_is_not_a_busy_loop(tmp_path):
    command = broken(tmp_path, f"echo >> {tmp_path}/count\n", "--profile=test")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(3.5)
        process.kill()
    assert 1 <= (tmp_path / "count").read_text().count("\n") <= 4


def test_the_emergency_shell_is_not_for_ordinary_processes(tmp_path):
    command = broken(tmp_path, f"echo > {tmp_path}/ran\n", "--profile=test")
    answer = run(command[command.index(BINARY):])
    assert answer.returncode == 1 and not (tmp_path / "ran").exists()


def test_an_emergency_shell_of_no_absolute_path_is_refused(tmp_path):
    answer = run([BINARY, "--profile=test", f"--config={tmp_path}", f"--run={tmp_path}/run", "--emergency-shell=sh"])
    assert answer.returncode == 2 and "expected an absolute path" in answer.stderr


# ---- rest


def switches(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        text = file.read()
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", text, re.MULTILINE).group(1))


def rests(pid, seconds):
    """No wake-up for so long."""
    before = switches(pid)
    time.sleep(seconds)
    return switches(pid) == before


def test_with_all_services_idle_nothing_wakes_it(namespace):
    """Among them: one that just got ready, one that failed, a log process with its channel."""
    services = {"sleeper": SLEEPER + "healthy-after = 1s\n", "done": "kind = oneshot\nstart = /bin/true\n",
                "lost": "kind = daemon\nrestart = never\nstart = /bin/false\n"}
    with Supervised(services, "log sleeper done lost", namespace) as s:
        s.wait_state("sleeper", "ready")
        s.wait_state("done", "ready")
        s.wait_state("lost", "failed")
        pid = s.main_pid()
        # What has just happened may have left a last timer.
        wait_for("ten quiet seconds", lambda: rests(pid, 10))
