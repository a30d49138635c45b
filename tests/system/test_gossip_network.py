"""Gossip between network namespaces: floods with forged sources, from one who sees nothing and from one who sees all."""

import hashlib
import os
import pathlib
import socket
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "helpers"))
from network import Network  # noqa: E402  pylint: disable=wrong-import-position
from gossip_cluster import Cluster, Node  # noqa: E402  pylint: disable=wrong-import-position

FLOOD = str(pathlib.Path(__file__).resolve().parents[1] / "helpers/flood.py")
PORT = 7946
STRANGER = 6

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")


class Namespaces(Cluster):
    def __init__(self, network, count):  # pylint: disable=super-init-not-called
        self.network = network
        self.nodes = [Node(i, f"node{i}", network.address(i), PORT) for i in range(count)]
        for node in self.nodes:
            node.socket = network.socket(node.index, PORT)
            node.socket.setblocking(False)


@pytest.fixture
def six():
    with Network(6, strangers=1) as network, Namespaces(network, 6) as cluster:
        cluster.start_all()
        cluster.until(cluster.all_alive)
        cluster.run(0.5)
        yield cluster


def wire_id(name):
    return hashlib.blake2b(b"testing\0" + name.encode() + b"\0", digest_size=16).hexdigest()[:16]


def sniffed(cluster, victim, count):
    """Genuine packets to the victim: hex lines, and the addresses they came from, as one on the way sees them."""
    with cluster.network.enter(cluster.network.hub):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL: what goes out, too
        tap.bind((cluster.network.port_of_hub(victim.index), 3))
    tap.settimeout(5)
    lines, sources = [], []
    while len(lines) < count:
        frame = tap.recv(2000)
        if frame[12:14] != b"\x08\x00":
            continue
        source, target = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
        if target == victim.address and frame[42:44] == b"SG":
            lines.append(frame[42:].hex())
            sources.append(source)
        cluster.pump(0)
    tap.close()
    return lines, sources


def flood(cluster, victim, kind, seconds, sources):
    words = [] if kind != "hello" else [wire_id(node.name) for node in cluster.nodes[1:]]
    return subprocess.Popen(cluster.network.command(STRANGER, [sys.executable, FLOOD, kind, str(seconds), victim.address,
                                                               str(PORT), *sources, *words]),
                            stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["junk", "hello", "knowing"])
def test_a_flooded_node_still_sees_who_dies_and_comes(six, kind, tmp_path):
    victim, other = six.nodes[0], six.nodes[4]
    sources = [node.address for node in six.nodes[1:]]
    name = kind
    if kind == "knowing":
        lines, sources = sniffed(six, victim, 20)
        name = str(tmp_path / "packets")
        pathlib.Path(name).write_text("\n".join(lines), encoding="ascii")
    for node in six.nodes:
        node.history.clear()
    before = six.ask(victim)["dropped"]
    flooder = flood(six, victim, name, 300, sources)

    def dropped():
        after = six.ask(victim)["dropped"]
        return {reason: after[reason] - before[reason] for reason in before}

    try:
        six.until(lambda: sum(dropped().values()) > 10000, 60)
        six.kill(other)
        took = six.until(lambda: victim.state(4) == "dead", 30)
        six.start(other)
        back = six.until(lambda: victim.state(4) == "alive" and other.state(0) == "alive", 30)
        six.until(lambda: sum(dropped().values()) > 50000, 60)
    finally:
        flooder.kill()
        flooder.wait()
        flooder.stdout.close()
    seen = dropped()
    print(f"{kind}: dead after {took:.2f} s, back after {back:.2f} s; {seen}")
    assert not any(state == "dead" for i, state in victim.history if i != 4)
    for node in six.running():
        assert (0, "dead") not in node.history
    if kind == "hello":
        assert seen["flood"] > 5000
    if kind == "junk":
        assert seen["kernel"] > 49000
    assert seen["seal"] < 5000  # cryptography for few of them


def test_a_cut_node_is_dead_and_comes_back(six):
    six.network.cut(3)
    others = [node for node in six.nodes if node.index != 3]
    took = six.until(lambda: all(node.state(3) == "dead" for node in others), 20)
    print(f"dead on all others after {took:.2f} s")
    six.until(lambda: all(six.nodes[3].state(node.index) == "dead" for node in others), 15)
    six.network.cut(3, cut=False)
    six.until(six.all_alive, 10)
    assert all(node.members[3]["generation"] == 1 for node in six.nodes)
