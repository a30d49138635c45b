"""The whole cluster powered off in order: every service stopped, nothing left dirty, everything there again afterwards."""

import os
import re

import pytest

import disks
from nodes import NODES, SHARES, of_role

# On each machine what serves stops before what it stands on. Between two lines of one role there is no order.
ORDER = {
    "data": [["nfsd@{lease}", "ocfs2", "dlm", "drbd-primary", "drbd", "network"]],
    "php": [["php-cgi:1", "share@a.example", "cachefiles"], ["php-cgi:1", "share@a.example", "network"]],
    "web": [["lighttpd", "share@a.example", "network"]],
}
DISORDER = re.compile(r"supervisor: \S+: (stopped: .*|.*killed.*|.*not ready in.*|failed.*)|Oops|BUG:|Call Trace|blocked for more")


@pytest.fixture(scope="module")
def powered_off(cluster):
    """Everything off; what the services and sites were before."""
    cluster.wait_ready()
    before = {
        "services": {node: [s["name"] for s in cluster.status(node)["services"] if s["state"] == "ready"] for node in NODES},
        "visits": {share: cluster.page(host=share)["visits"] for share in SHARES},
    }
    before["down"] = cluster.demo("down")
    return before


def ends(cluster, node):
    """The console from the moment on when it was told to power off."""
    return cluster.console(node).rpartition("supervisor: stopping all services")[2]


def spoken(end):
    """What is left of it without the kernel's messages, which may stand in the middle of another line."""
    return re.sub(r"\[ *\d+\.\d{6}\] [^\n]*\n", "", end)


def test_roles_go_off_one_after_the_other(powered_off):
    assert [line for line in powered_off["down"].stderr.splitlines() if line] == [
        "powering off web1 web2", "powering off php1 php2", "powering off data1 data2"]


@pytest.mark.parametrize("node", NODES)
def test_every_service_is_stopped_then_the_power(cluster, powered_off, node):
    end = ends(cluster, node)
    said = spoken(end)
    for name in powered_off["services"][node]:
        assert f"supervisor: {name}: stopped\n" in said or name == "php-cgi", f"{name}:\n{end}"
    assert said.index("supervisor: all services stopped\n") < said.index("supervisor: power off\n")
    assert "reboot: Power down" in end
    assert not DISORDER.search(end), end


@pytest.mark.parametrize("node", NODES)
def test_what_serves_stops_before_what_it_stands_on(cluster, powered_off, node):
    assert powered_off
    end = spoken(ends(cluster, node))
    lease = {"data1": "nfs-a", "data2": "nfs-b"}.get(node)
    for line in ORDER[node.rstrip("12")]:
        places = [end.index(f"supervisor: {name.format(lease=lease)}: stopped") for name in line]
        assert places == sorted(places), (line, end)


@pytest.mark.parametrize("node", NODES)
def test_no_part_failed_in_the_machines_life(cluster, powered_off, node):
    """The console from its boot on, but for what the tests have killed, and what a slow host made late."""
    assert powered_off
    found = [line for line in cluster.console(node).splitlines() if DISORDER.search(line)]
    assert not [line for line in found if "killed by signal 9" not in line and "not ready in" not in line]


@pytest.fixture(scope="module")
def halves(cluster, powered_off):
    """(path, metadata) of both halves of the replicated disk; first the one that was detached last: it holds all writes."""
    assert powered_off
    found = [(path, disks.drbd_metadata(path)) for path in
             (os.path.join(cluster.state.disks, f"{node}-data.raw") for node in of_role("data"))]
    return sorted(found, key=lambda half: not half[1].flags & disks.DRBD_WAS_UP_TO_DATE)


def test_no_half_of_the_replicated_disk_was_left_in_use(halves):
    for _, metadata in halves:
        assert metadata.flags & disks.DRBD_CONSISTENT
        assert not metadata.flags & (disks.DRBD_PRIMARY | disks.DRBD_CRASHED_PRIMARY | disks.DRBD_FULL_SYNC)


def test_the_halves_are_the_same_or_know_what_one_lacks(halves):
    """One is always detached a moment before the other, which may write in that moment."""
    (path, last), (other_path, other) = halves
    assert last.flags & disks.DRBD_WAS_UP_TO_DATE
    assert last.bytes == other.bytes and other.bitmap == 0
    if last.bitmap == 0:
        assert last.current == other.current
        assert disks.first_difference(path, other_path, last.bytes) is None
    else:
        assert last.bitmap == other.current


def test_the_cluster_filesystem_was_left_clean(cluster, halves):
    tools = disks.Tools(os.path.join(cluster.image("data"), "initrd"), os.path.join(cluster.directory, "data-image"))
    path, _ = halves[0]
    assert tools.journals(path) == ["", ""]
    checked = tools.run("fsck.ocfs2", "-fn", path)
    assert checked.returncode == 0 and "All passes succeeded" in checked.stdout, checked.stdout + checked.stderr


@pytest.mark.parametrize("node", of_role("php"))
def test_the_client_caches_were_left_clean(cluster, powered_off, node):
    assert powered_off
    assert disks.ext4_is_clean(os.path.join(cluster.state.disks, f"{node}-cache.raw"))


def test_the_next_up_finds_everything_again(cluster, powered_off):
    cluster.up()
    cluster.wait_ready()
    for share in SHARES:
        visits = cluster.page(host=share)["visits"]
        assert visits > powered_off["visits"][share]
        if share == "b.example":  # the first site is also asked by `demo up`
            assert visits == powered_off["visits"][share] + 1
    for node in of_role("data"):
        assert cluster.drbd(node)["ds"] == "UpToDate/UpToDate"


def test_a_second_power_off_is_as_good(cluster, powered_off):
    assert powered_off
    cluster.demo("down")
    for node in NODES:
        assert not DISORDER.search(ends(cluster, node)), ends(cluster, node)
