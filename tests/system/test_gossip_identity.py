"""Who may speak for a name: keys that are changed or taken away, two machines of one name, a copied one; and what a
restarted process still knows."""

import copy
import random
import socket
import subprocess

import pytest

from gossip_cluster import READY, Cluster, keygen, message

@pytest.fixture
def four():
    with Cluster(4) as cluster:
        cluster.start_all()
        cluster.until(cluster.all_alive)
        yield cluster


def forget(cluster):
    for node in cluster.nodes:
        node.history.clear()


def states(cluster, index):
    return {state for node in cluster.nodes for i, state in node.history if i == index}


def tell_again(cluster, node):
    for data in cluster.describe(node):
        node.channel.send(data)


# --- keys


def test_a_key_is_changed_while_all_go_on(four):
    """As docs/CLUSTER-FILE.md tells the operator to do it; every step leaves the cluster as it is."""
    changed = four.nodes[1]
    old_secret = changed.secret
    forget(four)
    new_secret, new_public = keygen()
    changed.publics.append(new_public)
    for node in four.nodes:  # the cluster file with both keys, one node after the other
        tell_again(four, node)
        four.run(0.3)
    changed.secret = new_secret  # node.conf with the new secret, and its gossip process anew
    before = changed.members[1]["incarnation"]
    four.restart(changed)
    four.until(lambda: four.all_alive() and changed.state(1) and changed.members[1]["incarnation"] > before)
    four.run(1.5)
    changed.publics.pop(0)  # the cluster file without the old one
    for node in four.nodes:
        tell_again(four, node)
        four.run(0.3)
    four.run(1.5)
    assert four.all_alive()
    assert "dead" not in {state for i in range(4) for state in states(four, i)}
    assert all(node.members[1]["generation"] == 1 for node in four.nodes)
    # Whoever has the old secret is nobody now.
    four.kill(changed)
    four.until(lambda: four.all_see(changed, "dead"))
    changed.secret, listed = old_secret, changed.publics
    changed.publics = [public_of(old_secret)]
    four.start(changed)
    changed.publics = listed
    four.run(3)
    assert four.all_see(changed, "dead")


def public_of(secret):
    """The public key of a secret one, by X25519 of the ladder in RFC 7748."""
    p = 2 ** 255 - 19
    k = bytearray(secret)
    k[0] &= 248
    k[31] = (k[31] & 127) | 64
    k = int.from_bytes(k, "little")
    x1, x2, z2, x3, z3, swap = 9, 1, 0, 9, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        x3, z3 = (da + cb) ** 2 % p, x1 * (da - cb) ** 2 % p
        e = aa - bb
        x2, z2 = aa * bb % p, e * (aa + 121665 * e) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def test_a_key_that_is_taken_away_counts_no_more(four):
    lost = four.nodes[3]
    lost.publics, kept = [], lost.publics
    for node in four.nodes[:3]:
        tell_again(four, node)
    four.until(lambda: all(node.state(3) == "dead" for node in four.nodes[:3]))
    four.run(3)
    assert all(node.state(3) == "dead" for node in four.nodes[:3])
    four.ask(four.nodes[0])
    assert not four.nodes[0].peers[3]["session"]
    # And back: what was taken by mistake.
    lost.publics = kept
    for node in four.nodes[:3]:
        tell_again(four, node)
    four.until(four.all_alive)


# --- two of one name


class Twin:
    """A second machine with a node's name and key, on its own address or on the same."""

    def __init__(self, cluster, node, **how):
        self.cluster = cluster
        self.node = copy.copy(node)
        self.node.process = self.node.channel = None
        cluster.nodes.append(self.node)
        if "address" in how:
            self.node.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.node.socket.bind((how["address"], 0))
            self.node.socket.setblocking(False)
        count = len(cluster.nodes) - 1
        nodes, cluster.nodes = cluster.nodes, cluster.nodes[:count]
        cluster.start(self.node, new_boot=how.get("new_boot", True), prefix=how.get("prefix", ()))
        cluster.nodes = nodes


def all_say(cluster, index, conflict, among):
    return all(node.members[index]["conflict"] == conflict for node in among)


def test_two_machines_of_one_name_and_address_are_both_shut_out(four):
    """A copied disk: both have the key, both answer on the address. The siblings must not take turns believing them."""
    others, original = [four.nodes[i] for i in (0, 1, 3)], four.nodes[2]
    twin = Twin(four, original).node
    four.until(lambda: all_say(four, 2, "twins", others), 15)
    four.until(lambda: all(node.state(2) == "dead" for node in others), 15)
    forget(four)
    four.run(4)
    assert all_say(four, 2, "twins", others)
    assert not any((2, "alive") in node.history for node in others)
    four.until(lambda: twin.members[2]["conflict"] == "twins" or original.members[2]["conflict"] == "twins", 5)
    for node in others:
        assert all(node.members[i]["state"] == "alive" and node.members[i]["conflict"] == ""
                   for i in (0, 1, 3))
    four.kill(original)
    four.until(lambda: all_say(four, 2, "", others), 20)
    four.until(lambda: all(node.state(2) == "alive" for node in others), 5)
    assert all(node.members[2]["boot"] == twin.boot for node in others)
    assert [event["conflict"] for event in others[0].events if event["change"] == "conflict"] == ["twins", ""]
    process, others[0].process = others[0].process, None
    process.terminate()
    log = process.communicate()[1]
    others[0].channel.close()
    others[0].channel = None
    assert "ALARM: two machines speak as node2: neither is believed" in log
    assert "node2: the conflict is over" in log


def test_a_holder_of_the_key_at_another_address_is_not_believed(four):
    others, original = [four.nodes[i] for i in (0, 1, 3)], four.nodes[2]
    forget(four)
    net = original.address.rsplit(".", 1)[0]
    thief = Twin(four, original, address=f"{net}.99").node
    four.until(lambda: all_say(four, 2, "elsewhere", others), 10)
    four.run(2)
    for node in others:
        assert socket.inet_ntoa(node.members[2]["elsewhere"].to_bytes(4, "little")) == f"{net}.99"
        assert node.state(2) == "alive" and node.members[2]["boot"] == original.boot
    assert "dead" not in states(four, 2)
    assert all(thief.state(node.index) != "alive" for node in others)


def test_one_boot_that_runs_twice(four):
    """A machine copied while it ran: the same boot id, but a clock that stands elsewhere."""
    prefix = ["unshare", "--time", "--monotonic", "-5", "--fork", "--kill-child"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no time namespaces here")
    others, original = [four.nodes[i] for i in (0, 1, 3)], four.nodes[2]
    Twin(four, original, new_boot=False, prefix=prefix)
    four.until(lambda: any(node.members[2]["conflict"] == "clones" for node in others), 15)


# --- a restarted process


def test_a_restarted_process_still_knows_everybody(four):
    victim, dead = four.nodes[1], four.nodes[3]
    victim.channel.send(message(READY, b"\1\0\5\0\5\0\0\0"))
    four.kill(dead)
    four.until(lambda: four.all_see(dead, "dead") and all(n.members[1]["ready"] for n in four.running()))
    four.run(1)
    forget(four)
    before = victim.members[1]["incarnation"]
    four.restart(victim)
    victim.channel.send(message(READY, b"\1\0\5\0\5\0\0\0"))
    four.until(lambda: victim.state(0) == "alive" and victim.state(3) == "dead" and victim.state(1) == "alive")
    assert not victim.events or all(event["change"] == "updated" for event in victim.events)
    assert victim.members[1]["incarnation"] > before
    four.run(2)
    assert "dead" not in states(four, 1) | states(four, 0) | states(four, 2)
    assert all(node.members[1]["generation"] == 1 and node.members[1]["ready"] for node in four.running())


def test_tags_travel(four):
    four.nodes[0].tags = b"rack=a zone=" + bytes(f"{random.randrange(1000)}", "ascii")
    tell_again(four, four.nodes[0])
    four.until(lambda: all(node.members[0]["tags"] == four.nodes[0].tags for node in four.nodes))
    four.restart(four.nodes[2])
    four.run(0.2)
    assert four.nodes[2].members[0]["tags"] == four.nodes[0].tags


def test_nothing_is_said_unasked_while_nothing_changes(four):
    """The supervising process sleeps when there is nothing to do; it is not to be woken."""
    four.run(3)
    heard = [len(node.events) for node in four.nodes]
    silence = {node: node.channel for node in four.nodes}
    four.run(0.1)
    said = []
    for _ in range(30):
        for node, channel in silence.items():
            try:
                said.append((node.name, channel.recv(4096)))
            except BlockingIOError:
                pass
        four.run_blind(0.1)
    assert not said
    assert heard == [len(node.events) for node in four.nodes]
