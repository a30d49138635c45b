"""A machine dies, or is stopped in order: the others say so, go on, and take it back."""

import time

import pytest

from nodes import NODES, at_once, of_role, wait_for


def first_time(condition, deadline_s=120):
    """Seconds of the host's clock until it holds, and what it then was."""
    begin = time.monotonic()
    value = wait_for("it", condition, deadline_s)
    return time.monotonic() - begin, value


@pytest.fixture(scope="module")
def php2_killed(cluster):
    """php2 without power, and how long each other node took to call it dead."""
    others = [node for node in NODES if node != "php2"]
    cluster.demo("kill", "php2")
    seconds = dict(zip(others, at_once(*[lambda node=node: first_time(
        lambda: cluster.members(node)["php2"]["state"] == "dead")[0] for node in others])))
    yield seconds
    cluster.demo("start", "php2")
    cluster.wait_ready(["php2"])


def test_a_killed_node_is_dead_for_all_others(php2_killed, measured):
    measured("php2 killed: called dead after, s", {node: round(s, 1) for node, s in php2_killed.items()})
    assert len(php2_killed) == 5


def test_the_others_stay_alive(cluster, php2_killed):
    for node in php2_killed:
        states = {name: member["state"] for name, member in cluster.members(node).items()}
        assert states == {**dict.fromkeys(NODES, "alive"), "php2": "dead"}


def test_every_request_is_answered_without_the_dead_php_machine(cluster, php2_killed, measured):
    assert php2_killed
    times = []
    for _ in range(3):
        begin = time.monotonic()
        pages = at_once(*[cluster.page] * 8)
        times.append(round(time.monotonic() - begin, 1))
        assert {page["php"] for page in pages} == {"php1"}
    measured("php2 dead: eight requests at once took, s", times)


def test_a_node_that_is_back_is_alive_for_all_and_works_again(cluster):
    cluster.wait_ready(["php2"])
    for node in NODES:
        wait_for(f"php2 alive for {node}", lambda node=node: [
            (m["state"], m["ready"]) for m in [cluster.members(node)["php2"]]] == [("alive", True)])
    wait_for("both PHP machines answer", lambda: {
        page["php"] for page in at_once(*[lambda: cluster.page("/who.php?ms=200")] * 12)} == set(of_role("php")))


@pytest.fixture(scope="module")
def data2_stopped(cluster):
    """data2 powered off in order; b.example, which it serves, is away until it is back. Its visits before."""
    visits = cluster.page(host="b.example")["visits"]
    cluster.demo("stop", "data2")
    yield visits
    cluster.demo("start", "data2")


def test_a_data_machine_stops_in_order(cluster, data2_stopped):
    assert data2_stopped
    console = cluster.console("data2")
    assert "supervisor: power off" in console
    for node in (node for node in NODES if node != "data2"):
        wait_for(f"{node} knows that data2 left", lambda node=node: cluster.members(node)["data2"]["state"] == "left")


def test_the_other_data_machine_goes_on_alone(cluster, data2_stopped):
    assert data2_stopped
    before = cluster.page()["visits"]
    assert cluster.page()["visits"] == before + 1
    assert cluster.drbd("data1")["ro"].startswith("Primary/")


def test_a_data_machine_that_is_back_has_what_it_missed(cluster, data2_stopped):
    """The fixture has not started it yet."""
    cluster.demo("start", "data2")
    cluster.wait_ready(["data2"])
    for node in of_role("data"):
        wait_for(f"{node} up to date", lambda node=node: cluster.drbd(node).get("ds") == "UpToDate/UpToDate")
    assert cluster.page(host="b.example")["visits"] == data2_stopped + 1
    assert cluster.mounts("data2")["/data"][1] == "ocfs2"
