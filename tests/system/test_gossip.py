"""The gossip process: who is believed to be there when real processes die, stall, leave, lie and are flooded."""

import os
import random
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

from gossip_cluster import BINARY, LEAVE, MEMBER, READY, SELF, Cluster, keygen, message

ASAN = BINARY.parent.name == "asan"


@pytest.fixture
def six():
    with Cluster(6) as cluster:
        cluster.start_all()
        cluster.until(cluster.all_alive)
        yield cluster


def ready(services=5, up=5, failed=0):
    return message(READY, struct.pack("=BxHHH", 1, services, up, failed))


def test_six_find_each_other_and_tell_how_they_are(six):
    data1 = six.nodes[0]
    data1.channel.send(ready(7, 6, 1))
    took = six.until(lambda: all(n.members[0]["ready"] == 1 for n in six.nodes))
    assert took < 1
    told = six.nodes[5].members[0]
    assert (told["services"], told["services_ready"], told["services_failed"]) == (7, 6, 1)
    assert told["boot"] == data1.boot
    six.run(1)
    six.ask(six.nodes[5])
    assert 0 < six.nodes[5].peers[0]["rtt_min_us"] <= six.nodes[5].peers[0]["rtt_us"]


def test_killed_node_is_dead_within_5_s_and_alive_after_its_next_boot(six):
    victim = six.nodes[2]
    six.kill(victim)
    took = six.until(lambda: six.all_see(victim, "dead"), 5)
    print(f"dead on all others after {took:.2f} s")
    six.start(victim)
    took = six.until(six.all_alive, 5)
    print(f"alive on all after {took:.2f} s")
    six.until(lambda: all(n.members[2]["boot"] == victim.boot and n.members[2]["generation"] == 2 for n in six.nodes))
    six.nodes[0].process.send_signal(signal.SIGTERM)
    log = ends(six.nodes[0])[1]
    assert re.search(r"node2 is alive \(life 1.*node2 is suspect.*node2 is dead.*node2 is alive \(life 2",
                     log, re.DOTALL)


def test_stopped_process_is_dead_and_comes_back_without_accusing_anyone(six):
    victim = six.nodes[1]
    victim.history.clear()
    victim.process.send_signal(signal.SIGSTOP)
    six.until(lambda: six.all_see(victim, "dead"), 5)
    six.run(2)
    victim.process.send_signal(signal.SIGCONT)
    six.until(six.all_alive, 5)
    assert (0, "dead") not in victim.history


def test_restarted_process_of_a_living_node_is_never_dead(six):
    victim = six.nodes[3]
    victim.channel.send(ready())
    six.until(lambda: all(n.members[3]["ready"] == 1 for n in six.nodes))
    for other in six.nodes:
        other.history.clear()
    six.kill(victim)
    six.start(victim, new_boot=False)
    six.until(lambda: victim.state(3) == "alive" and victim.members[3]["incarnation"] > 1
              and six.all_alive(), 5)
    six.run(2)
    for other in six.nodes:
        assert (3, "dead") not in other.history
    assert six.nodes[0].members[3]["generation"] == 1
    assert six.nodes[0].members[3]["ready"] == 0


def test_leaving_is_told_at_once(six):
    victim = six.nodes[4]
    for other in six.nodes:
        other.history.clear()
    victim.channel.send(message(LEAVE))
    took = six.until(lambda: victim.left)
    assert took < 1.5
    six.kill(victim)
    six.until(lambda: six.all_see(victim, "left"), 1)
    six.run(2)
    assert six.all_see(victim, "left")
    for other in six.running():
        assert (4, "dead") not in other.history


def test_leave_and_end_in_one_breath(six):
    """An orderly power-off says both at once; the siblings must hear that it left."""
    victim = six.nodes[4]
    victim.channel.send(message(LEAVE))
    victim.process.send_signal(signal.SIGTERM)
    code, _ = ends(victim)
    assert code == 0
    six.until(lambda: six.all_see(victim, "left"), 1)


def test_configuration_told_again_keeps_what_is_known(six):
    node = six.nodes[0]
    before = {i: (m["boot"], m["generation"]) for i, m in node.members.items()}
    for other in six.nodes:
        other.history.clear()
    for data in six.describe(node):
        node.channel.send(data)
    six.run(2)
    for other in six.nodes:
        assert not any(state in ("unknown", "dead") for _, state in other.history)
    assert {i: (m["boot"], m["generation"]) for i, m in node.members.items()} == before


def test_load_is_small(six):
    six.run(2)
    before = six.ask(six.nodes[0])
    start = time.monotonic()
    six.run(5)
    took = time.monotonic() - start
    rate = (six.ask(six.nodes[0])["bytes_out"] - before["bytes_out"]) / took
    print(f"{rate:.0f} bytes a second, UDP payload")
    assert rate < 4500
    status = open(f"/proc/{six.nodes[0].process.pid}/status").read()
    kib = int(status.split("VmRSS:")[1].split()[0])
    print(f"{kib} KiB resident")
    assert ASAN or kib <= 2048
    assert six.nodes[0].progress["dropped"] == before["dropped"]


def test_another_key_is_a_stranger():
    """web1's key in the cluster file is not the one of the machine that says to be web1."""
    with Cluster(3) as cluster:
        honest, mallory = cluster.nodes[:2], cluster.nodes[2]
        for node in honest:
            cluster.start(node)
        listed = mallory.publics
        mallory.secret, public = keygen()
        mallory.publics = [public]
        cluster.start(mallory)
        mallory.publics = listed
        cluster.run(3)
        for node in honest:
            assert node.state(2) == "unknown"
            assert node.state(1 - node.index) == "alive"
            assert cluster.ask(node)["dropped"]["seal"] > 0


def captured(cluster, sender, receiver, count):
    """Packets of sender to receiver, taken from the receiver's socket while it is stopped."""
    receiver.process.send_signal(signal.SIGSTOP)
    packets = []
    deadline = time.monotonic() + 5
    while len(packets) < count and time.monotonic() < deadline:
        cluster.pump(0.05)
        try:
            while True:
                data, source = receiver.socket.recvfrom(2000)
                if source == (sender.address, sender.port):
                    packets.append(data)
        except BlockingIOError:
            pass
    receiver.process.send_signal(signal.SIGCONT)
    assert len(packets) >= count
    return packets


def views(cluster):
    return {node.name: {i: (m["state"], m["boot"], m["generation"], m["incarnation"], m["ready"])
                        for i, m in node.members.items()} for node in cluster.nodes}


def test_bad_packets_change_nothing_and_get_no_answer(six):
    victim, sibling = six.nodes[0], six.nodes[1]
    target = (victim.address, victim.port)
    good = captured(six, sibling, victim, 3)
    six.until(six.all_alive, 5)
    six.run(3)  # objections to the stop have been said
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((f"127.78.{random.randrange(1, 250)}.1", 0))
    stranger.setblocking(False)
    calm, before = views(six), six.ask(victim)["dropped"]

    # From an address that is nobody's: anything at all.
    for data in [b"", b"x", os.urandom(1400), *good]:
        stranger.sendto(data, target)
    # From the sibling's own address, in small portions so that the flood guard lets them be looked at.
    spoofed = [b"", b"S", good[0][:47], good[0][:63], good[0][:-1], good[0] + b"\0",
               os.urandom(64), os.urandom(1401), b"SG" + os.urandom(200), bytes(5000)]
    for n in range(100):
        data = bytearray(good[n % len(good)])
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        spoofed.append(bytes(data))
    spoofed += good * 5  # seen before, or older than what was seen
    for n, data in enumerate(spoofed):
        sibling.socket.sendto(data, target)
        if n % 10 == 9:
            six.run(0.3)
    six.run(1.5)
    assert views(six) == calm
    assert six.all_alive()
    with pytest.raises(BlockingIOError):
        stranger.recv(2000)
    after = six.ask(victim)["dropped"]
    dropped = {k: after[k] - before[k] for k in before}
    assert dropped["source"] >= 3
    assert dropped["short"] >= 2
    assert dropped["kernel"] >= 9
    assert dropped["seal"] >= 50
    assert dropped["replay"] >= 10


def test_a_flood_costs_nobody_his_place(six):
    victim, sibling = six.nodes[0], six.nodes[1]
    for other in six.nodes:
        other.history.clear()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for _ in range(20):
            sibling.socket.sendto(b"SG\1\1\4\0" + os.urandom(100), (victim.address, victim.port))
            sibling.socket.sendto(struct.pack(">2sBBBBHQQQ", b"SG", 1, 1, 4, 0, 106, 0, 1, 1)
                                  + os.urandom(66), (victim.address, victim.port))
        six.pump(0.01)
    six.run(1)
    assert not any(state == "dead" for node in six.nodes for _, state in node.history)


def ends(node):
    node.channel.settimeout(5)
    out = node.process.communicate(timeout=10)[1]
    code = node.process.returncode
    node.process = None
    node.channel.close()
    node.channel = None
    return code, out


@pytest.mark.parametrize("data", [
    b"x", b"\0" * 224, b"\0" * 4000, message(99), message(MEMBER), message(SELF),
    message(LEAVE, b"x"), message(READY, struct.pack("=BxHHH", 2, 1, 1, 1)),
])
def test_nonsense_from_the_supervising_process_ends_it(data):
    with Cluster(2) as cluster:
        node = cluster.nodes[0]
        cluster.start(node, configure=False)
        node.channel.send(data)
        code, out = ends(node)
        assert code == 1
        assert "sent something unknown" in out


def test_wrong_secret_key_is_said():
    with Cluster(2) as cluster:
        node = cluster.nodes[0]
        cluster.start(node, configure=False)
        for data in cluster.describe(node, secret=b"\x08" * 32):
            node.channel.send(data)
        code, out = ends(node)
        assert code == 1
        assert "node0: the secret key does not belong to its public key" in out


def test_nodes_out_of_order_are_refused():
    with Cluster(2) as cluster:
        node = cluster.nodes[0]
        cluster.start(node, configure=False)
        messages = list(cluster.describe(node))
        for data in [messages[0], messages[1], messages[1]]:
            node.channel.send(data)
        code, out = ends(node)
        assert code == 1
        assert "out of order" in out


def test_ends_when_let_go():
    with Cluster(2) as cluster:
        node = cluster.nodes[0]
        cluster.start(node)
        cluster.run(0.5)
        node.channel.close()
        assert node.process.wait(5) == 0
        node.process.stderr.close()
        node.process = node.channel = None


def test_ends_when_told():
    with Cluster(2) as cluster:
        node = cluster.nodes[0]
        cluster.start(node)
        cluster.run(0.5)
        node.process.send_signal(signal.SIGTERM)
        code, out = ends(node)
        assert code == 0


def test_started_by_hand_it_says_how_it_is_started():
    done = subprocess.run([BINARY, "worker", "gossip"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 2
    assert "is started by the service" in done.stderr
