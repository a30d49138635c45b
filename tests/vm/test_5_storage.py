"""The replicated disk and the filesystem on it lose their link, their lock manager's control, and a machine's power."""

import json

from nodes import SHARES, of_role, wait_for


def drbd(cluster, node):
    return json.loads(cluster.do(node, "worker", "drbd", "status", "--json"))


def wait_for_pair(cluster):
    """Both sides primary, current, connected, and writing."""
    def whole():
        states = [drbd(cluster, node) for node in of_role("data")]
        return all((s["connection"], s["role"], s["disk"], s["suspended"]) == ("Connected", "Primary", "UpToDate", False)
                   for s in states)
    wait_for("the pair is whole", whole)


def visits(cluster):
    return {share: cluster.page(host=share)["visits"] for share in SHARES}


def count_on(cluster, before):
    """Each visit that was answered has been kept, and the next one is counted. (A request that nobody waits for any more counts, too.)"""
    after = visits(cluster)
    assert all(after[share] > before[share] for share in SHARES), (before, after)


def test_a_killed_lock_control_comes_back_under_the_mounted_filesystem(cluster):
    for node in of_role("data"):
        before = visits(cluster)
        mounted = cluster.service(node, "ocfs2")["starts"]
        cluster.kill_service(node, "dlm")
        count_on(cluster, before)
        # It was not unmounted for that: nobody could.
        assert cluster.service(node, "ocfs2")["starts"] == mounted
        wait_for(f"{node} goes on from its view", lambda node=node: "going on from view" in cluster.do(node, "log", "dlm"))


def test_a_cut_link_freezes_both_sides_and_splits_nothing(cluster):
    before = visits(cluster)
    cluster.demo("cut", "data1", "data2")
    try:
        for node in of_role("data"):
            wait_for(f"{node} waits for its peer", lambda node=node: drbd(cluster, node)["suspended"])
            # Nobody may declare the other dead in favour of itself.
            assert drbd(cluster, node)["disk"] == "UpToDate"
    finally:
        cluster.demo("heal")
    wait_for_pair(cluster)
    count_on(cluster, before)


def test_what_was_acknowledged_survives_a_data_machines_power_cut(cluster):
    before = visits(cluster)
    cluster.demo("kill", "data1")
    wait_for("data2 waits for its peer", lambda: drbd(cluster, "data2")["suspended"])
    cluster.demo("start", "data1")
    cluster.wait_ready(of_role("data"))
    wait_for_pair(cluster)
    count_on(cluster, before)
    # The old life's locks were given back, its journal replayed, and the new one let in.
    assert "has started anew" in cluster.do("data2", "log", "dlm")
