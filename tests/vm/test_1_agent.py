"""The host's way into a machine: what a client leaves behind, long answers, several clients at once."""

import hashlib
import json
import os
import time

import agent
import pytest
from nodes import DEADLINE_S, at_once, wait_for


def raw(cluster, node, port=3):
    """A port without anything that could take care."""
    return cluster.state.connect(f"{node}.ctl{port}", DEADLINE_S)


def answers(sock, session):
    """One a session: what arrived beside the frame that was asked for stays in it."""
    return agent._Stream(sock, session, time.monotonic() + DEADLINE_S)  # pylint: disable=protected-access


def processes(cluster, node):
    """Of the agent's control group: one a port, and the commands they run."""
    group = cluster.read(node, f"/proc/{cluster.service(node, 'agent')['pid']}/cgroup").strip().rpartition(":")[2]
    return cluster.read(node, f"/sys/fs/cgroup{group}/cgroup.procs").split()


def names(cluster, node):
    found = []
    for pid in processes(cluster, node):
        try:
            found.append(cluster.read(node, f"/proc/{pid}/cmdline").replace("\0", " ").strip())
        except agent.Refused:
            pass  # it has ended meanwhile
    return found


def test_exit_code_and_both_outputs(cluster):
    done = cluster.ctl("web1", "no-such-verb")
    assert done.code == 2 and done.out == "" and "no-such-verb" in done.err
    assert cluster.ctl("web1", "status", "no-such-service").code == 1


def test_a_long_file_arrives_whole(cluster):
    image = cluster.image("web")
    with open(os.path.join(image, "manifest"), encoding="utf-8") as file:
        expected = next(line.split()[-1] for line in file if line.startswith("file /etc/mime.types "))
    content = agent.read(cluster.state, ["web1.ctl1"], "/etc/mime.types", DEADLINE_S)
    assert len(content) > 4 * agent.ANSWER_MAX
    assert hashlib.sha256(content).hexdigest() == expected


@pytest.mark.parametrize("path, why", [("etc/passwd", "absolute path"), ("/proc", "not a plain file"), ("/none", "No such file"),
                                       ("/dev/null", "not a plain file"), ("", "absolute path")])
def test_what_cannot_be_read_is_refused(cluster, path, why):
    with pytest.raises(agent.Refused, match=why):
        cluster.read("web1", path)


def test_no_second_supervisor_and_no_odd_request(cluster):
    for kind, payload, why in ((agent.RUN, b"--profile=web\0", "expected a command first"), (agent.RUN, b"status", "zero byte"),
                               (agent.RUN, b"", "zero byte"), (agent.RUN, b"a\0" * 65, "more than 64"),
                               (agent.READ, b"/etc\0passwd", "zero byte"), (agent.SIGNAL, b"1 9", "PID NUMBER"),
                               (agent.SIGNAL, b"999999 15", "No such process"), (agent.SIGNAL, b"x", "PID NUMBER")):
        with pytest.raises(agent.Refused, match=why):
            agent.request(cluster.state, ["web1.ctl1"], kind, payload, lambda *_: None, DEADLINE_S)


def test_more_clients_than_ports_are_all_answered(cluster):
    assert all(status["node"] == "web1" for status in at_once(*[lambda: cluster.status("web1")] * 6))


def test_a_client_that_leaves_takes_its_command_with_it(cluster):
    session = b"leaving!"
    with raw(cluster, "web1") as sock:
        sock.sendall(agent.request_frame(session, agent.RUN, agent.arguments(["log", "gossip", "-f"])))
        answers(sock, session).frame()
        assert any("log gossip -f" in name for name in names(cluster, "web1"))
    wait_for("the command ends", lambda: not any("log gossip -f" in name for name in names(cluster, "web1")))


def test_half_a_request_and_garbage_do_not_spoil_the_next(cluster):
    whole = agent.request_frame(b"earlier!", agent.RUN, agent.arguments(["version"]))
    longest = agent.request_frame(b"earlier!", agent.RUN, b"x" * 4095 + b"\0")
    for leftover in (b"garbage", whole[:-3], whole[:10], agent.MAGIC, longest[:-4], longest[:-4] * 3, b"\xff" * 50000, agent.request_frame(b"earlier!", 99, b""),
                     agent.HEADER.pack(agent.MAGIC, b"earlier!", agent.RUN, 1 << 31, 0)):
        with raw(cluster, "web1", 1) as sock:
            sock.sendall(leftover)
        code, out, _ = agent.run(cluster.state, ["web1.ctl1"], ["version"], DEADLINE_S)
        assert code == 0 and out


def test_the_answer_to_a_client_that_left_is_not_given_to_the_next(cluster):
    for _ in range(5):
        with raw(cluster, "web1", 1) as sock:
            sock.sendall(agent.request_frame(b"earlier!", agent.READ, b"/etc/mime.types"))
        assert agent.read(cluster.state, ["web1.ctl1"], "/proc/sys/kernel/hostname", DEADLINE_S) == b"web1\n"


def test_a_new_client_ends_what_runs_for_the_last(cluster):
    with raw(cluster, "web1") as sock:
        sock.sendall(agent.request_frame(b"firstone", agent.RUN, agent.arguments(["log", "gossip", "-f"])))
        answers(sock, b"firstone").frame()
        sock.sendall(agent.request_frame(b"another1", agent.RUN, agent.arguments(["version"])))
        another = answers(sock, b"another1")
        assert another.frame()[0] == agent.STDOUT
        assert another.frame() == (agent.EXIT, b"\0")
    assert not any("log gossip -f" in name for name in names(cluster, "web1"))


def test_second_request_before_the_answer_is_refused(cluster):
    with raw(cluster, "web1") as sock:
        sock.sendall(agent.request_frame(b"firstone", agent.RUN, agent.arguments(["log", "gossip", "-f"])))
        stream = answers(sock, b"firstone")
        stream.frame()
        sock.sendall(agent.request_frame(b"firstone", agent.RUN, agent.arguments(["version"])))
        while (got := stream.frame())[0] == agent.STDOUT:
            pass
        assert got == (agent.REFUSED, b"a second request before the answer to the first")


def new_agent(cluster, node, before):
    """Waits for an agent with another process than `before`. A request of the moment in which one ends is lost with it."""
    def look():
        try:
            status = cluster.ctl(node, "status", "agent", "--json", timeout=5)
        except (agent.NoAnswer, agent.Refused):
            return False
        return json.loads(status.out)["services"][0]["pid"] not in (0, before)
    wait_for("another agent", look)


def test_restarting_the_agent_through_itself_leaves_nobody_waiting(cluster):
    before = cluster.service("web1", "agent")["pid"]
    with pytest.raises(agent.Refused, match="the agent was told to end"):
        cluster.ctl("web1", "restart", "agent")
    new_agent(cluster, "web1", before)


def test_a_killed_agent_comes_back(cluster):
    """Its client of the moment may learn nothing: the port stays open on the host's side. The next one is served."""
    before = cluster.service("web1", "agent")["pid"]
    with pytest.raises((agent.NoAnswer, agent.Refused)):
        cluster.ctl("web1", "kill", "agent", "KILL", timeout=3)
    new_agent(cluster, "web1", before)


def test_signal(cluster):
    before = cluster.service("web1", "lighttpd")["pid"]
    agent.request(cluster.state, ["web1.ctl1"], agent.SIGNAL, f"{before} 9".encode(), lambda *_: None, DEADLINE_S)
    wait_for("lighttpd back", lambda: cluster.service("web1", "lighttpd")["pid"] not in (0, before))
