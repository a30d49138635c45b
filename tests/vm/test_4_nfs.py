"""The file server of a share goes away and comes back: who holds a lock keeps it, and gets no error.

Guards against the worst of a takeover: a server that starts without knowing who was there grants the lock to whoever asks
first, and two PHP machines write one file.
"""

import pytest

from nodes import at_once, wait_for

SERVER, SERVICE, SHARE = "data1", "nfsd@nfs-a", "a.example"


def keep_through(cluster, seconds, disturb):
    """php1 holds the lock for so long, php2 asks for it meanwhile, disturb() happens. The answers of both."""
    cluster.fcgi("php1", "keep.php", SHARE, do="reset")

    def holding():
        return cluster.fcgi("php2", "keep.php", SHARE, do="holding")["holding"]

    def take():
        wait_for("php1 has the lock", holding)
        return cluster.fcgi("php2", "keep.php", SHARE, do="take")

    def disturb_then():
        wait_for("php1 has the lock", holding)
        disturb()
    holder, taker, _ = at_once(lambda: cluster.fcgi("php1", "keep.php", SHARE, do="keep", s=seconds), take, disturb_then)
    return holder, taker


def assert_kept(holder, taker):
    assert (holder["locked"], holder["unlocked"], holder["failed"]) == (True, True, 0)
    assert holder["written"] > 0
    assert (taker["locked"], taker["unlocked"]) == (True, True)
    assert taker["journal"] == ["php1 has it", "php1 lets go", "php2 has it"]


def test_a_lock_is_kept_through_a_restart_of_the_server(cluster, measured):
    holder, taker = keep_through(cluster, 8, lambda: cluster.do(SERVER, "restart", SERVICE))
    assert_kept(holder, taker)
    measured(f"{SERVICE} restarted: longest write, s", round(holder["longest"], 1))


def test_a_lock_is_kept_when_the_server_is_killed(cluster, measured):
    holder, taker = keep_through(cluster, 8, lambda: cluster.kill_service(SERVER, SERVICE))
    assert_kept(holder, taker)
    measured(f"{SERVICE} killed: longest write, s", round(holder["longest"], 1))


def test_a_lock_is_kept_through_a_power_cut_of_the_server(cluster, measured):
    def cut():
        cluster.demo("kill", SERVER)
        cluster.demo("start", SERVER)
        cluster.wait_ready([SERVER])
    holder, taker = keep_through(cluster, 40, cut)
    assert_kept(holder, taker)
    wait_for("the disks are the same again", lambda: cluster.drbd(SERVER).get("ds") == "UpToDate/UpToDate")
    measured(f"{SERVER} power cut and on again: longest write, s", round(holder["longest"], 1))


def test_the_keeper_of_the_clients_names_may_die_meanwhile(cluster):
    """It comes back by itself, the server goes on, and no name is lost."""
    server = cluster.service(SERVER, SERVICE)
    before, after = cluster.kill_service(SERVER, "nfs-clients@nfs-a")
    assert after["starts"] == before["starts"] + 1
    assert cluster.service(SERVER, SERVICE)["pid"] == server["pid"]
    holder, taker = keep_through(cluster, 8, lambda: cluster.do(SERVER, "restart", SERVICE))
    assert_kept(holder, taker)
    last = cluster.do(SERVER, "log", "nfs-clients@nfs-a").splitlines()[-1]
    assert last.endswith("4 clients may reclaim"), last


@pytest.mark.parametrize("node, words", [("web1", "ro"), ("php1", "rw")])
def test_only_php_machines_write(cluster, node, words):
    assert words in cluster.mounts(node)[f"/srv/{SHARE}"][2]


def test_a_share_mounted_anew_is_seen_by_who_runs_already(cluster):
    """php-cgi and lighttpd have mount namespaces of their own, older than this mount."""
    workers = {name: cluster.service("php2", name)["pid"] for name in ("php-cgi:1", "php-cgi:2")}
    cluster.do("php2", "restart", f"share@{SHARE}", "--force")
    cluster.wait_ready(["php2"])
    assert cluster.fcgi("php2", "who.php", SHARE)["php"] == "php2"
    assert workers == {name: cluster.service("php2", name)["pid"] for name in workers}
