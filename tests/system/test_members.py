"""Three supervisors on loopback addresses, each with its gossip process in its sandbox: what `members` says on each."""

import contextlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess

import pytest

from supervised import BINARY, TOP, Supervised, wait_for

NAMES = ["data1", "data2", "web1"]
ROLES = {"data1": "data", "data2": "data", "web1": "web"}

# The sandbox has a user of its own, and nothing in it for a dynamic loader or a sanitizer.
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root starts processes of other users"),
    pytest.mark.skipif(pathlib.Path(BINARY).parent.name == "asan", reason="holds for the product only"),
]


def keygen():
    out = subprocess.run([BINARY, "keygen"], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" = ") for line in out.splitlines() if " = " in line)


class Three:
    def __init__(self, stack):
        self.stack = stack
        self.keys = {name: keygen() for name in NAMES}
        self.port, self.net = random.randrange(20000, 30000), random.randrange(16, 250)
        self.running = {}

    def address(self, name):
        return f"127.79.{self.net}.{NAMES.index(name) + 1}"

    def cluster_file(self):
        lines = ["cluster = testing", f"gossip-port = {self.port}", "voters = data1 data2 web1"]
        for name in NAMES:
            lines += [f"[node {name}]", f"role = {ROLES[name]}", f"address = {self.address(name)}/8",
                      f"key = {self.keys[name].get('key', 'none')}"]
            if ROLES[name] == "data":
                lines.append("disk = serial:data")
        return "\n".join(lines) + "\n"

    def start(self, name):
        shipped = pathlib.Path(TOP, "services/gossip/gossip.service").read_text(encoding="utf-8")
        # All of it but the machine's network, which is not ours to set up here.
        services = {"gossip": re.sub(r"(?m)^requires = network\n", "", shipped)}
        files = {"cluster.conf": self.cluster_file(),
                 "node.conf": f"name = {name}\nsecret-key = {self.keys[name]['secret-key']}\n"}
        supervised = Supervised(services, "gossip", files=files)
        os.chmod(os.path.join(supervised.config, "node.conf"), 0o600)
        self.running[name] = self.stack.enter_context(supervised)

    def members(self, on):
        answer = self.running[on].ctl("members", "--json")
        assert answer.returncode == 0, answer.stderr
        return {member["name"]: member for member in json.loads(answer.stdout)}

    def all_say(self, name, state, within_s=5):
        others = [on for on in self.running if on != name]
        wait_for(f"{name} {state} on {others}", lambda: all(
            self.members(on)[name]["state"] == state for on in others), within_s)


@pytest.fixture
def three():
    with contextlib.ExitStack() as stack:
        cluster = Three(stack)
        for name in NAMES:
            cluster.start(name)
        for name in NAMES:
            cluster.all_say(name, "alive", 20)
        yield cluster


def test_every_node_lists_all(three):
    for on in NAMES:
        wait_for("ready everywhere", lambda on=on: all(m["ready"] for m in three.members(on).values()), 5)
        members = three.members(on)
        assert list(members) == NAMES
        for name, member in members.items():
            assert member["role"] == ROLES[name]
            assert member["address"] == three.address(name)
            assert member["self"] == (name == on)
    table = three.running["web1"].ctl("members").stdout
    assert re.search(r"(?m)^data2 +data +127\.79\.\d+\.2 +alive +ready ", table)


def test_the_gossip_process_can_do_nothing_else(three):
    pid = three.running["web1"].status("gossip")["pid"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    assert re.search(r"(?m)^Uid:\t801\t801\t801\t801$", status)
    assert re.search(r"(?m)^CapEff:\t0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\t1$", status)
    assert re.search(r"(?m)^Seccomp:\t2$", status)
    assert os.listdir(f"/proc/{pid}/root") == []


def test_killed_node_is_dead_and_restarted_one_alive(three):
    victim = three.running.pop("data2")
    boot = three.members("web1")["data2"]["generation"]
    victim.signal(signal.SIGKILL)
    victim.process.wait()
    three.all_say("data2", "dead", 5)
    three.start("data2")
    three.all_say("data2", "alive", 5)
    wait_for("its next life", lambda: three.members("web1")["data2"]["generation"] == boot + 1, 5)


def test_killed_gossip_process_is_no_dead_node(three):
    first = three.running["data1"].status("gossip")["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for("another gossip process", lambda: three.running["data1"].status("gossip")["pid"]
             not in (0, None, first), 5)
    for _ in range(20):
        assert three.members("web1")["data1"]["state"] in ("alive", "suspect")
    wait_for("it sees all", lambda: all(m["state"] == "alive" for m in three.members("data1").values()), 5)
    assert three.members("web1")["data1"]["generation"] == 1


def test_orderly_stop_is_a_leave(three):
    three.running["data2"].signal(signal.SIGTERM)
    three.running["data2"].process.wait(timeout=20)
    del three.running["data2"]
    three.all_say("data2", "left", 2)


class Watch:
    """`members --watch --json` on one node, read as it comes."""

    def __init__(self, stack, supervised):
        self.process = stack.enter_context(subprocess.Popen(
            [BINARY, "members", "--watch", "--json"], env={**os.environ, "SUPERVISOR_RUN": supervised.run},
            stdout=subprocess.PIPE, text=True))
        stack.callback(self.process.kill)

    def until(self, **wanted):
        seen = []
        for line in self.process.stdout:
            event = json.loads(line)
            seen.append(event)
            if all(event.get(key) == value for key, value in wanted.items()):
                return seen
        raise AssertionError(f"ended: {seen}")


def test_what_happens_is_told_in_order(three):
    watch = Watch(three.stack, three.running["web1"])
    first = watch.until(event="now", name="web1")
    assert [event["name"] for event in first] == NAMES
    assert {event["state"] for event in first} == {"alive"}
    victim = three.running.pop("data2")
    victim.signal(signal.SIGKILL)
    victim.process.wait()
    seen = watch.until(event="dead", name="data2")
    assert [event["event"] for event in seen if event["name"] == "data2"] == ["suspect", "dead"]
    three.start("data2")
    seen += watch.until(event="joined", name="data2", generation=2)
    numbers = [event["number"] for event in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert not any(event["missed"] for event in seen)
    pid = three.running["web1"].status("gossip")["pid"]
    os.kill(pid, signal.SIGKILL)
    seen = watch.until(event="started", name="web1")
    assert [event["event"] for event in seen if event["name"] == "web1"][-2:] == ["stopped", "started"]
    assert "dead" not in [event["event"] for event in seen]
    three.running["data1"].signal(signal.SIGTERM)
    three.running.pop("data1").process.wait(timeout=20)
    watch.until(event="left", name="data1")


def test_a_program_is_run_for_each_event(three):
    directory = three.running["web1"].directory
    program = os.path.join(directory, "hook")
    with open(program, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\necho "$EVENT $MEMBER $STATE $ROLE $SELF" >>{directory}/hook.out\n')
    os.chmod(program, 0o755)
    follower = subprocess.Popen([BINARY, "members", "--watch", f"--exec={program}"],
                                env={**os.environ, "SUPERVISOR_RUN": three.running["web1"].run})
    three.stack.callback(lambda: (follower.kill(), follower.wait()))

    def told():
        try:
            return pathlib.Path(directory, "hook.out").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    wait_for("all three", lambda: len(told()) == 3)
    assert told()[0] == "now data1 alive data no"
    three.running["data2"].signal(signal.SIGTERM)
    three.running.pop("data2").process.wait(timeout=20)
    wait_for("the leave", lambda: "left data2 left data no" in told())


def test_statistics(three):
    def stats():
        answer = three.running["data1"].ctl("members", "--stats", "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    wait_for("some packets", lambda: stats()["packets_in"] > 20)
    got = stats()
    assert got["running"] and got["bytes_out"] > got["packets_out"] * 60 and got["health"] == 0
    assert set(got["dropped"]) >= {"flood", "replay", "seal", "kernel", "conflict"}
    for member in got["members"]:
        if not member["self"]:
            assert member["session"] and member["received"] > 0 and member["version"] >= 1
            assert 0 < member["rtt_min_us"] <= 100000
            assert 0 <= member["loss_permille"] <= 1000
    table = three.running["data1"].ctl("members", "--stats").stdout
    assert re.search(r"(?m)^gossip: running for .*local health 0", table)
    assert re.search(r"(?m)^data2 +alive +\d+\.\d\dms .* 0\.0% ", table)


def test_a_stopped_gossip_process_is_said(three):
    web = three.running["web1"]
    assert web.ctl("stop", "gossip").returncode == 0
    answer = web.ctl("members")
    assert answer.returncode == 0
    assert "the gossip process does not run: this is as it was" in answer.stderr
    assert all(member["stale"] for member in three.members("web1").values())
    assert web.ctl("start", "gossip").returncode == 0
    wait_for("it runs again", lambda: not any(m["stale"] for m in three.members("web1").values()))
    three.all_say("web1", "alive", 5)


def test_a_gossip_process_that_hangs_keeps_no_answer_back(three):
    web = three.running["web1"]
    pid = web.status("gossip")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert set(three.members("web1")) == set(NAMES)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_keys_are_read_anew_when_gossip_starts(three):
    """Taking a lost node's key away: the cluster file on each node, then its gossip service again."""
    del three.keys["data2"]["key"]
    for name in ("data1", "web1"):
        three.running[name].write("cluster.conf", three.cluster_file())
        assert three.running[name].ctl("restart", "gossip").returncode == 0
    for name in ("data1", "web1"):
        wait_for("data2 is gone", lambda name=name: three.members(name)["data2"]["state"] == "dead", 10)
        assert three.members(name)["data2"]["revoked"]
        assert three.members(name)["data1"]["state"] == "alive"
    assert re.search(r"(?m)^data2 .* revoked ", three.running["web1"].ctl("members").stdout)
    # A file that is refused changes nothing.
    three.running["web1"].write("cluster.conf", "cluster = demo\n")
    assert three.running["web1"].ctl("restart", "gossip").returncode == 0
    wait_for("data1 is there", lambda: three.members("web1")["data1"]["state"] == "alive"
             and not three.members("web1")["data1"]["stale"], 10)
    assert "expected" in three.running["web1"].messages()
