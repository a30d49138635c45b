"""The workers of the node's own address and of service addresses, in network namespaces joined by a veth pair."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SUPERVISOR_BIN", TOP / "build/supervisor"))

CLUSTER = """
cluster = test
voters = web1
[node data1]
role = data
address = 10.77.0.11/24
key = {0}
disk = serial:data
[node web1]
role = web
address = 10.77.0.31/24
key = {1}
[address web]
address = 10.77.0.100/24
role = web
prefer = web1
"""


def can_make_namespaces():
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    made = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"],
        capture_output=True,
    )
    return made.returncode == 0


pytestmark = pytest.mark.skipif(
    not can_make_namespaces(), reason="needs root, iproute2 and veth interfaces"
)


class Namespace:
    """A network namespace, held by a process that sleeps in it."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo made; exec sleep 600"], stdout=subprocess.PIPE
        )
        self.holder.stdout.readline()

    def command(self, words):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *map(str, words)]

    def ip(self, *words):
        done = subprocess.run(
            self.command(["ip", *words]), capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def addresses(self, interface):
        (link,) = json.loads(self.ip("-j", "addr", "show", "dev", interface))
        return {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == "inet"}

    def mac(self, interface):
        (link,) = json.loads(self.ip("-j", "link", "show", "dev", interface))
        return link["address"]

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Pair:
    """This node (interface v0) and a neighbour (v1)."""

    def __init__(self, directory):
        self.node, self.neighbour = Namespace(), Namespace()
        self.directory = directory
        keys = [
            line.split(" = ")[1]
            for _ in range(2)
            for line in subprocess.run(
                [BINARY, "keygen"], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            if line.startswith("key = ")
        ]
        (directory / "cluster.conf").write_text(CLUSTER.format(*keys))
        self.node.ip("link", "add", "v0", "type", "veth", "peer", "name", "v1",
                     "netns", self.neighbour.holder.pid)

    def start(self, *words):
        return subprocess.Popen(
            self.node.command([BINARY, "worker", *words]),
            env={"SUPERVISOR_CONFIG": str(self.directory), "SUPERVISOR_NODE": "web1",
                 "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )

    def worker(self, *words):
        process = self.start(*words)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def close(self):
        self.node.close()
        self.neighbour.close()


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    yield made
    made.close()


@pytest.fixture
def joined(pair):
    pair.neighbour.ip("addr", "add", "10.77.0.32/24", "dev", "v1")
    pair.neighbour.ip("link", "set", "v1", "up")
    code, errors = pair.worker("network", "up", "v0")
    assert code == 0, errors
    return pair


def test_the_node_gets_its_address_from_the_cluster_file(joined):
    assert joined.node.addresses("v0") == {"10.77.0.31/24"}
    lo, = json.loads(joined.node.ip("-j", "link", "show", "dev", "lo"))
    assert "UP" in lo["flags"]
    read = joined.node.command(["cat", "/proc/sys/net/ipv4/conf/v0/arp_ignore",
                                "/proc/sys/net/ipv4/conf/v0/arp_announce"])
    assert subprocess.run(read, capture_output=True, text=True).stdout == "1\n2\n"


def test_up_twice_and_down(joined):
    assert joined.worker("network", "up", "v0")[0] == 0
    assert joined.worker("network", "down", "v0")[0] == 0
    assert joined.node.addresses("v0") == set()
    assert joined.worker("network", "down", "v0")[0] == 0


def test_ready_means_that_there_is_carrier(pair):
    process = pair.start("network", "up", "v0")
    time.sleep(0.5)
    assert process.poll() is None, "ready though the other end of the cable is down"
    pair.neighbour.ip("link", "set", "v1", "up")
    assert process.wait(timeout=10) == 0


def test_an_interface_that_is_not_there(pair):
    code, errors = pair.worker("network", "up", "v9")
    assert code == 1
    assert "interface v9" in errors and "No such device" in errors


def test_a_service_address_is_taken_told_and_given_up(joined):
    # The neighbour remembers the holder before us; it must not go on sending there.
    joined.neighbour.ip("neigh", "add", "10.77.0.100", "lladdr", "02:00:00:00:00:01",
                        "dev", "v1", "nud", "stale")
    code, errors = joined.worker("address", "add", "web")
    assert code == 0, errors
    assert joined.node.addresses("v0") == {"10.77.0.31/24", "10.77.0.100/32"}
    assert joined.node.mac("v0") in joined.neighbour.ip("neigh", "show", "10.77.0.100")

    assert joined.worker("address", "add", "web")[0] == 0
    assert joined.worker("address", "del", "web")[0] == 0
    assert joined.node.addresses("v0") == {"10.77.0.31/24"}
    assert joined.worker("address", "del", "web")[0] == 0


def test_an_address_that_another_machine_has_is_not_taken(joined):
    joined.neighbour.ip("addr", "add", "10.77.0.100/24", "dev", "v1")
    code, errors = joined.worker("address", "add", "web")
    assert code == 1
    assert f"10.77.0.100 is in use by {joined.neighbour.mac('v1')}" in errors
    assert joined.node.addresses("v0") == {"10.77.0.31/24"}


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["network"], 2, "usage: network"),
        (["network", "sideways"], 2, "usage: network"),
        (["network", "up", "a-name-much-too-long"], 2, "usage: network"),
        (["network", "up", "../v0"], 2, "usage: network"),
        (["address", "add"], 2, "usage: address"),
        (["address", "add", "mail"], 2, 'found "mail"'),
        (["netns", "up", "mail"], 2, 'found "mail"'),
        (["netns", "up"], 2, "usage: netns"),
        (["nfsd"], 2, "usage: nfsd"),
        (["nfsd", "web", "data"], 2, "usage: nfsd"),
        (["nfsd", "mail"], 2, 'found "mail"'),
        (["nfs-clients", "mail"], 2, 'found "mail"'),
        (["nfs-clients", "web", "data"], 2, "usage: nfs-clients"),
        (["share"], 2, "usage: share"),
        (["share", "none.example"], 2, 'found "none.example"'),
        (["cachefiles", "relative"], 2, "usage: cachefiles"),
    ],
)
def test_wrong_arguments_are_refused(pair, words, code, message):
    got, errors = pair.worker(*words)
    assert (got, message in errors) == (code, True), errors


def test_a_node_without_a_cache_disk_does_without(pair):
    code, errors = pair.worker("cachefiles")
    assert code == 69
    assert "no cache disk" in errors
