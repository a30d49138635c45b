"""The recipe as the kernels of the machines report it."""

import pytest

from nodes import NODES, SHARES, of_role, wait_for

NFS_OPTIONS = {"vers=4.2", "proto=tcp", "hard", "rsize=1048576", "wsize=1048576", "sec=sys"}
NFS_PORT, ESTABLISHED = 2049, "01"


@pytest.mark.parametrize("node", of_role("data"))
def test_replication_is_connected_and_up_to_date_on_both_sides(cluster, node):
    drbd = cluster.drbd(node)
    assert (drbd["cs"], drbd["ro"], drbd["ds"]) == ("Connected", "Primary/Primary", "UpToDate/UpToDate")


@pytest.mark.parametrize("node", of_role("data"))
def test_the_cluster_filesystem_is_mounted(cluster, node):
    device, kind, options = cluster.mounts(node)["/data"]
    assert (device, kind) == ("/dev/drbd0", "ocfs2")
    # localflocks: without it a waiter for a lock sleeps up to 30 s after its release.
    assert {"rw", "localflocks", "cluster_stack=pcmk"} <= set(options)


@pytest.mark.parametrize("node", of_role("data"))
def test_no_leases_that_only_one_of_two_servers_would_know_of(cluster, node):
    assert cluster.read(node, "/proc/sys/fs/leases-enable").strip() == "0"


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("node", of_role("php") + of_role("web"))
def test_each_share_is_mounted_with_the_recipes_options(cluster, node, share):
    address, _ = SHARES[share]
    device, kind, options = cluster.mounts(node)[f"/srv/{share}"]
    assert (device, kind) == (f"{address}:/{share}", "nfs4")
    assert NFS_OPTIONS | {f"addr={address}"} <= set(options)
    assert ("fsc" in options) == node.startswith("php")


def hex_address(text):
    """10.77.0.101 as /proc/net/tcp writes it on a little-endian machine."""
    return "".join(f"{int(byte):02X}" for byte in reversed(text.split(".")))


@pytest.mark.parametrize("share", SHARES)
def test_both_nfs_addresses_are_in_use(cluster, share):
    """Each data machine serves its address, in a network namespace of its own, to all php and web machines."""
    address, server = SHARES[share]
    service = next(s for s in cluster.status(server)["services"] if s["name"].startswith("nfsd@") and s["pid"])
    clients = {hex_address(NODES[node]) for node in of_role("php") + of_role("web")}
    local = f"{hex_address(address)}:{NFS_PORT:04X}"

    def connected():
        lines = [line.split() for line in cluster.read(server, f"/proc/{service['pid']}/net/tcp").splitlines()[1:]]
        return {line[2].partition(":")[0] for line in lines if line[1] == local and line[3] == ESTABLISHED}
    wait_for(f"all clients connected to {address}", lambda: connected() == clients)


def test_the_client_cache_is_a_disk_of_its_own(cluster):
    for node in of_role("php"):
        device, kind, _ = cluster.mounts(node)["/var/cache/fscache"]
        assert device.startswith("/dev/vd") and kind == "ext4"


@pytest.mark.parametrize("node", NODES)
def test_each_node_sees_six_members_alive_and_ready(cluster, node):
    def all_there():
        members = cluster.members(node)
        return {name: (m["state"], m["ready"]) for name, m in members.items()} == dict.fromkeys(NODES, ("alive", True))
    wait_for(f"six members seen by {node}", all_there)
    members = cluster.members(node)
    assert {name: m["address"] for name, m in members.items()} == NODES
    assert {name: m["role"] for name, m in members.items()} == {name: name.rstrip("12") for name in NODES}
    assert [name for name, m in members.items() if m["self"]] == [node]


def resident_kib(cluster, node, pid):
    """Exact, where VmRSS of small processes is not: the kernel adds that up in steps."""
    for line in cluster.read(node, f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    return None


@pytest.mark.parametrize("node", NODES)
def test_a_machine_has_memory_left(cluster, node, measured):
    info = {key: int(value.split()[0]) for key, _, value in
            (line.partition(":") for line in cluster.read(node, "/proc/meminfo").splitlines())}
    resident = {name: resident_kib(cluster, node, pid) for name, pid in
                [("pid 1", 1), *((s["name"], s["pid"]) for s in cluster.status(node)["services"]
                                 if s["name"] in ("gossip", "log", "agent", "dlm"))]}
    measured(node, f"{info['MemAvailable'] >> 10} of {info['MemTotal'] >> 10} MiB free; resident KiB: {resident}; "
                   f"all ready {cluster.status(node)['boot_ms'] / 1000:.1f} s after the start of pid 1")
    assert info["MemAvailable"] > 32 << 10
