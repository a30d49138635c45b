"""A new configuration under running services: what changed is changed, and nothing else."""

import json
import os
import signal
import subprocess
import time

import pytest

from supervised import BINARY, Supervised, wait_for

SLEEPER = "kind = daemon\nstart = /bin/sleep 1000000\n"
OTHER = "kind = daemon\nstart = /bin/sleep 2000000\n"


@pytest.fixture(params=[False, True], ids=["process", "namespace"])
def namespace(request):
    return request.param


def profile(s, *lines):
    s.write("profiles/test.profile", "description = test\n" + "".join(f"services = {line}\n" for line in lines))


def reload(s, *arguments, code=0):
    """What it says it did: {service: what}, and how many it kept."""
    answer = s.ctl("reload", *arguments, "--json")
    assert answer.returncode == code, answer.stdout + answer.stderr
    said = json.loads(answer.stdout)
    assert said["ok"] == (code == 0)
    return {change["service"]: change["what"] for change in said["changes"]}, said["kept"]


def pids(s):
    return {service["name"]: service["pid"] for service in s.status()["services"]}


def states(s):
    return {service["name"]: service["state"] for service in s.status()["services"]}


def test_only_what_changed_is_changed(namespace):
    services = {"kept": SLEEPER, "changed": SLEEPER, "gone": SLEEPER}
    with Supervised(services, "kept changed gone", namespace) as s:
        for name in services:
            s.wait_state(name, "ready")
        before = pids(s)
        s.write("services/changed.service", OTHER)
        s.write("services/new.service", SLEEPER)
        profile(s, "new changed kept")
        answer = s.ctl("reload")
        assert answer.returncode == 0, answer.stderr
        assert sorted(answer.stdout.splitlines()) == ["kept 1", "restarted changed", "started new", "stopped gone"]
        # It was answered when all of that was done.
        assert states(s) == {"kept": "ready", "changed": "ready", "new": "ready"}
        after = pids(s)
        assert after["kept"] == before["kept"]
        assert after["changed"] != before["changed"]
        with open(f"/proc/{s.outside(after['changed'])}/cmdline", encoding="ascii") as file:
            assert "2000000" in file.read()
        wait_for("the old processes are gone", lambda: len(s.processes()) == 3)


def test_nothing_changed_changes_nothing(namespace):
    with Supervised({"a": SLEEPER, "b": SLEEPER + "requires = a\n"}, "b", namespace) as s:
        s.wait_state("b", "ready")
        before = pids(s)
        assert reload(s) == ({}, 2)
        assert pids(s) == before


def test_a_wrong_configuration_changes_nothing_and_says_all_that_is_wrong(namespace):
    with Supervised({"a": SLEEPER, "b": SLEEPER}, "a b", namespace) as s:
        s.wait_state("b", "ready")
        before = pids(s)
        s.write("services/a.service", OTHER + "nonsense = 1\n")
        s.write("services/b.service", OTHER + "requires = c\nstart-timeout = soon\n")
        answer = s.ctl("reload")
        assert answer.returncode == 1
        assert "services/a.service:3: nonsense: unknown key" in answer.stderr
        assert 'services/b.service:3: requires: found "c"' in answer.stderr
        assert "services/b.service:4: start-timeout: " in answer.stderr
        assert "refused, nothing was changed: 3 findings" in answer.stderr
        answer = s.ctl("reload", "--json")
        assert len(json.loads(answer.stdout)["findings"]) == 3
        s.write("services/a.service", SLEEPER + "requires = b\n")
        s.write("services/b.service", SLEEPER + "requires = a\n")
        answer = s.ctl("reload")
        assert answer.returncode == 1 and "found the cycle" in answer.stderr
        s.write("services/a.service", OTHER)
        s.write("services/b.service", SLEEPER)
        profile(s, "a b nobody")
        answer = s.ctl("reload")
        assert answer.returncode == 1 and "there is no nobody.service" in answer.stderr
        assert pids(s) == before
        profile(s, "a b")
        assert reload(s) == ({"a": "restarted"}, 1)


def test_what_is_our_own_business_counts_at_once(namespace):
    """Timeouts, restarts, dependencies: the process stays."""
    services = {"a": SLEEPER, "b": SLEEPER + "restart-delay = 10ms\n"}
    with Supervised(services, "a b", namespace) as s:
        s.wait_state("a", "ready")
        s.wait_state("b", "ready")
        before = pids(s)
        s.write("services/b.service", SLEEPER + "restart = never\nrequires = a\nstop-timeout = 3s\ndescription = b\n")
        assert reload(s) == ({"b": "updated"}, 1)
        assert pids(s) == before
        assert "b" in s.ctl("stop", "a").stderr
        s.ctl("kill", "b", "KILL")
        s.wait_state("b", "failed")


def test_what_changed_is_stopped_by_its_old_definition(namespace):
    old = "kind = oneshot\nstart = /bin/true\nstop = /bin/sh -c \"echo old >> @RUN@/../undone\"\n"
    new = "kind = oneshot\nstart = /bin/true\nstop = /bin/sh -c \"echo new >> @RUN@/../undone\"\n"
    with Supervised({"changed": old, "gone": old}, "changed gone", namespace) as s:
        s.wait_state("changed", "ready")
        s.wait_state("gone", "ready")
        s.write("services/changed.service", new)
        profile(s, "changed")
        assert reload(s) == ({"changed": "restarted", "gone": "stopped"}, 0)
        with open(s.path("run/undone"), encoding="ascii") as file:
            assert file.read() == "old\nold\n"
        assert s.ctl("stop", "changed").returncode == 0
        with open(s.path("run/undone"), encoding="ascii") as file:
            assert file.read() == "old\nold\nnew\n"


def test_those_who_go_go_in_the_old_order(namespace):
    """What is changed, or gone, required what is gone: that stops after it, though the new files know nothing of it."""
    def step(name, needs, extra=""):
        return (f"kind = oneshot\nstart = /bin/true\n{needs}{extra}"
                f"stop = /bin/sh -c \"sleep 0.1; echo {name} >> @RUN@/../undone\"\n")
    services = {
        "disk": step("disk", ""),
        "mount": step("mount", "requires = disk\n"),
        "server": step("server", "requires = mount\n"),
        "client": step("client", "requires = mount\n"),
    }
    with Supervised(services, "server client", namespace) as s:
        s.wait_state("server", "ready")
        s.wait_state("client", "ready")
        s.write("services/client.service", step("client", "", "environment = A=1\n"))
        profile(s, "client")
        changes, kept = reload(s)
        assert changes == {"client": "restarted", "server": "stopped", "mount": "stopped", "disk": "stopped"}
        with open(s.path("run/undone"), encoding="ascii") as file:
            order = file.read().split()
        assert sorted(order[:2]) == ["client", "server"] and order[2:] == ["mount", "disk"]
        assert states(s) == {"client": "ready"}


def test_dependents_follow_what_changed(namespace):
    services = {
        "base": SLEEPER, "above": SLEEPER + "requires = base\n", "keeper": SLEEPER + "requires = base\nwhen-lost = keep\n",
        "bystander": SLEEPER,
    }
    with Supervised(services, "above keeper bystander", namespace) as s:
        for name in services:
            s.wait_state(name, "ready")
        before = pids(s)
        s.write("services/base.service", OTHER)
        assert reload(s) == ({"base": "restarted"}, 3)
        s.wait_state("above", "ready")
        after = pids(s)
        assert after["base"] != before["base"] and after["above"] != before["above"]
        assert after["keeper"] == before["keeper"] and after["bystander"] == before["bystander"]


def test_what_an_operator_has_stopped_stays_stopped(namespace):
    with Supervised({"a": SLEEPER, "b": SLEEPER, "asked": SLEEPER}, "a b\non-request = asked", namespace) as s:
        s.wait_state("a", "ready")
        s.ctl("stop", "a")
        s.ctl("start", "asked")
        pid = s.status("asked")["pid"]
        s.write("services/a.service", OTHER)
        assert reload(s) == ({"a": "updated"}, 2)
        assert s.state("a") == "down" and s.status("asked")["pid"] == pid
        s.ctl("start", "a")
        with open(f"/proc/{s.outside(s.status('a')['pid'])}/cmdline", encoding="ascii") as file:
            assert "2000000" in file.read()


def test_what_one_on_request_needs_anew_comes_along(namespace):
    """It runs because an operator asked for it; what it requires from now on is not wanted by anybody else."""
    with Supervised({"a": SLEEPER, "asked": SLEEPER}, "a\non-request = asked", namespace) as s:
        s.wait_state("a", "ready")
        s.ctl("start", "asked")
        s.write("services/asked.service", SLEEPER + "requires = needed\n")
        s.write("services/needed.service", SLEEPER)
        assert reload(s) == ({"asked": "updated", "needed": "started"}, 1)
        s.wait_state("asked", "ready")
        assert s.state("needed") == "ready"
        s.write("services/late.service", SLEEPER)
        s.write("profiles/test.profile", "services = a\non-request = asked late\n")
        assert reload(s) == ({"late": "added"}, 3)
        assert s.state("late") == "down"
        # From there to what runs unasked, and back.
        profile(s, "a late")
        changes, _ = reload(s)
        assert changes == {"late": "started", "asked": "stopped", "needed": "stopped"}
        assert s.state("late") == "ready"
        s.write("profiles/test.profile", "services = a\non-request = late\n")
        assert reload(s) == ({"late": "stopped"}, 1)
        assert s.state("late") == "down"


def test_there_is_room_for_so_many_and_no_more(namespace):
    """Those who have to stop first take places until they are gone."""
    template = {"many@": "kind = oneshot\nstart = /bin/true\nstop = /bin/sleep 3\n"}
    with Supervised({"a": SLEEPER, **template}, "a", namespace) as s:
        def many(first, last):
            profile(s, "a", *(f"many@{i}" for i in range(first, last)))

        many(0, 300)
        assert len(reload(s)[0]) == 300
        many(300, 600)
        answer = s.ctl("reload")
        assert answer.returncode == 1 and "found more than 512, those that have to stop first included" in answer.stderr
        assert len(states(s)) == 301
        many(250, 461)
        changes, kept = reload(s, "--no-wait")
        assert sorted(set(changes.values())) == ["started", "stopped"] and kept == 51
        wait_for("those alone", lambda: len(states(s)) == 212 and set(states(s).values()) == {"ready"})


def test_a_second_reload_while_the_first_is_under_way(namespace):
    """Services that are slow to stop: the last word counts, and what was taken back is not restarted."""
    slow = "kind = daemon\nstart = /bin/sh -c \"trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done\"\n"
    holder = slow + "requires = base\n"
    with Supervised({"base": SLEEPER, "holder": holder, "gone": slow}, "holder gone", namespace) as s:
        for name in ("base", "holder", "gone"):
            s.wait_state(name, "ready")
        before = pids(s)
        wait_for("the traps", lambda: len(s.processes()) >= 5)
        s.write("services/base.service", OTHER)
        profile(s, "holder")
        assert reload(s, "--no-wait")[0] == {"base": "restarted", "gone": "stopped"}
        assert s.state("base") == "ready"  # it waits for the holder
        s.write("services/base.service", SLEEPER)
        profile(s, "holder gone")
        changes, _ = reload(s)
        assert changes == {"base": "restarted", "gone": "updated"}
        for name in ("base", "holder", "gone"):
            s.wait_state(name, "ready")
        after = pids(s)
        assert after["base"] == before["base"]
        s.write("services/gone.service", slow.replace("0.05", "0.06"))
        assert reload(s, "--no-wait")[0] == {"gone": "restarted"}
        s.write("services/gone.service", OTHER)
        reload(s)
        with open(f"/proc/{s.outside(s.status('gone')['pid'])}/cmdline", encoding="ascii") as file:
            assert "2000000" in file.read()


def sockets(s):
    """{name: inode of the socket} of those listening below the run directory; a file's inode may be used again."""
    with open(f"/proc/{s.main_pid()}/net/unix", encoding="ascii") as file:
        lines = [line.split() for line in file if s.run in line]
    return {os.path.basename(words[-1]): words[-2] for words in lines if words[5] == "01"}


def test_sockets_are_kept_while_somebody_names_them(namespace):
    listener = "listen = unix @RUN@/{}.socket\n"
    with Supervised({"a": SLEEPER + listener.format("a"), "b": SLEEPER + listener.format("b")}, "a b", namespace) as s:
        s.wait_state("a", "ready")
        s.wait_state("b", "ready")
        before = sockets(s)
        assert {"a.socket", "b.socket"} <= before.keys()
        s.write("services/a.service", OTHER + listener.format("a"))
        s.write("services/b.service", SLEEPER + listener.format("c"))
        s.write("services/d.service", SLEEPER + "restart = never\nlisten = unix @RUN@/none/d.socket\n")
        profile(s, "a b d")
        changes, _ = reload(s, code=1)
        assert changes == {"a": "restarted", "b": "restarted", "d": "started"}
        assert s.state("a") == s.state("b") == "ready"
        assert s.state("d") == "failed" and "listen unix" in s.status("d")["why"]
        after = sockets(s)
        assert after["a.socket"] == before["a.socket"]
        assert "c.socket" in after and "b.socket" not in after


def test_a_pool_is_scaled_without_touching_the_others(namespace):
    pool = SLEEPER + "instances = 2\nlisten = unix @RUN@/pool.socket\n"
    with Supervised({"pool": pool, "other": SLEEPER}, "pool other", namespace) as s:
        s.wait_state("pool", "ready")
        s.wait_state("pool:2", "ready")
        before = pids(s)
        answer = s.ctl("scale", "pool", "4")
        assert answer.returncode == 0, answer.stderr
        assert sorted(answer.stdout.splitlines()) == ["kept 4", "started pool:3", "started pool:4"]
        after = pids(s)
        assert all(after[name] == pid for name, pid in before.items()) and after["pool:4"]
        # A reload keeps the size, and what is wrong with the files keeps anybody from another one.
        assert reload(s) == ({}, 6)
        s.write("services/other.service", OTHER)
        refused = s.ctl("scale", "pool", "5")
        assert refused.returncode == 1 and "supervisor reload first" in refused.stderr
        assert reload(s) == ({"other": "restarted"}, 5)
        answer = s.ctl("scale", "pool", "1")
        assert answer.returncode == 0 and "stopped pool:4" in answer.stdout
        assert sorted(pids(s)) == ["other", "pool", "pool:1"]
        assert pids(s)["pool:1"] == before["pool:1"]
        assert s.ctl("scale", "pool", "--default").returncode == 0
        assert sorted(pids(s)) == ["other", "pool", "pool:1", "pool:2"]
        for wrong in (["pool", "0"], ["pool", "65"], ["pool", "x"], ["pool"], ["pool", "3", "--default"]):
            assert s.ctl("scale", *wrong).returncode == 2, wrong
        assert "it is no pool" in s.ctl("scale", "other", "3").stderr
        assert "no service called" in s.ctl("scale", "nobody", "3").stderr


def test_a_service_is_asked_to_reload(namespace):
    reader = ("kind = daemon\nready = notify\nreload-signal = HUP\n"
              "start = /usr/bin/python3 @RUN@/../reader.py\n")
    script = ("import os, signal, socket, time\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "say = lambda text: s.sendto(text, os.environ['NOTIFY_SOCKET'])\n"
              "count = 0\n"
              "def again(*_):\n    global count\n    count += 1\n    say(b'STATUS=read %d' % count)\n"
              "signal.signal(signal.SIGHUP, again)\n"
              "say(b'READY=1')\n"
              "while True: time.sleep(1000)\n")
    s = Supervised({"reader": reader, "plain": SLEEPER, "down": reader}, "reader plain\non-request = down", namespace)
    with open(s.path("run/reader.py"), "w", encoding="ascii") as file:
        file.write(script)
    with s:
        pid = s.wait_state("reader", "ready")["pid"]
        assert s.ctl("reload", "reader").returncode == 0
        wait_for("it has read again", lambda: s.status("reader")["why"] == "read 1")
        assert s.status("reader")["pid"] == pid
        assert "neither reload nor reload-signal" in s.ctl("reload", "plain").stderr
        assert "not ready" in s.ctl("reload", "down").stderr
        assert "no service called" in s.ctl("reload", "nobody").stderr


def test_the_hang_up_signal_reloads(namespace):
    with Supervised({"a": SLEEPER}, "a", namespace) as s:
        s.wait_state("a", "ready")
        s.write("services/b.service", SLEEPER)
        profile(s, "a b")
        s.signal(signal.SIGHUP)
        wait_for("b", lambda: states(s) == {"a": "ready", "b": "ready"})
        s.write("services/b.service", "x = y\n")
        s.signal(signal.SIGHUP)
        wait_for("the refusal", lambda: "reload refused: " in s.messages())
        assert states(s) == {"a": "ready", "b": "ready"}


def test_no_reload_during_shutdown(namespace):
    slow = "kind = daemon\nstart = /bin/sh -c \"trap 'sleep 2; exit 0' TERM; while :; do sleep 0.05; done\"\n"
    with Supervised({"slow": slow}, "slow", namespace) as s:
        s.wait_state("slow", "ready")
        wait_for("the trap", lambda: len(s.processes()) >= 2)
        s.signal(signal.SIGTERM)
        wait_for("shutdown", lambda: s.status()["stopping"])
        answer = s.ctl("reload")
        assert answer.returncode == 1 and "shutting down" in answer.stderr


def test_those_who_wait_for_what_goes_are_answered(namespace):
    hung = "kind = oneshot\nstart = /bin/sleep 1000\nstart-timeout = none\n"
    with Supervised({"a": SLEEPER, "hung": hung}, "a\non-request = hung", namespace) as s:
        s.wait_state("a", "ready")
        waiting = s.ctl_begin("start", "hung")
        s.wait_state("hung", "starting")
        profile(s, "a")
        assert reload(s)[0] == {"hung": "stopped"}
        out, error = waiting.communicate(timeout=60)
        assert waiting.returncode == 1 and "in the configuration no more" in error, out


def cluster_file(keys, *, name="testing", own="127.79.3.1", other="127.79.3.2", role="web", more=""):
    return (f"cluster = {name}\nvoters = data1\n"
            f"[node data1]\nrole = data\naddress = {other}/8\nkey = {keys[0]}\ndisk = serial:data\n"
            f"[node web1]\nrole = {role}\naddress = {own}/8\nkey = {keys[1]}\n"
            f"[address nfs]\naddress = 127.79.3.9/8\nrole = data\nprefer = data1\n"
            f"[share a.example]\naddress = nfs\n{more}")


@pytest.fixture
def member(namespace):
    """A node of a cluster, without a gossip process. Yields it and its public keys."""
    pairs = [dict(line.split(" = ") for line in subprocess.run(
        [BINARY, "keygen"], capture_output=True, text=True, check=True).stdout.splitlines() if " = " in line) for _ in "12"]
    keys = [pair["key"] for pair in pairs]
    services = {
        "reader": SLEEPER + "reads-cluster = yes\n",
        "asked": SLEEPER.replace("sleep 1000000", "sh -c \"trap 'echo again >> @RUN@/../again' HUP; while :; do sleep 0.05; "
                                 "done\"") + "reads-cluster = yes\nreload-signal = HUP\n",
        "expanded": SLEEPER + "environment = OTHERS=%{addresses.data:,}\n",
    }
    files = {"cluster.conf": cluster_file(keys), "node.conf": f"name = web1\nsecret-key = {pairs[1]['secret-key']}\n"}
    s = Supervised(services, "reader asked expanded", namespace, files)
    os.chmod(os.path.join(s.config, "node.conf"), 0o600)
    with s:
        for name in services:
            s.wait_state(name, "ready")
        time.sleep(0.2)  # the shell sets its trap
        yield s, keys, pairs


def test_a_changed_cluster_file_restarts_nobody_but_whom_it_describes(member):
    s, keys, _ = member
    before = pids(s)
    s.write("cluster.conf", "# a word to people\n" + cluster_file(keys))
    assert reload(s) == ({}, 3)
    s.write("cluster.conf", cluster_file(keys, more="[share b.example]\naddress = nfs\n"))
    answer = s.ctl("reload")
    assert answer.returncode == 0, answer.stderr
    assert sorted(answer.stdout.splitlines()) == [
        "kept 3", "reader reads cluster.conf when it starts next", "reloaded asked"]
    wait_for("it was asked", lambda: os.path.exists(s.path("run/again")))
    assert pids(s) == before
    s.write("cluster.conf", cluster_file(keys, other="127.79.3.3", more="[share b.example]\naddress = nfs\n"))
    assert reload(s)[0]["expanded"] == "restarted"
    assert {name: pid for name, pid in pids(s).items() if before[name] != pid}.keys() == {"expanded"}


def test_who_a_node_is_does_not_change_while_it_runs(member):
    s, keys, pairs = member
    before = pids(s)
    wrong = {
        "cluster: found other, and this node runs with testing": {"cluster.conf": cluster_file(keys, name="other")},
        "found another address": {"cluster.conf": cluster_file(keys, own="127.79.3.7")},
        "role: found php, and this node runs with web": {"cluster.conf": cluster_file(keys, role="php")},
        "name: found data1, and this node runs with web1": {
            "node.conf": f"name = data1\nsecret-key = {pairs[0]['secret-key']}\n"},
    }
    for finding, files in wrong.items():
        s.write("services/reader.service", OTHER)
        s.write("cluster.conf", cluster_file(keys))
        s.write("node.conf", f"name = web1\nsecret-key = {pairs[1]['secret-key']}\n")
        for name, text in files.items():
            s.write(name, text)
        answer = s.ctl("reload")
        assert answer.returncode == 1 and finding in answer.stderr, answer.stderr
    os.unlink(os.path.join(s.config, "cluster.conf"))
    s.write("services/expanded.service", SLEEPER)
    answer = s.ctl("reload")
    assert answer.returncode == 1 and "cluster: found nothing" in answer.stderr
    assert pids(s) == before


def test_a_profile_without_services_is_taken_for_a_mistake(namespace):
    with Supervised({"a": SLEEPER}, "a", namespace) as s:
        s.wait_state("a", "ready")
        s.write("profiles/test.profile", "")
        answer = s.ctl("reload")
        assert answer.returncode == 1 and "found none at all" in answer.stderr
        assert s.state("a") == "ready"


def test_the_log_stays_as_long_as_others_write(namespace):
    with Supervised({"a": SLEEPER}, "a log", namespace) as s:
        s.wait_state("a", "ready")
        profile(s, "a")
        answer = s.ctl("reload")
        assert answer.returncode == 1 and "found no log" in answer.stderr


def test_those_who_come_and_go_leave_room_in_the_log(namespace):
    """More of them than there may be at once; the log process has a place and a descriptor for each, no more."""
    with Supervised({"a": SLEEPER}, "a log", namespace) as s:
        s.wait_state("log", "ready")
        pid = s.status("log")["pid"]
        open_now = lambda: len(os.listdir(f"/proc/{s.outside(pid)}/fd"))
        for n in range(6):
            for i in range(100):
                s.write(f"services/t{n}-{i}.service", f"kind = oneshot\nstart = /bin/echo hello {n} {i}\n")
            profile(s, "a log " + " ".join(f"t{n}-{i}" for i in range(100)))
            reload(s)
            wait_for("the last one's line", lambda n=n: f"hello {n} 99" in s.ctl("log", f"t{n}-99").stdout)
        assert s.status("log")["pid"] == pid and "refused" not in s.messages()
        profile(s, "a log")
        reload(s)
        wait_for("descriptors given back", lambda: open_now() < 20)


def test_a_thousand_reloads_cost_nothing(namespace):
    """Memory and descriptors stay as they are after the first ones."""
    variants = [
        {"a": SLEEPER, "b": "kind = oneshot\nstart = /bin/true\nseccomp = @start @basic-io\n"},
        {"a": SLEEPER + "requires = b\nstop-timeout = 5s\n", "b": "kind = group\n"},
        {"a": SLEEPER, "b": "kind = oneshot\nstart = /bin/echo x\nstop = /bin/true\n", "c": "kind = group\nrequires = a\n"},
        {"a": SLEEPER + "nonsense = 1\n"},
    ]

    def use(s):
        status = open(f"/proc/{s.main_pid()}/status", encoding="ascii").read()
        resident = int([line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")][0])
        return resident, len(os.listdir(f"/proc/{s.main_pid()}/fd"))

    with Supervised({"a": SLEEPER}, "a", namespace) as s:
        pid = s.wait_state("a", "ready")["pid"]
        after = []
        for n in range(1000 if "asan" not in BINARY else 300):
            services = variants[n % len(variants)]
            for name, text in services.items():
                s.write(f"services/{name}.service", text)
            profile(s, *services)
            s.ctl("reload", "--no-wait")
            if n % 100 == 99:
                s.write("services/a.service", SLEEPER)
                s.write("services/b.service", "kind = group\n")
                profile(s, "a b")
                assert reload(s)[0].keys() >= set()
                wait_for("at rest", lambda: set(states(s)) == {"a", "b"})
                after.append(use(s))
        assert s.status("a")["starts"] >= 1 and pid
        if "asan" not in BINARY:
            assert after[-1][0] <= after[1][0] * 1.1 + 100, after
        assert after[-1][1] == after[1][1], after
