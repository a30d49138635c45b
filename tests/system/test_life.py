"""The life cycle with real processes: as PID 1 of a PID namespace and as an ordinary process."""

import os
import signal
import subprocess
import time

import pytest

from supervised import BINARY, Supervised, wait_for

SLEEPER = "kind = daemon\nstart = /bin/sleep 1000000\n"


@pytest.fixture(params=[False, True], ids=["process", "namespace"])
def namespace(request):
    return request.param


def test_services_start_in_the_order_of_their_dependencies(namespace):
    """b requires a, c wants a broken one and comes up all the same."""
    services = {
        "a": "kind = oneshot\nstart = /bin/sh -c \"sleep 0.2; echo a >> @RUN@/../order\"\n",
        "b": "kind = oneshot\nrequires = a\nstart = /bin/sh -c \"echo b >> @RUN@/../order\"\n",
        "broken": "kind = oneshot\nrestart = never\nstart = /bin/false\n",
        "c": "kind = oneshot\nwants = broken\nrequires = b\nstart = /bin/sh -c \"echo c >> @RUN@/../order\"\n",
    }
    with Supervised(services, "a b c broken", namespace) as s:
        s.wait_state("c", "ready")
        with open(s.path("run/order"), encoding="ascii") as file:
            assert file.read().split() == ["a", "b", "c"]
        assert s.state("broken") == "failed"
        assert "exited with 1" in s.status("broken")["why"]


def test_a_killed_daemon_comes_back_and_its_dependents_with_it(namespace):
    services = {
        "base": SLEEPER + "restart-delay = 10ms\n",
        "above": SLEEPER + "requires = base\n",
        "bystander": SLEEPER,
    }
    with Supervised(services, "base above bystander", namespace) as s:
        before = {name: s.wait_state(name, "ready") for name in services}
        s.ctl("kill", "base", "KILL")
        for name in ("base", "above"):
            wait_for(name, lambda name=name: s.state(name) == "ready" and
                     s.status(name)["pid"] != before[name]["pid"])
        assert s.status("bystander")["pid"] == before["bystander"]["pid"]


def test_nothing_of_a_service_survives_its_stop(namespace):
    """Children that ran away from their parent's session are found through the cgroup."""
    runaway = "kind = daemon\nstart = /bin/sh -c \"setsid setsid sleep 424242 & exec sleep 434343\"\n"
    with Supervised({"runaway": runaway}, "runaway", namespace) as s:
        s.wait_state("runaway", "ready")
        wait_for("both processes", lambda: len(s.processes()) >= 2)
        answer = s.ctl("stop", "runaway")
        assert answer.returncode == 0, answer.stderr
        assert s.state("runaway") == "down"
        wait_for("no process", lambda: not s.processes())


def test_a_oneshot_is_undone_at_shutdown_in_reverse_order(namespace):
    services = {
        name: f"kind = oneshot\nrequires = {needs}\nstart = /bin/true\n"
              f"stop = /bin/sh -c \"echo {name} >> @RUN@/../undone\"\n"
        for name, needs in (("one", ""), ("two", "one"), ("three", "two"))
    }
    services["one"] = services["one"].replace("requires = \n", "")
    with Supervised(services, "one two three", namespace) as s:
        s.wait_state("three", "ready")
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=60) == 0
        with open(s.path("run/undone"), encoding="ascii") as file:
            assert file.read().split() == ["three", "two", "one"]


def test_a_service_that_ignores_its_stop_is_killed(namespace):
    stubborn = "kind = daemon\nstop-timeout = 300ms\nstart = /bin/sh -c \"trap '' TERM; while :; do sleep 1; done\"\n"
    with Supervised({"stubborn": stubborn}, "stubborn", namespace) as s:
        s.wait_state("stubborn", "ready")
        assert s.ctl("stop", "stubborn").returncode == 0
        assert s.state("stubborn") == "down"


def test_a_hung_start_ends_by_its_deadline_and_says_so(namespace):
    hung = "kind = oneshot\nrestart = never\nstart-timeout = 200ms\nstart = /bin/sleep 1000\n"
    with Supervised({"hung": hung}, "hung", namespace) as s:
        s.wait_state("hung", "failed")
        assert s.status("hung")["why"] == "not ready in 200 ms: still running"


def test_a_program_that_is_not_there_is_named(namespace):
    with Supervised({"lost": "kind = daemon\nrestart = never\nstart = /no/such/program\n"}, "lost", namespace) as s:
        s.wait_state("lost", "failed")
        assert "/no/such/program" in s.status("lost")["why"]
        assert "No such file" in s.status("lost")["why"]


def test_stopping_what_others_need_asks_for_force(namespace):
    services = {"base": SLEEPER, "above": SLEEPER + "requires = base\n"}
    with Supervised(services, "base above", namespace) as s:
        s.wait_state("above", "ready")
        answer = s.ctl("stop", "base")
        assert answer.returncode == 1
        assert "above" in answer.stderr and "--force" in answer.stderr
        assert s.state("base") == "ready"
        assert s.ctl("stop", "base", "--force").returncode == 0
        assert s.state("above") == "waiting"
        assert s.ctl("start", "base").returncode == 0
        s.wait_state("above", "ready")


def test_a_cycle_is_refused_with_its_path_and_the_rest_goes_on(namespace):
    services = {
        "a": SLEEPER + "requires = b\n",
        "b": SLEEPER + "requires = c\n",
        "c": SLEEPER + "after = a\n",
        "above": SLEEPER + "requires = a\n",
        "bystander": SLEEPER,
    }
    with Supervised(services, "above bystander", namespace) as s:
        s.wait_state("bystander", "ready")
        for name in "abc":
            assert s.status(name)["why"] == "refused: part of the cycle above -> a -> b -> c -> a".replace("above -> ", "")
            assert s.status(name)["starts"] == 0
        assert s.status("above")["why"] == "requires a"
        assert "supervisor: b: refused: part of the cycle a -> b -> c -> a" in s.messages()


def test_who_keeps_running_when_a_requirement_is_lost_keeps_its_process(namespace):
    """It goes down with it only when that does not come back."""
    services = {
        "base": SLEEPER + "restart-delay = 10ms\n",
        "keeper": SLEEPER + "requires = base\nwhen-lost = keep\n",
        "follower": SLEEPER + "requires = base\n",
    }
    with Supervised(services, "keeper follower", namespace) as s:
        before = {name: s.wait_state(name, "ready") for name in services}
        s.ctl("kill", "base", "KILL")
        for name in ("base", "follower"):
            wait_for(f"{name} with a new process", lambda name=name: s.state(name) == "ready"
                     and s.status(name)["pid"] != before[name]["pid"])
        assert s.status("keeper")["pid"] == before["keeper"]["pid"]
        refused = s.ctl("restart", "base")
        assert refused.returncode == 1 and "follower" in refused.stderr and "keeper" not in refused.stderr
        assert s.ctl("restart", "base", "--force").returncode == 0
        assert s.status("keeper")["pid"] == before["keeper"]["pid"]
        assert s.ctl("stop", "base", "--force").returncode == 0
        s.wait_state("keeper", "waiting")


def test_conflicting_services_never_run_together(namespace):
    services = {"day": SLEEPER + "conflicts = night\n", "night": SLEEPER, "moon": SLEEPER + "requires = night\n"}
    with Supervised(services, "day\non-request = moon", namespace) as s:
        s.wait_state("day", "ready")
        assert s.state("night") == s.state("moon") == "down"
        refused = s.ctl("start", "moon")
        assert refused.returncode == 1 and "conflicts with day; --force stops it too" in refused.stderr
        assert s.state("day") == "ready"
        assert s.ctl("start", "moon", "--force").returncode == 0
        assert s.state("day") == "down" and s.state("night") == "ready"
        assert s.ctl("start", "day", "--force").returncode == 0
        assert s.state("night") == "down" and s.state("moon") in ("down", "waiting")


def test_too_many_restarts_are_given_up_with_a_last_command(namespace):
    services = {
        "crasher": "kind = daemon\nstart = /bin/false\nrestart-delay = 1ms\nrestart-limit = 3 1m\n"
        "on-limit = /bin/sh -c \"echo given up >> @RUN@/../limit\"\n"
    }
    with Supervised(services, "crasher", namespace) as s:
        s.wait_state("crasher", "failed")
        assert s.status("crasher")["starts"] == 4
        assert s.status("crasher")["why"] == "too many restarts; exited with 1"
        with open(s.path("run/limit"), encoding="ascii") as file:
            assert file.read() == "given up\n"
        s.ctl("start", "crasher")
        wait_for("four starts more", lambda: s.status("crasher")["starts"] == 8)


def test_a_pool_shares_one_socket_and_a_killed_worker_refuses_nobody(namespace):
    pool = ("kind = daemon\ninstances = 3\nrestart-delay = 10ms\nlisten = unix @RUN@/pool.socket\n"
            "start = /bin/sleep 1000000\n")
    with Supervised({"pool": pool}, "pool", namespace) as s:
        s.wait_state("pool", "ready")
        pids = {s.wait_state(f"pool:{n}", "ready")["pid"] for n in (1, 2, 3)}
        assert len(pids) == 3
        s.ctl("kill", "pool:2", "KILL")
        wait_for("pool:2 again", lambda: s.state("pool:2") == "ready" and s.status("pool:2")["pid"] not in pids)
        assert s.state("pool") == "ready"


def test_output_is_kept_and_shown(namespace):
    talker = "kind = daemon\nstart = /bin/sh -c \"echo first; echo second >&2; exec sleep 1000000\"\n"
    with Supervised({"talker": talker}, "talker log", namespace) as s:
        s.wait_state("talker", "ready")
        wait_for("both lines", lambda: s.ctl("log", "talker").stdout.count("\n") == 2)
        lines = s.ctl("log", "talker").stdout.splitlines()
        assert [line.split(" ", 1)[1] for line in lines] == ["first", "second"]
        assert s.ctl("log", "talker", "-n", "1").stdout.splitlines() == lines[1:]
        assert s.ctl("log", "nobody").returncode == 1
        follow = subprocess.Popen([BINARY, "log", "talker", "-f", "-n", "0"], stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "SUPERVISOR_RUN": s.run})
        time.sleep(0.1)
        s.ctl("restart", "talker")
        assert follow.stdout.readline().endswith("first\n")
        follow.kill()
        follow.wait()


def test_a_killed_log_process_comes_back_and_goes_on(namespace):
    talker = "kind = daemon\nstart = /bin/sh -c \"while :; do echo tick; sleep 0.05; done\"\n"
    with Supervised({"talker": talker}, "talker log", namespace) as s:
        wait_for("some output", lambda: s.ctl("log", "talker").stdout.count("tick") > 2)
        pid = s.status("log")["pid"]
        s.ctl("kill", "log", "KILL")
        wait_for("a new log process", lambda: s.status("log")["pid"] not in (0, pid))
        seen = s.ctl("log", "talker", "-n", "100000").stdout.count("tick")
        wait_for("more output", lambda: s.ctl("log", "talker", "-n", "100000").stdout.count("tick") > seen + 2)


def test_a_thousand_orphans_leave_no_zombie(namespace):
    orphans = ("kind = oneshot\nstart = /bin/sh -c \"i=0; while [ $i -lt 1000 ]; do (setsid true &) ; i=$((i+1)); "
               "done\"\n")
    with Supervised({"orphans": orphans, "other": SLEEPER}, "orphans other", namespace) as s:
        s.wait_state("orphans", "ready")
        pid = s.status("other")["pid"]
        wait_for("only the other one", lambda: len(s.processes()) == 1)
        assert s.status("other")["pid"] == pid


def test_readiness_is_what_the_service_says(namespace):
    """A daemon with `ready = notify` holds its dependents until it has said READY=1; strangers cannot say it."""
    script = ("import os, socket, sys, time\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
              "s.sendto(b'STATUS=warm\\nREADY=1', os.environ['NOTIFY_SOCKET'])\n"
              "time.sleep(100000)\n")
    services = {"slow": "kind = daemon\nready = notify\nstart = /usr/bin/python3 @RUN@/../slow.py @RUN@/../go\n",
                "above": SLEEPER + "requires = slow\n"}
    s = Supervised(services, "slow above", namespace)
    with open(s.path("run/slow.py"), "w", encoding="ascii") as file:
        file.write(script)
    with s:
        s.wait_state("slow", "starting")
        stranger = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', '%s')"
        subprocess.run(["/usr/bin/python3", "-c", stranger % os.path.join(s.run, "notify")], check=True)
        wait_for("the refusal", lambda: "refused" in s.messages())
        assert s.state("slow") == "starting" and s.state("above") == "waiting"
        open(s.path("run/go"), "w", encoding="ascii").close()
        s.wait_state("above", "ready")
        assert s.status("slow")["why"] == "warm"


def test_the_log_process_is_the_last_to_stop(namespace):
    """What services say while they stop is kept: the log comes first, and so goes last."""
    talker = "kind = daemon\nstart = /bin/sh -c \"trap 'echo farewell; exit 0' TERM; while :; do sleep 0.05; done\"\n"
    with Supervised({"talker": talker}, "talker log", namespace) as s:
        s.wait_state("talker", "ready")
        time.sleep(0.2)  # the shell sets its trap
        s.signal(signal.SIGTERM)
        assert s.process.wait(timeout=60) == 0
        stopped = [line for line in s.messages().splitlines() if line.endswith(": stopped")]
        assert stopped == ["supervisor: talker: stopped", "supervisor: log: stopped"]
        with open(os.path.join(s.run, "log", "talker.log"), encoding="ascii") as file:
            assert file.read().endswith("farewell\n")
