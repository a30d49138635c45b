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
                      f"key = {self.keys[name]['key']}"]
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
