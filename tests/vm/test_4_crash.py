"""A part of a machine dies: it comes back by itself, and visitors notice at most a pause."""

from nodes import NODES, at_once, of_role, wait_for


def test_a_killed_web_server_comes_back(cluster):
    before, after = cluster.kill_service("web1", "lighttpd")
    assert after["starts"] == before["starts"] + 1
    assert cluster.page()["web"] == "web1"


def test_a_web_server_that_is_away_refuses_nobody(cluster):
    """Its socket is PID 1's: who comes while it restarts, waits."""
    cluster.do("web1", "kill", "lighttpd", "KILL")
    assert cluster.page()["php"] in of_role("php")


def test_a_killed_php_worker_comes_back(cluster):
    before, after = cluster.kill_service("php1", "php-cgi:2")
    assert after["starts"] == before["starts"] + 1
    wait_for("the new worker makes a page", lambda: after["pid"] in {
        page["pid"] for page in at_once(*[lambda: cluster.fcgi("php1", "who.php", ms=300)] * 4)})


def test_killed_workers_all_at_once_come_back(cluster):
    names = [f"php-cgi:{index}" for index in range(1, 5)]
    before = {name: cluster.service("php2", name)["pid"] for name in names}
    for name in names:
        cluster.do("php2", "kill", name, "KILL")
    assert cluster.fcgi("php2", "who.php")["pid"] not in before.values()
    for name in names:
        wait_for(f"{name} back", lambda name=name: cluster.service("php2", name)["pid"] not in (0, before[name]))


def said_dead(cluster, name):
    """How often each other node has said that it is dead."""
    return {node: cluster.do(node, "log", "gossip").count(f"{name} is dead") for node in NODES if node != name}


def test_a_killed_gossip_process_comes_back_and_its_node_is_not_taken_for_dead(cluster):
    earlier = said_dead(cluster, "php1")
    before, after = cluster.kill_service("php1", "gossip")
    assert after["starts"] == before["starts"] + 1
    wait_for("all alive for php1", lambda: {m["state"] for m in cluster.members("php1").values()} == {"alive"})
    for node in NODES:
        wait_for(f"php1 alive and ready for {node}", lambda node=node: (
            cluster.members(node)["php1"]["state"], cluster.members(node)["php1"]["ready"]) == ("alive", True))
    assert said_dead(cluster, "php1") == earlier
    assert cluster.page()["php"] in of_role("php")
