"""A machine dies, or is stopped in order: the others say so, go on, and take it back."""

import time

import pytest

from nodes import NODES, at_once, of_role, wait_for


def first_time(condition, deadline_s=120):
    """Seconds of the host's clock until it holds, and what it then was."""
    begin = time.monotonic()
    value = wait_for("it", condition, deadline_s)
    return time.monotonic() - begin, value


class TestPhp2Killed:
    """A power cut of php2; its fixture gives the power back after the last of these tests."""

    @pytest.fixture(scope="class")
    def seconds(self, cluster):
        """How long each other node took to call it dead."""
        others = [node for node in NODES if node != "php2"]
        cluster.demo("kill", "php2")
        yield dict(zip(others, at_once(*[lambda node=node: first_time(
            lambda: cluster.members(node)["php2"]["state"] == "dead")[0] for node in others])))
        cluster.demo("start", "php2")

    def test_it_is_dead_for_all_others(self, seconds, measured):
        measured("php2 killed: called dead after, s", {node: round(s, 1) for node, s in seconds.items()})
        assert len(seconds) == 5

    def test_the_others_stay_alive(self, cluster, seconds):
        for node in seconds:
            states = {name: member["state"] for name, member in cluster.members(node).items()}
            assert states == {**dict.fromkeys(NODES, "alive"), "php2": "dead"}

    def test_every_request_is_answered_without_it(self, cluster, seconds, measured):
        assert seconds
        times = []
        for _ in range(3):
            begin = time.monotonic()
            pages = at_once(*[cluster.page] * 8)
            times.append(round(time.monotonic() - begin, 1))
            assert {page["php"] for page in pages} == {"php1"}
        measured("php2 dead: eight requests at once took, s", times)


def test_a_node_that_is_back_is_alive_for_all_and_works_again(cluster, measured):
    measured("php2 powered on: ready after, s", round(first_time(lambda: cluster.is_ready("php2"))[0], 1))
    for node in NODES:
        wait_for(f"php2 alive for {node}", lambda node=node: [
            (m["state"], m["ready"]) for m in [cluster.members(node)["php2"]]] == [("alive", True)])
    wait_for("both PHP machines answer", lambda: {
        page["php"] for page in at_once(*[lambda: cluster.page("/who.php?ms=200")] * 12)} == set(of_role("php")))


class TestData2Stopped:
    """data2 powered off in order; b.example, which it serves, is away until it is back."""

    @pytest.fixture(scope="class")
    def visits(self, cluster):
        before = {host: cluster.page(host=host)["visits"] for host in ("a.example", "b.example")}
        cluster.demo("stop", "data2")
        yield before
        cluster.demo("start", "data2")

    def test_it_says_goodbye(self, cluster, visits):
        assert visits
        assert "supervisor: power off" in cluster.console("data2")
        for node in NODES:
            if node != "data2":
                wait_for(f"{node} knows that data2 left", lambda node=node: cluster.members(node)["data2"]["state"] == "left")

    def test_the_other_one_goes_on_alone(self, cluster, visits):
        assert [cluster.page()["visits"] for _ in range(2)] == [visits["a.example"] + 1, visits["a.example"] + 2]
        assert cluster.drbd("data1")["ro"].startswith("Primary/")


def test_a_data_machine_that_is_back_has_what_it_missed(cluster, measured):
    def up_to_date():
        return all(cluster.drbd(node).get("ds") == "UpToDate/UpToDate" for node in of_role("data"))
    measured("data2 powered on: ready after, s", round(first_time(lambda: cluster.is_ready("data2"))[0], 1))
    wait_for("both data machines up to date", up_to_date)
    assert cluster.mounts("data2")["/data"][1] == "ocfs2"
    # Its share works again, and what the other one wrote alone is there.
    assert cluster.page(host="b.example")["data"] == "data2"
    text = cluster.fcgi("php1", "note.php", write="after the return")["note"]
    assert cluster.fcgi("php2", "note.php")["note"] == text
