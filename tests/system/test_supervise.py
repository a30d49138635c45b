"""The supervising process itself: its options, its signals, and that shortages, strangers and stuck readers do not stop it."""

import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

from supervised import BINARY, DEADLINE_S, Supervised, wait_for

SLEEPER = "kind = daemon\nstart = /bin/sleep 1000000\n"


def supervise(*arguments, timeout=DEADLINE_S, **options):
    """For those that are not going to get far."""
    return subprocess.run([BINARY, *arguments], stdin=subprocess.DEVNULL, text=True, capture_output=True,
                          timeout=timeout, check=False, **options)


@pytest.fixture
def config(tmp_path):
    """A directory with a profile called test that runs one sleeper; tests add what is wrong with it."""
    (tmp_path / "services").mkdir()
    (tmp_path / "profiles").mkdir()
    (tmp_path / "services/sleeper.service").write_text(SLEEPER)
    (tmp_path / "profiles/test.profile").write_text("services = sleeper\n")
    return tmp_path


# ---- options


@pytest.mark.parametrize("words, code, text", [
    (["--nonsense"], 2, "unknown argument --nonsense"),
    (["--profile"], 2, "unknown argument --profile; expected --profile="),
    (["--profile=test", "extra"], 2, "unknown argument extra"),
    (["--node=a"], 2, "no profile given"),
    (["--profile="], 2, "need a value"),
    (["--profile=test", "--run="], 2, "need a value"),
    (["--profile=test", "--config="], 2, "need a value"),
    (["--profile=test", "--node="], 2, "need a value"),
    (["--profile=test", "--run=" + "x" * 5000], 2, "too long"),
    (["--profile=nobody"], 1, 'profile "nobody"'),
    (["--profile=../test"], 1, "../test"),
    (["--profile=test", "--run=/dev/null/x"], 1, "/dev/null/x: Not a directory"),
    (["--profile=test", "--run=/no/such/place"], 1, "/no/such/place: No such file"),
    (["--profile=test", "--run=/tmp/" + "x" * 100], 1, "too long"),
])  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused(config, words, code, text):
    run = [] if any(word.startswith("--run=") for word in words) else [f"--run={config}/run"]
    directory = [] if any(word.startswith("--config=") for word in words) else [f"--config={config}"]
    answer = supervise(*words, *run, *directory)
    assert answer.returncode == code, answer
    assert text in answer.stderr
    assert answer.stdout == ""
    assert not os.path.exists("/tmp/" + "x" * 100)


@pytest.mark.parametrize("file, text, finding", [
    ("services/sleeper.service", "start = sleep\n", "services/sleeper.service:1: start: "),
    ("services/sleeper.service", "strat = /bin/sleep 1\n", "services/sleeper.service:1: "),
    ("services/sleeper.service", SLEEPER + "seccomp = @basic-io opne\n", "services/sleeper.service:3: seccomp: "),
    ("services/sleeper.service", "start = @nonsense\n", "services/sleeper.service:1: start: "),
    ("profiles/test.profile", "services = sleeper nobody\n", "profiles/test.profile:1: "),
    ("profiles/test.profile", "nonsense = 1\n", "profiles/test.profile:1: "),
    ("cluster.conf", "nonsense\n", "cluster.conf:1: "),
])  # fmt: skip
def test_a_wrong_configuration_is_refused_with_file_and_line(config, file, text, finding):
    (config / file).write_text(text)
    answer = supervise("--profile=test", f"--config={config}", f"--run={config}/run")
    assert answer.returncode == 1
    assert finding in answer.stderr
    assert not (config / "run").exists()


def test_relative_directories_are_meant_from_where_one_stands(config):
    with subprocess.Popen([BINARY, "--profile=test", "--config=.", "--run=run"], cwd=config, stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for("the socket", (config / "run/control").exists)
            # The same for the command line, which does not move.
            answer = supervise("status", "--run=run", cwd=config)
            assert answer.returncode == 0 and "sleeper" in answer.stdout
        finally:
            process.terminate()
            process.wait(timeout=DEADLINE_S)


# ---- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGPWR])
@pytest.mark.parametrize("namespace", [False, True], ids=["process", "namespace"])
def test_a_signal_ends_it_in_order_and_nothing_is_left(number, namespace):
    services = {"one": "kind = oneshot\nstart = /bin/true\nstop = /bin/sh -c \"echo gone > @RUN@/../undone\"\n",
                "two": SLEEPER + "requires = one\n"}
    with Supervised(services, "two", namespace) as s:
        pid = s.wait_state("two", "ready")["pid"]
        with open(f"/proc/{pid if not namespace else s.main_pid()}/cgroup", encoding="ascii") as file:
            group = [line.strip().split("::")[1] for line in file if line.startswith("0::")]
        s.signal(number)
        assert s.process.wait(timeout=DEADLINE_S) == 0
        assert os.path.exists(s.path("run/undone"))
        assert "all services ready" not in s.messages().partition("stopping all services")[2]
        assert sorted(os.listdir(s.run)) == ["lock"]
        if not namespace and group and group[0].endswith("/two"):
            assert not os.path.exists("/sys/fs/cgroup/unified" + group[0])
            assert not os.path.exists("/sys/fs/cgroup" + group[0])


def test_what_never_got_ready_is_not_called_ready_at_the_end():
    with Supervised({"never": "ready = notify\nstart = /bin/sleep 100000\n", "one": SLEEPER}, "never one") as s:
        s.wait_state("one", "ready")
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=DEADLINE_S) == 0
        assert "all services ready" not in s.messages()


def test_other_signals_do_nothing():
    with Supervised({"sleeper": SLEEPER}, "sleeper") as s:
        pid = s.wait_state("sleeper", "ready")["pid"]
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM, signal.SIGQUIT,
                       signal.SIGCHLD, signal.SIGTSTP, signal.SIGWINCH, signal.SIGRTMIN + 3):
            s.signal(number)
        assert s.status("sleeper")["pid"] == pid


# ---- two of them


def test_two_with_their_own_directories_do_not_meet():
    with Supervised({"sleeper": SLEEPER}, "sleeper") as a, Supervised({"sleeper": SLEEPER}, "sleeper") as b:
        pids = {s.wait_state("sleeper", "ready")["pid"] for s in (a, b)}
        assert len(pids) == 2
        assert a.ctl("stop", "sleeper").returncode == 0
        assert (a.state("sleeper"), b.state("sleeper")) == ("down", "ready")


def test_a_second_one_in_the_same_directory_is_refused():
    with Supervised({"sleeper": SLEEPER}, "sleeper") as s:
        pid = s.wait_state("sleeper", "ready")["pid"]
        answer = supervise("--profile=test", f"--config={s.config}", f"--run={s.run}")
        assert answer.returncode == 1
        assert f"another supervisor runs with --run={s.run}" in answer.stderr
        assert s.status("sleeper")["pid"] == pid
    # The first one is gone; what it left does not keep the next one out.


def test_after_a_crash_the_next_one_takes_the_directory_over():
    with Supervised({"sleeper": SLEEPER}, "sleeper") as s:
        pid = s.wait_state("sleeper", "ready")["pid"]
        s.process.kill()
        s.process.wait()
        os.kill(pid, signal.SIGKILL)
        with subprocess.Popen([BINARY, "--profile=test", f"--config={s.config}", f"--run={s.run}"],
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as second:
            wait_for("an answer", lambda: s.ctl("status", "sleeper").returncode == 0)
            s.wait_state("sleeper", "ready")
            second.terminate()
            assert second.wait(timeout=DEADLINE_S) == 0


# ---- messages


def test_a_reader_that_does_not_read_stops_nothing(config):
    """The pipe of its messages is full before it has said a word."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    fcntl.fcntl(writer, fcntl.F_SETFL, 0)
    with subprocess.Popen([BINARY, "--profile=test", f"--config={config}", f"--run={config}/run"],
                          stdin=subprocess.DEVNULL, stderr=writer) as process:
        try:
            wait_for("the socket", (config / "run/control").exists)
            assert supervise("status", f"--run={config}/run", timeout=20).returncode == 0
            # What the flag is on is its own: the pipe that it was given blocks as before.
            assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
            process.terminate()
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
            os.close(reader)
            os.close(writer)


def test_without_standard_descriptors_nothing_else_takes_their_place(config):
    command = f"exec {BINARY} --profile=test --config={config} --run={config}/run 0<&- 1>&- 2>&-"
    (config / "services/sleeper.service").write_text("start = /bin/sh -c \"echo talk; exec sleep 100000\"\n")
    with subprocess.Popen(["/bin/sh", "-c", command]) as process:
        try:
            wait_for("the socket", (config / "run/control").exists)
            wait_for("the sleeper", lambda: "ready" in supervise("status", "sleeper", f"--run={config}/run").stdout)
            for fd in range(3):
                assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
        finally:
            process.terminate()
            assert process.wait(timeout=DEADLINE_S) == 0


def test_without_a_log_process_output_goes_where_the_messages_go():
    """Nobody would drain a pipe: 300 KiB must get through, and the service with them."""
    talker = "kind = oneshot\nstart = /usr/bin/python3 -c \"[print('line', i, 'x' * 90) for i in range(3000)]\"\n"
    with Supervised({"talker": talker}, "talker") as s:
        s.wait_state("talker", "ready")
        assert "line 2999 x" in s.messages()


# ---- shortages


def cpu_seconds_of(s, seconds):
    def used():
        with open(f"/proc/{s.main_pid()}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    before = used()
    time.sleep(seconds)
    return used() - before


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def is_shortage(text):
    """EMFILE, as musl and glibc put it."""
    return "No file descriptors available" in text or "Too many open files" in text


@contextlib.contextmanager
def no_descriptors(s):
    """It can open nothing more."""
    pid = s.main_pid()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
    assert open_files(pid) <= highest + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_without_descriptors_it_still_answers_and_later_goes_on():
    services = {"sleeper": SLEEPER + "restart-delay = 10ms\nrestart-delay-max = 200ms\n"}
    with Supervised(services, "sleeper") as s:
        pid = s.wait_state("sleeper", "ready")["pid"]
        with no_descriptors(s):
            os.kill(pid, signal.SIGKILL)
            wait_for("the shortage", lambda: is_shortage(s.status("sleeper")["why"]))
            # Fewer than there are places, and more than there are descriptors.
            with contextlib.ExitStack() as stack:
                for _ in range(40):
                    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                    sock.connect(os.path.join(s.run, "control"))
                assert s.ctl("status", timeout=10).returncode == 0
                assert cpu_seconds_of(s, 2) < 1
                assert s.ctl("status", timeout=10).returncode == 0
        assert s.wait_state("sleeper", "ready")["pid"] != pid


def test_what_was_done_is_undone_even_after_a_shortage():
    services = {"mount": "kind = oneshot\nstart = /bin/true\nstop = /bin/sh -c \"echo undone >> @RUN@/../undone\"\n"}
    with Supervised(services, "mount") as s:
        s.wait_state("mount", "ready")
        with no_descriptors(s):
            assert s.ctl("stop", "mount", "--no-wait").returncode == 0
            time.sleep(1)
            assert s.state("mount") == "undoing"
            assert is_shortage(s.status("mount")["why"])
        s.wait_state("mount", "down")
        with open(s.path("run/undone"), encoding="ascii") as file:
            assert file.read() == "undone\n"


def test_a_shortage_that_does_not_end_is_given_up_at_the_deadline():
    services = {"mount": "kind = oneshot\nstart = /bin/true\nstop = /bin/true\nstop-timeout = 500ms\n"}
    with Supervised(services, "mount") as s:
        s.wait_state("mount", "ready")
        with no_descriptors(s):
            assert s.ctl("stop", "mount", "--no-wait").returncode == 0
            s.wait_state("mount", "down")


def test_services_get_the_limits_that_the_supervisor_got():
    reporter = "kind = oneshot\nstart = /bin/sh -c \"ulimit -Sn >> @RUN@/../limit; ulimit -Hn >> @RUN@/../limit\"\n"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, before[1]))
    try:
        supervised = Supervised({"reporter": reporter}, "reporter").__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with contextlib.ExitStack() as stack:
        stack.push(supervised)
        s = supervised
        s.wait_state("reporter", "ready")
        with open(s.path("run/limit"), encoding="ascii") as file:
            assert [int(word) for word in file.read().split()] == [1000, before[1]]
        assert resource.prlimit(s.main_pid(), resource.RLIMIT_NOFILE)[0] >= 4096


# ---- services


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        path = [line.strip().split("::")[1] for line in file if line.startswith("0::")]
    for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if path and os.path.exists(os.path.join(mount + path[0], "cgroup.procs")):
            return mount + path[0]
    return None


def test_a_start_waits_for_leftovers_to_end():
    """A process that got into the cgroup while the service was down: it is killed, and seen to end, before a start."""
    with Supervised({"sleeper": SLEEPER + "restart-delay = 10ms\n"}, "sleeper") as s:
        group = cgroup_of(s.wait_state("sleeper", "ready")["pid"])
        if not group or not group.endswith("/sleeper"):
            pytest.skip("no cgroups here")
        assert s.ctl("stop", "sleeper").returncode == 0
        with subprocess.Popen(["/bin/sleep", "100000"]) as stray:
            with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write(str(stray.pid))
            assert s.ctl("start", "sleeper", "--no-wait").returncode == 0
            assert stray.wait(timeout=DEADLINE_S) == -signal.SIGKILL
        # Nothing else happens that would make it look again.
        wait_for("its message", lambda: s.messages().count("sleeper: ready") == 2)


def connects(path):
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
            return True
        except OSError:
            return False


def test_the_socket_of_a_stopped_service_refuses_and_that_of_a_crashed_one_waits():
    pool = "kind = daemon\ninstances = 2\nlisten = unix @RUN@/pool.socket\nstart = /bin/sleep 1000000\nrestart-delay = 1s\n"
    with Supervised({"pool": pool}, "pool") as s:
        path = os.path.join(s.run, "pool.socket")
        s.wait_state("pool:1", "ready")
        s.wait_state("pool:2", "ready")
        s.ctl("kill", "pool", "KILL")
        assert s.ctl("stop", "pool:1").returncode == 0
        assert connects(path)
        assert s.ctl("stop", "pool").returncode == 0
        assert not connects(path)
        assert s.ctl("start", "pool").returncode == 0
        assert connects(path)


def test_strangers_messages_are_refused_without_a_flood_of_complaints():
    with Supervised({"sleeper": SLEEPER}, "sleeper") as s:
        s.wait_state("sleeper", "ready")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(os.path.join(s.run, "notify"))
            for i in range(2000):
                sock.send(b"READY=1\nSTATUS=\0" + os.urandom(i % 100))
        assert s.state("sleeper") == "ready"
        assert 1 <= s.messages().count("refused") <= 10


def test_what_a_service_says_of_itself_does_no_harm():
    """Control characters, half a character, a line without end, descriptors: shown harmlessly or refused."""
    script = ("import array, os, socket, sys, time\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "s.connect(os.environ['NOTIFY_SOCKET'])\n"
              "s.send(b'')\n"
              "s.send(b'\\n\\n=\\nREADY\\nREADY=0\\nREADY=11\\n')\n"
              "s.send(b'STATUS=' + b'x' * 5000 + b'\\nREADY=1')\n"
              "s.sendmsg([b'STATUS=with'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1, 2] * 50))])\n"
              "s.send(b'STATUS=' + 'ä'.encode() * 100)\n"
              "while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
              "s.send(b'STATUS=\\x1b[31m \\xc2\\x9b31m \\xff \\xe2\\x98\\x83 \\x7f\\nREADY=1')\n"
              "time.sleep(100000)\n")
    s = Supervised({"talker": "kind = daemon\nready = notify\nstart = /usr/bin/python3 @RUN@/../talk.py @RUN@/../go\n"},
                   "talker")
    with open(s.path("run/talk.py"), "w", encoding="utf-8") as file:
        file.write(script)
    with s:
        before = open_files(s.main_pid())
        wait_for("a long status", lambda: s.status("talker")["why"].startswith("\u00e4"))
        assert s.status("talker")["why"] == "\u00e4" * 59
        assert s.state("talker") == "starting"
        assert "sent more than fits" in s.messages()
        assert open_files(s.main_pid()) <= before + 6
        open(s.path("run/go"), "w", encoding="ascii").close()
        s.wait_state("talker", "ready")
        assert s.status("talker")["why"] == "?[31m ?31m ? \u2603 ?"


def as_pid_1(*words):
    return subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", BINARY, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_pid_1_supervises_whatever_words_the_kernel_hands_it():
    """A kernel passes on what it does not know ("splash"): an init that took it for a verb and ended would be a panic."""
    for words in ([], ["splash"], ["splash", "--node=x"]):
        answer = as_pid_1(*words)
        assert "no profile given" in answer.stderr, words
        assert "usage" not in answer.stderr and "unknown verb" not in answer.stderr
    for word in ("help", "--version"):
        assert as_pid_1(word).returncode == 0


def test_an_ordinary_user_supervises_what_needs_no_privilege(tmp_path):
    """There is nothing to take from who has nothing: it was refused once because it could not be taken."""
    for name, text in {"services/a.service": SLEEPER, "services/b.service": SLEEPER + "capabilities = net_admin\nrestart = never\n",
                       "profiles/test.profile": "services = a b\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    program, run = tmp_path / "supervisor", tmp_path / "run"
    shutil.copy(BINARY, program)
    run.mkdir()
    os.chown(run, 65534, 65534)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.getuid() and parent != parent.parent and len(parent.parts) > 2:
            parent.chmod(0o755)
    with subprocess.Popen([program, "--profile=test", f"--config={tmp_path}", f"--run={run}/s"], user=65534, group=65534,
                          extra_groups=[], cwd="/", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            def states():
                answer = supervise("status", "--json", f"--run={run}/s")
                return answer.returncode == 0 and {s["name"]: s for s in json.loads(answer.stdout)["services"]}
            wait_for("a ready, b refused", lambda: states() and (states()["a"]["state"], states()["b"]["state"]) == ("ready", "failed"))
            assert "Operation not permitted" in states()["b"]["why"]
            with open(f"/proc/{states()['a']['pid']}/status", encoding="ascii") as file:
                status = file.read()
            assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
        finally:
            process.terminate()
            process.wait(timeout=DEADLINE_S)
