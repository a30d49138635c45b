"""Ready means ready, and well means well: probes, checks and the watchdog, with real processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from supervised import BINARY, Supervised, wait_for

PYTHON = sys.executable if os.path.exists(sys.executable) else "/usr/bin/python3"
ASAN = os.path.basename(os.path.dirname(BINARY)) == "asan"
QUICK = "restart-delay = 10ms\nstop-timeout = 1s\n"

# Answers by what the file `mood` says: a status to send, or "hang".
WEB = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mood = open(sys.argv[2]).read().strip()
        if mood == "hang":
            time.sleep(1000)
        self.send_response(int(mood)); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

# sd_notify(3) as told by the file `say`, a line each time it changes; what it was given is in `environment`.
NOTIFIER = """
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ["NOTIFY_SOCKET"])
open(sys.argv[1] + ".environment", "w").write(repr((os.getpid(), os.environ.get("WATCHDOG_PID"), os.environ.get("WATCHDOG_USEC"))))
while True:
    try: words = open(sys.argv[1]).read().split()
    except FileNotFoundError: words = []
    for word in words: s.send(word.encode())
    if "once" in words: os.unlink(sys.argv[1])
    time.sleep(0.02)
"""


@pytest.fixture(params=["process", "namespace", "no cgroups"])
def where(request):
    if request.param != "process" and os.geteuid() != 0:
        pytest.skip("needs root")
    return request.param


def supervised(services, start, where="process"):
    s = Supervised(services, start, where != "process")
    if where == "no cgroups":
        s.prefix = ["/bin/sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh"]
    return s


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def put(supervised, name, text):
    """As a whole, at once: the other side may read at any time."""
    path = supervised.path(name)
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(path + ".new", path)


def get(supervised, name):
    try:
        with open(supervised.path(name), encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def below(pid):
    """All processes below one, {pid: name}."""
    found, todo = {}, [pid]
    while todo:
        pid = todo.pop()
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                children = [int(word) for word in file.read().split()]
            for child in children:
                with open(f"/proc/{child}/comm", encoding="ascii") as file:
                    found[child] = file.read().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        todo += children
    return found


def processes(supervised, name):
    return [pid for pid, comm in below(supervised.main_pid()).items() if comm == name]


def web(port, check, more="", retries=2):
    return (f"kind = daemon\nready = tcp 127.0.0.1:{port}\nstart = {PYTHON} -c \"exec(open('@RUN@/../web.py').read())\" {port} "
            f"@RUN@/../mood\ncheck = {check}\ncheck-interval = 100ms\ncheck-timeout = 500ms\ncheck-retries = {retries}\n{QUICK}{more}")


def with_web(check, where="process", more="", mood="200", retries=2):
    port = free_port()
    s = supervised({"web": web(port, check.format(port=port), more, retries)}, "log web", where)
    put(s, "run/web.py", WEB)
    put(s, "run/mood", mood)
    return s, port


@pytest.mark.parametrize("mood, text", [("503", "HTTP 503 from 127.0.0.1:{port}/health"), ("hang", "no answer in 500 ms")])
def test_a_service_that_answers_no_more_is_started_again(where, mood, text):
    s, port = with_web("http 127.0.0.1:{port} /health", where)
    with s:
        before = s.wait_state("web", "ready")
        well = wait_for("a good check", lambda: s.status("web")["health"] == "well" and s.status("web"))
        assert well["check"] == f"HTTP 200 from 127.0.0.1:{port}/health"
        put(s, "run/mood", mood)
        wait_for("the restart", lambda: s.status("web")["starts"] > before["starts"])
        put(s, "run/mood", "200")
        wait_for("health", lambda: s.status("web")["health"] == "well")
        assert s.status("web")["pid"] != before["pid"]
        assert f"web: check failed: {text.format(port=port)}\n" in s.messages()
        assert f"web: unhealthy: {text.format(port=port)}; again in " in s.messages()


def test_one_failure_is_shown_and_forgiven():
    s, port = with_web("http 127.0.0.1:{port} /", retries=100)
    with s:
        before = s.wait_state("web", "ready")
        put(s, "run/mood", "500")
        ill = wait_for("a bad check", lambda: s.status("web")["check_failures"] >= 2 and s.status("web"))
        assert (ill["health"], ill["state"]) == ("ill", "ready")
        assert ill["why"] == f"check failed: HTTP 500 from 127.0.0.1:{port}/"
        put(s, "run/mood", "302")
        well = wait_for("a good check", lambda: s.status("web")["health"] == "well" and s.status("web"))
        assert (well["check_failures"], well["starts"], well["pid"], well["why"]) == (0, 1, before["pid"], "")
        assert s.messages().count("check failed") == 1  # not once for each
        assert f"web: well again: HTTP 302 from 127.0.0.1:{port}/\n" in s.messages()


def test_failures_of_the_start_period_do_not_count():
    s, _ = with_web("http 127.0.0.1:{port} /", more="check-start-period = 1h\n", mood="500")
    with s:
        s.wait_state("web", "ready")
        wait_for("a bad check", lambda: s.status("web")["health"] == "ill")
        time.sleep(1)
        assert s.status("web")["starts"] == 1
        put(s, "run/mood", "200")  # ends it
        wait_for("a good check", lambda: s.status("web")["health"] == "well")
        put(s, "run/mood", "500")
        wait_for("the restart", lambda: s.status("web")["starts"] > 1)


def test_a_service_that_never_gets_ready_is_told_why(where):
    port = free_port()
    never = f"kind = daemon\nstart = /bin/sleep 1000\nready = tcp 127.0.0.1:{port}\nstart-timeout = 1s\nrestart = never\n"
    with supervised({"never": never}, "log never", where) as s:
        refused = f"tcp 127.0.0.1:{port}: connect: Connection refused"
        wait_for("the reason", lambda: s.status("never")["why"] == refused)
        assert s.state("never") == "starting"
        s.wait_state("never", "failed")
        assert s.status("never")["why"] == f"not ready in 1 s: {refused}"
        assert processes(s, "check") == []


def test_a_server_that_comes_late_is_ready_then(where):
    port = free_port()
    late = f"kind = daemon\nstart = /bin/sleep 1000\nready = tcp 127.0.0.1:{port}\n"
    above = "kind = oneshot\nstart = /bin/true\nrequires = late\n"
    with supervised({"late": late, "above": above}, "log late above", where) as s:
        wait_for("the probe", lambda: s.status("late")["why"])
        assert s.state("above") == "waiting"
        with socket.create_server(("127.0.0.1", port)):
            s.wait_state("late", "ready")
            s.wait_state("above", "ready")
        assert processes(s, "check") == []


def test_ready_by_a_path(where):
    path = f"/tmp/health-{os.getpid()}"
    with supervised({"s": f"kind = daemon\nstart = /bin/sleep 1000\nready = unix {path}\n"}, "log s", where) as s:
        wait_for("the reason", lambda: s.status("s")["why"] == f"unix {path}: connect: No such file or directory")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            try:
                listener.listen()
                s.wait_state("s", "ready")
            finally:
                os.unlink(path)


def test_ready_by_a_command_that_needs_several_tries(where):
    service = ("kind = daemon\nstart = /bin/sleep 1000\n"
               "ready = command /bin/sh -c \"echo x >> @RUN@/../tries; echo not yet; test -e @RUN@/../done\"\n")
    with supervised({"s": service}, "log s", where) as s:
        wait_for("some tries", lambda: len(get(s, "run/tries")) > 4)
        assert s.state("s") == "starting"
        assert s.status("s")["why"].endswith(": not yet"), s.status("s")["why"]
        put(s, "run/done", "")
        s.wait_state("s", "ready")
        tries = get(s, "run/tries")
        time.sleep(1.5)
        assert get(s, "run/tries") == tries  # asked no more


def test_a_stop_ends_the_probe_too(where):
    service = "kind = daemon\nstart = /bin/sleep 1000\nready = command /bin/sh -c \"sleep 2000 & exec sleep 3000\"\n"
    with supervised({"s": service}, "log s", where) as s:
        wait_for("the probe", lambda: len(processes(s, "sleep")) == 3)
        assert s.ctl("stop", "s").returncode == 0
        wait_for("their end", lambda: processes(s, "sleep") == [])


CHECKED = "kind = daemon\nstart = /bin/sleep 1000000\ncheck-interval = 100ms\ncheck-timeout = 300ms\ncheck-retries = 2\n" + QUICK


@pytest.mark.parametrize("command, text", [
    ("/bin/sh -c \"exit 3\"", "exited with 3"),
    ("/bin/sh -c \"echo first; echo the last line; exit 1\"", "the last line"),
    ("/bin/sh -c \"printf 'no newline'; exit 1\"", "no newline"),
    ("/bin/sh -c \"printf '\\\\033[31mred\\\\n'; exit 1\"", "?[31mred"),
    ("/no/such/program", "exec: No such file or directory"),
    ("/bin/sh -c \"kill -9 $$\"", "killed by signal 9 (Killed)"),
    ("/bin/sh -c \"echo waiting; sleep 1000\"", "no answer in 300 ms; it said: waiting"),
    ("/bin/sh -c \"setsid sleep 1000 & sleep 1000 & wait\"", "no answer in 300 ms"),
    ("/bin/sh -c \"yes | head -c 300000; exit 1\"", "y"),
])
def test_a_check_command_may_fail_in_any_way(command, text, where):
    with supervised({"s": CHECKED + f"check = command {command}\n"}, "log s", where) as s:
        wait_for("the restart", lambda: s.status("s")["starts"] > 1)
        wait_for("the message", lambda: f"s: unhealthy: {text}; again in " in s.messages())


def test_a_check_leaves_nothing_behind(where):
    """It says that all is well, and what it has started outlives it: that goes, and the service stays."""
    leaver = CHECKED + "check = command /bin/sh -c \"setsid sleep 4321 & echo fine\"\n"
    with supervised({"s": leaver}, "log s", where) as s:
        before = s.wait_state("s", "ready")
        wait_for("a good check", lambda: s.status("s")["health"] == "well")
        for _ in range(30):
            assert len(processes(s, "sleep")) <= 2
            time.sleep(0.02)
        assert (s.status("s")["pid"], s.status("s")["check"]) == (before["pid"], "fine")
        assert s.ctl("stop", "s").returncode == 0
        wait_for("their end", lambda: processes(s, "sleep") == [])


def test_a_check_that_writes_without_end_is_cut_off(where):
    """Nobody reads it for ever: its output is closed, and it ends of that, long before its time is up."""
    endless = CHECKED.replace("check-timeout = 300ms", "check-timeout = 1h") + "check = command /usr/bin/yes well\n"
    with supervised({"s": endless}, "log s", where) as s:
        wait_for("the restart", lambda: s.status("s")["starts"] > 1)
        assert "s: unhealthy: well; again in " in s.messages()


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        path = [line[3:].strip() for line in file if line.startswith("0::")]
    for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if path and os.path.exists(os.path.join(mount + path[0], "cgroup.procs")):
            return mount + path[0]
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_whoever_sits_in_the_place_of_checks_is_sent_away():
    """As what an earlier supervisor left that was killed: the first check cannot be run, the next one can."""
    with supervised({"s": CHECKED + "check = command /bin/true\n"},
                    "log s") as s:
        group = cgroup_of(s.wait_state("s", "ready")["pid"])
        if not group:
            pytest.skip("no cgroups here")
        with subprocess.Popen(["/bin/sleep", "1000"]) as stranger:
            def sits():
                try:
                    os.makedirs(group + ":check", exist_ok=True)
                    with open(group + ":check/cgroup.procs", "w", encoding="ascii") as file:
                        file.write(str(stranger.pid))
                except OSError:
                    return False
                return True
            try:
                wait_for("a place", sits)
                wait_for("its end", lambda: stranger.poll() == -9)
            finally:
                stranger.kill()
        wait_for("a good check", lambda: s.status("s")["health"] == "well")
        assert s.status("s")["starts"] == 1


def test_a_check_that_somebody_kills_is_a_failure_but_not_the_end():
    slow = "kind = daemon\nstart = /bin/sleep 1000000\ncheck-interval = 100ms\ncheck = command /bin/sleep 2\n" + QUICK
    with supervised({"s": slow}, "log s") as s:
        before = s.wait_state("s", "ready")
        check = wait_for("the check", lambda: [pid for pid in processes(s, "sleep") if pid != before["pid"]])[0]
        os.kill(check, 9)
        wait_for("the failure", lambda: s.status("s")["check"] == "killed by signal 9 (Killed)")
        assert s.status("s")["check_failures"] == 1
        wait_for("a good check", lambda: s.status("s")["health"] == "well")
        assert (s.status("s")["pid"], s.status("s")["check_failures"]) == (before["pid"], 0)


def test_a_stop_ends_the_check_too(where):
    service = CHECKED.replace("check-timeout = 300ms", "check-timeout = 1h") + "check = command /bin/sleep 4321\n"
    with supervised({"s": service}, "log s", where) as s:
        wait_for("the check", lambda: len(processes(s, "sleep")) == 2)
        assert s.ctl("stop", "s").returncode == 0
        wait_for("their end", lambda: processes(s, "sleep") == [])
        assert s.status("s")["health"] == "unknown"
        assert s.ctl("start", "s").returncode == 0
        wait_for("the check", lambda: len(processes(s, "sleep")) == 2)
    # And the supervisor's own end does not leave it: __exit__ has waited for that.


def test_the_supervisors_end_ends_the_check():
    service = CHECKED.replace("check-timeout = 300ms", "check-timeout = 1h") + "check = command /bin/sleep 54321\n"
    with supervised({"s": service}, "log s") as s:
        check = wait_for("the check", lambda: [p for p in processes(s, "sleep") if p != s.status("s")["pid"]])[0]
    assert not os.path.exists(f"/proc/{check}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_worker_runs_as_the_service_and_with_nothing_else():
    port = free_port()
    service = (f"kind = daemon\nstart = /bin/sleep 1000\nready = tcp 127.0.0.1:{port}\nuser = 1234\ngroup = 1234\n"
               "capabilities = net_bind_service\n")
    with supervised({"s": service}, "log s") as s:
        pid = wait_for("the probe", lambda: processes(s, "check"))[0]
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = dict(re.findall(r"^(\w+):\t(.*)$", file.read(), re.M))
        assert status["Uid"].split() == ["1234"] * 4
        assert [status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")] == ["0" * 16] * 5
        assert status["NoNewPrivs"] == "1"
        assert ASAN or status["Seccomp"] == "2"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_check_that_a_reload_brings_is_made_and_is_confined():
    port = free_port()
    without = web(port, f"http 127.0.0.1:{port} /", retries=100).replace("ready = tcp", "# ready = tcp")
    s = supervised({"web": re.sub("^check", "# check", without, flags=re.M)}, "log web")
    put(s, "run/web.py", WEB)
    put(s, "run/mood", "200")
    with s:
        before = s.wait_state("web", "ready")
        assert before["health"] == "unwatched"
        s.write("services/web.service", without)
        assert s.ctl("reload").returncode == 0
        wait_for("a good check", lambda: s.status("web")["health"] == "well")
        put(s, "run/mood", "hang")
        pid = wait_for("a check", lambda: processes(s, "check"))[0]
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            assert ASAN or "Seccomp:\t2\n" in file.read()
        put(s, "run/mood", "200")
        assert s.status("web")["pid"] == before["pid"]
        s.write("services/web.service", re.sub("^check", "# check", without, flags=re.M))
        assert s.ctl("reload").returncode == 0
        wait_for("the end of checks", lambda: s.status("web")["health"] == "unwatched" and not processes(s, "check"))
        assert s.status("web")["pid"] == before["pid"]


def notifier(more):
    return (f"kind = daemon\nready = notify\nstart = {PYTHON} -c \"exec(open('@RUN@/../notifier.py').read())\" @RUN@/../say\n"
            f"{QUICK}{more}")


def with_notifier(more, where="process", say="READY=1 once"):
    s = supervised({"s": notifier(more)}, "log s", where)
    put(s, "run/notifier.py", NOTIFIER)
    put(s, "run/say", say)
    return s


def test_a_watchdog_that_is_fed_stays_calm_and_then_bites(where):
    with with_notifier("watchdog = 3s\n", where, "READY=1 WATCHDOG=1") as s:
        before = s.wait_state("s", "ready")
        pid, watchdog_pid, usec = eval(get(s, "run/say.environment"))  # pylint: disable=eval-used
        assert (str(pid), usec) == (watchdog_pid, "3000000")
        time.sleep(4)
        assert (s.status("s")["pid"], s.status("s")["health"]) == (before["pid"], "well")
        put(s, "run/say", "READY=1 once")
        wait_for("the restart", lambda: s.status("s")["starts"] > 1)
        wait_for("the reason", lambda: "s: unhealthy: no WATCHDOG=1 in 3 s; again in " in s.messages())


def test_a_late_supervisor_reads_before_it_judges():
    """It is kept from its work for longer than the period; the pings that came meanwhile wait in its socket."""
    with with_notifier("watchdog = 3s\n", say="READY=1 WATCHDOG=1") as s:
        before = s.wait_state("s", "ready")
        time.sleep(0.5)
        s.signal(signal.SIGSTOP)
        time.sleep(4)
        s.signal(signal.SIGCONT)
        time.sleep(1)
        assert (s.status("s")["pid"], s.status("s")["starts"]) == (before["pid"], 1), s.messages()


def test_a_service_may_call_for_its_own_end():
    with with_notifier("watchdog = 1h\n") as s:
        s.wait_state("s", "ready")
        put(s, "run/say", "WATCHDOG=trigger once")
        wait_for("the restart", lambda: s.status("s")["starts"] > 1)
        assert "s: unhealthy: it says so (WATCHDOG=trigger); again in " in s.messages()


@pytest.mark.parametrize("say, bites", [("WATCHDOG_USEC=200000 once", True), ("WATCHDOG_USEC=0 once", False),
                                        ("WATCHDOG_USEC=-1 WATCHDOG_USEC= WATCHDOG_USEC=2x000 WATCHDOG_USEC=18446744073709751616 once", False)])
def test_a_service_may_set_its_own_watchdog(say, bites):
    with with_notifier("watchdog = 1h\n", say="READY=1 " + say) as s:
        before = s.wait_state("s", "ready")
        if bites:
            wait_for("the restart", lambda: s.status("s")["starts"] > 1)
        else:
            time.sleep(1)
            assert s.status("s")["pid"] == before["pid"]


def test_a_foreign_process_feeds_nobodys_watchdog():
    with with_notifier("watchdog = 500ms\n") as s:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.connect(os.path.join(s.run, "notify"))
            s.wait_state("s", "ready")
            end = time.monotonic() + 30
            while s.status("s")["starts"] == 1 and time.monotonic() < end:
                stranger.send(b"WATCHDOG=1")
                time.sleep(0.05)
        assert s.status("s")["starts"] > 1


def test_a_start_may_be_extended():
    with with_notifier("start-timeout = 5s\nrestart = never\n", say="EXTEND_TIMEOUT_USEC=60000000 once") as s:
        wait_for("its word", lambda: not get(s, "run/say"))
        time.sleep(6)
        assert s.state("s") == "starting"
        put(s, "run/say", "READY=1 once")
        s.wait_state("s", "ready")


def test_a_start_that_says_nothing_is_told_so():
    with with_notifier("start-timeout = 500ms\nrestart = never\n", say="STATUS=thinking once") as s:
        s.wait_state("s", "failed")
        assert s.status("s")["why"] == "not ready in 500 ms: no READY=1 from it"


def sleeps(pid):
    """How often a process has gone to sleep, and so been woken."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"^voluntary_ctxt_switches:\t(\d+)", file.read(), re.M).group(1))


def test_nobody_is_woken_for_a_service_without_check():
    services = {"s": "kind = daemon\nstart = /bin/sleep 1000000\n"}
    port = free_port()
    services["t"] = web(port, f"http 127.0.0.1:{port} /").replace("check", "# check")
    s = supervised(services, "log s t")
    put(s, "run/web.py", WEB)
    put(s, "run/mood", "200")
    with s:
        for name in services:
            s.wait_state(name, "ready")
        time.sleep(1)
        before = sleeps(s.main_pid())
        time.sleep(4)
        assert sleeps(s.main_pid()) == before


def test_an_interval_is_all_that_wakes_for_a_check():
    """One timer, the check's output and end, its death: a handful each time, and nothing between."""
    with supervised({"s": CHECKED.replace("check-interval = 100ms", "check-interval = 1s") + "check = command /bin/true\n"},
                    "log s") as s:
        wait_for("a check", lambda: s.status("s")["health"] == "well")
        time.sleep(0.5)
        before = sleeps(s.main_pid())
        time.sleep(5)
        assert 4 <= sleeps(s.main_pid()) - before <= 36
