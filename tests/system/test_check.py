"""supervisor check and keygen, as an operator calls them: what they print, where, and how they exit."""

import base64
import json
import os
import pathlib
import re
import subprocess

import pytest

BIN = os.environ.get("SUPERVISOR_BIN", "build/supervisor")

NODES = [
    ("data1", "data", 11, "disk = serial:data"),
    ("data2", "data", 12, "disk = serial:data"),
    ("php1", "php", 21, "cache = serial:cache"),
    ("php2", "php", 22, "cache = serial:cache"),
    ("web1", "web", 31, ""),
    ("web2", "web", 32, ""),
]
ADDRESSES = """
[address web]
address = 10.77.0.100/24
role = web
prefer = web1
[address nfs-a]
address = 10.77.0.101/24
role = data
prefer = data1
[address nfs-b]
address = 10.77.0.102/24
role = data
prefer = data2
[share a.example]
address = nfs-a
[share b.example]
address = nfs-b
"""


def run(*arguments):
    return subprocess.run([BIN, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def keygen():
    out = run("keygen").stdout
    return dict(line.split(" = ") for line in out.splitlines())


@pytest.fixture
def directory(tmp_path):
    """A configuration directory with the demo's cluster, this node being php1."""
    text = "cluster = demo\nvoters = data1 data2 php1 php2 web1\n"
    for name, role, octet, more in NODES:
        keys = keygen()
        text += f"[node {name}]\nrole = {role}\naddress = 10.77.0.{octet}/24\nkey = {keys['key']}\n{more}\n"
        if name == "php1":
            node = tmp_path / "node.conf"
            node.write_text(f"name = {name}\nsecret-key = {keys['secret-key']}\n")
            node.chmod(0o600)
    (tmp_path / "cluster.conf").write_text(text + ADDRESSES)
    (tmp_path / "passwd").write_text(
        "".join(f"{n}:x:{i}:{i}::/:/bin/false\n" for n, i in
                [("root", 0), ("www-data", 33), ("php", 800), ("gossip", 801), ("log", 802)]))
    (tmp_path / "group").write_text(
        "".join(f"{n}:x:{i}:\n" for n, i in
                [("root", 0), ("www-data", 33), ("php", 800), ("gossip", 801), ("log", 802)]))
    return tmp_path


def check(directory, *arguments):
    return run("check", f"--accounts={directory}", *arguments, directory)


def test_keygen_prints_a_pair_that_belongs_together(directory):
    """Seen through check: a node.conf whose key is another node's is refused."""
    keys = keygen()
    assert set(keys) == {"secret-key", "key"}
    assert all(len(base64.b64decode(key)) == 32 for key in keys.values())
    assert check(directory).returncode == 0

    (directory / "node.conf").write_text(f"name = php1\nsecret-key = {keys['secret-key']}\n")
    result = check(directory)
    assert result.returncode == 1
    assert "secret-key does not belong to the key of [node php1]" in result.stderr


def test_keygen_json():
    keys = json.loads(run("keygen", "--json").stdout)
    assert set(keys) == {"secret-key", "key"}
    assert run("keygen", "--jason").returncode == 2


def test_the_built_in_profiles_are_fine_on_every_node(directory):
    result = check(directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"ok: \d+ services in \d+ profiles, 6 nodes, 2 shares\n", result.stdout)
    for name, role, _, _ in NODES:
        result = check(directory, f"--profile={role}", f"--node={name}")
        assert (result.returncode, result.stderr) == (0, "")


def test_every_finding_is_printed_with_file_and_line(directory):
    services = directory / "services"
    services.mkdir()
    (services / "own.service").write_text("start = @nothing\nseccomp = opne\ncolour = red\n")
    result = check(directory)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{services}/own.service:3: colour: unknown key",
        f'{services}/own.service:1: start: found "@nothing", expected the name of a built-in worker after @',
        f'{services}/own.service:2: seccomp: unknown system call "opne"',
        "wrong: 3 findings",
    ]


def test_an_override_is_what_counts(directory):
    services = directory / "services"
    services.mkdir()
    (services / "network.service").write_text("kind = oneshot\nstart = @network up eth0\nnice = x\n")
    result = check(directory, "--profile=web", "--node=web2")
    assert result.returncode == 1
    assert f"{services}/network.service:3: nice: " in result.stderr


def test_without_a_cluster_file_only_lone_profiles_are_checked(tmp_path):
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "alone.profile").write_text("services = one\n")
    services = tmp_path / "services"
    services.mkdir()
    (services / "one.service").write_text("start = /bin/true\n")
    result = run("check", tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith("ok: 1 services in 1 profiles, 0 nodes, 0 shares (")
    result = run("check", "--profile=web", tmp_path)
    assert result.returncode == 1
    assert "needs cluster.conf, and there is none" in result.stderr


@pytest.mark.parametrize("arguments", [["--profil=web"], ["--profile="], ["a", "b"], ["-x"]])
def test_wrong_usage(arguments):
    result = run("check", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: supervisor check ")


def test_a_directory_that_is_not_there(tmp_path):
    for path in (tmp_path / "nothing", pathlib.Path("/dev/null")):
        result = run("check", path)
        assert result.returncode == 1
        assert str(path) in result.stderr


def test_hostile_files_end_in_messages(directory):
    """A FIFO must not make it wait, nor bytes make it fall over."""
    services = directory / "services"
    services.mkdir()
    os.mkfifo(services / "pipe.service")
    (services / "bytes.service").write_bytes(bytes(range(256)) * 64)
    (services / "huge.service").write_bytes(b"#" * (2 << 20))
    (services / "nul.service").write_bytes(b"start = /bin/true\0\n")
    result = check(directory)
    assert result.returncode == 1
    for name in ("pipe", "bytes", "huge", "nul"):
        assert f"{services}/{name}.service:" in result.stderr
