"""The shipped sandboxes on real programs: what the web server, PHP and a hostile program in their place cannot do.

Everything runs as PID 1 of a PID namespace with a network and mounts of its own, under the shipped service files; only what
they require is replaced.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from supervised import BINARY, TOP, Supervised, wait_for

LIGHTTPD, PHP = "/usr/sbin/lighttpd", "/usr/bin/php-cgi8.2"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], check=False,
                                        capture_output=True).returncode != 0,
    reason="needs root that may make namespaces")
needs_web = pytest.mark.skipif(not (os.path.exists(LIGHTTPD) and os.path.exists(PHP)),
                               reason="lighttpd or php-cgi8.2 is not installed")

# Run inside the new namespaces, before the supervisor: loopback up, directories of the images, then the program.
ENTER = """
import fcntl, os, shutil, socket, struct, subprocess, sys
stage = sys.argv[1]
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "--make-rshared", "/"], check=True)
request = struct.pack("16sH14x", b"lo", 1 | 64)
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, request)
for directory in ("/srv", "/run", "/mnt"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory], check=True)
for name in os.listdir(stage):
    shutil.copytree(os.path.join(stage, name), os.path.join("/", name), dirs_exist_ok=True, symlinks=True)
os.makedirs("/run/supervisor")
with open("/run/supervisor/secret", "w") as file:
    file.write("secret")
os.chown("/srv/a.example", 800, 800)
os.execv(sys.argv[2], sys.argv[2:])
"""

CLUSTER = """cluster = demo
voters = web1
[node data1]
role = data
disk = /dev/none
address = 127.0.0.9/8
key = @KEY@
[node web1]
role = web
address = 127.0.0.1/8
key = @KEY@
[node php1]
role = php
address = 127.0.0.2/8
key = @KEY@
[address nfs-a]
address = 127.0.1.1/8
role = data
prefer = data1
[share a.example]
address = nfs-a
[share b.example]
address = nfs-a
"""

NOTHING = "kind = oneshot\nstart = /bin/true\n"

FASTCGI_CLIENT = """
import socket, struct, sys
source, target, script = sys.argv[1:4]
def record(kind, body):
    return struct.pack(">BBHHBB", 1, kind, 1, len(body), 0, 0) + body
def pair(name, value):
    return bytes([len(name), len(value)]) + name.encode() + value.encode()
s = socket.socket()
s.settimeout(float(sys.argv[4]))
s.bind((source, 0))
s.connect((target, 9000))
s.sendall(record(1, b"\\0\\1\\0\\0\\0\\0\\0\\0") + record(4, pair("SCRIPT_FILENAME", script) + pair("REQUEST_METHOD", "GET"))
          + record(4, b"") + record(5, b""))
text = b""
try:
    while True:
        more = s.recv(65536)
        if not more:
            break
        text += more
except ConnectionResetError:
    pass
sys.stdout.buffer.write(text)
"""


def shipped(name):
    with open(os.path.join(TOP, "services", name, f"{name}.service"), encoding="utf-8") as file:
        return file.read()


def without(text, *keys):
    return "\n".join(line for line in text.splitlines() if line.split("=")[0].strip() not in keys) + "\n"


def keys():
    out = subprocess.run([BINARY, "keygen", "--json"], capture_output=True, text=True, check=True).stdout
    found = json.loads(out)
    return found["secret-key"], found["key"]


class Site(Supervised):
    """A supervisor as node php1 (or web1) of a small cluster on loopback addresses."""

    def __init__(self, services, start, pages=None, node="php1"):
        cluster = CLUSTER
        secret = ""
        for name in re.findall(r"\[node (\S+)\]", CLUSTER):
            own, public = keys()
            secret = own if name == node else secret
            cluster = cluster.replace("@KEY@", public, 1)
        super().__init__(services, start, namespace=True,
                         files={"cluster.conf": cluster, "node.conf": f"name = {node}\nsecret-key = {secret}\n"})
        os.chmod(os.path.join(self.config, "node.conf"), 0o600)
        self.stage = self.path("stage")
        for name, text in {"srv/a.example/": None, "srv/b.example/": None, **(pages or {})}.items():
            path = os.path.join(self.stage, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if text is not None:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
        self.write("services/share@.service", NOTHING)
        self.prefix = ["--net", "--mount", sys.executable, "-c", ENTER, self.stage]

    def in_network(self, *command, **options):
        return subprocess.run(["nsenter", "--net", "--mount", f"--target={self.main_pid()}", *command],
                              capture_output=True, text=True, timeout=60, check=False, **options)

    def get(self, path, host="a.example", address="127.0.0.1"):
        """Status and body of a page, asked for from inside the network of the supervisor."""
        program = ("import http.client, sys\n"
                   "c = http.client.HTTPConnection(sys.argv[1], 80, timeout=30)\n"
                   "c.request('GET', sys.argv[2], headers={'Host': sys.argv[3]})\n"
                   "r = c.getresponse()\nprint(r.status)\nprint(r.read().decode(), end='')")
        answer = self.in_network(sys.executable, "-c", program, address, path, host)
        assert answer.returncode == 0, answer.stderr + self.messages()
        status, _, body = answer.stdout.partition("\n")
        return int(status), body


def site(pages, php=lambda text: text):
    services = {"lighttpd": shipped("lighttpd"), "php-cgi": php(shipped("php-cgi")), "network": NOTHING}
    return Site(services, "log lighttpd php-cgi", pages)


@pytest.fixture(scope="module", name="hostile")
def compile_hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "hostile"
    subprocess.run(["gcc", "-O1", "-static", "-o", path, os.path.join(TOP, "tests/helpers/hostile.c")], check=True)
    return path


@needs_web
def test_pages_files_and_hosts():
    pages = {
        "srv/a.example/index.php": "<?php echo 'A ', $_SERVER['HTTP_X_SERVED_BY'], ' ', posix_geteuid();",
        "srv/b.example/index.php": "<?php echo 'B';",
        "srv/a.example/file.txt": "static A",
        "srv/a.example/.secret": "not for you",
        "srv/a.example/.well-known/x.txt": "known",
        "srv/b.example/file.txt": "static B",
    }
    with site(pages) as s:
        s.wait_state("lighttpd", "ready")
        s.wait_state("php-cgi", "ready")
        assert s.get("/") == (200, "A php1 800")
        assert s.get("/", "nobody.example") == (200, "A php1 800")
        assert s.get("/", "b.example") == (200, "B")
        assert s.get("/", "www.b.example:80") == (200, "B")
        assert s.get("/file.txt") == (200, "static A")
        assert s.get("/file.txt", "b.example") == (200, "static B")
        assert s.get("/.well-known/x.txt") == (200, "known")
        assert s.get("/.secret")[0] == 403
        assert s.get("/none.txt")[0] == 404
        assert s.get("/none.php")[0] == 404
        assert s.get("/file.txt/x.php")[0] == 404


@needs_web
def test_a_page_cannot_spawn_a_shell_nor_look_around():
    """Whatever a page tries, its worker goes on: the same processes answer afterwards."""
    page = """<?php
    $tries = [
        'shell_exec' => fn() => shell_exec('id'),
        'exec' => fn() => exec('id'),
        'popen' => fn() => popen('id', 'r'),
        'proc_open' => fn() => proc_open(['/bin/id'], [], $pipes),
        'mail' => fn() => mail('a@b', 'c', 'd'),
        'kill' => fn() => posix_kill(1, 0),
        'setuid' => fn() => posix_setuid(0),
        'supervisor' => fn() => file_get_contents('/run/supervisor/secret'),
        'conf' => fn() => file_get_contents('@RUN@/../../config/node.conf'),
        'root' => fn() => file_put_contents('/run/mine', 'x'),
    ];
    foreach ($tries as $name => $try) {
        $got = @$try();
        echo $name, $got === false || $got === null ? " no\\n" : " GOT IT\\n";
    }
    """
    with site({"srv/a.example/try.php": page, "srv/a.example/pid.php": "<?php echo getmypid();"}) as s:
        s.wait_state("lighttpd", "ready")
        before = [s.wait_state(f"php-cgi:{i}", "ready")["pid"] for i in range(1, 5)]
        status, text = s.get("/try.php")
        assert status == 200
        assert [line for line in text.splitlines() if not line.endswith(" no")] == []
        assert len(text.splitlines()) == 10
        assert [s.status(f"php-cgi:{i}")["pid"] for i in range(1, 5)] == before


@needs_web
def test_fastcgi_answers_web_nodes_only():
    with site({"srv/a.example/x.php": "<?php echo 'page';"}) as s:
        s.wait_state("php-cgi", "ready")
        client = s.path("client.py")
        with open(client, "w", encoding="utf-8") as file:
            file.write(FASTCGI_CLIENT)
        def ask(source, patience_s):
            return s.in_network(sys.executable, client, source, "127.0.0.2", "/srv/a.example/x.php", patience_s)

        assert "page" in ask("127.0.0.1", "30").stdout
        stranger = ask("127.0.0.3", "1")
        assert stranger.stdout == "" and "timed out" in stranger.stderr


@needs_web
def test_killed_and_recycled_workers_refuse_nobody():
    pages = {"srv/a.example/x.php": "<?php echo 'page';"}
    with site(pages, lambda text: text.replace("PHP_FCGI_MAX_REQUESTS=1000", "PHP_FCGI_MAX_REQUESTS=3")) as s:
        s.wait_state("lighttpd", "ready")
        s.wait_state("php-cgi", "ready")
        for i in range(1, 5):
            s.ctl("kill", f"php-cgi:{i}", "KILL")
            assert s.get("/x.php") == (200, "page")
        for _ in range(40):
            assert s.get("/x.php") == (200, "page")
        for i in range(1, 5):
            s.wait_state(f"php-cgi:{i}", "ready")


@needs_web
def test_an_orderly_stop_of_the_web_server_ends_well():
    with site({"srv/a.example/file.txt": "static A"}) as s:
        s.wait_state("lighttpd", "ready")
        assert s.get("/file.txt") == (200, "static A")
        assert s.ctl("stop", "lighttpd").returncode == 0
        assert s.state("lighttpd") == "down"
        assert s.ctl("start", "lighttpd").returncode == 0
        assert s.get("/file.txt") == (200, "static A")


@pytest.mark.parametrize("name", ["lighttpd", "php-cgi"])
def test_a_hostile_program_in_their_place(hostile, name):
    """The shipped definition, with another program: it sees no key, gains nothing, and dies of the first forbidden call."""
    text = without(shipped(name), "start", "listen", "listen-from", "template", "requires", "wants", "instances", "restart", "kind",
                   "environment", "hidden", "restart-delay", "restart-delay-max", "healthy-after", "ready")
    assert re.search(r"^hidden = /etc/supervisor /run/supervisor /root$", shipped(name), re.M)
    s = Site({}, "log look exec user link trace")
    text += f"hidden = /etc/supervisor /run/supervisor /root {s.config}\nkind = oneshot\nrestart = never\n"
    tries = (f"status:NoNewPrivs status:CapBnd status:Uid see:/run/supervisor/secret see:{s.config}/node.conf "
             "read:/etc/shadow see:/root/.profile make:/run/mine make:/tmp/mine")
    for service, action in {"look": tries, "exec": "execveat-empty-path", "user": "clone-user", "link": "netlink",
                            "trace": "x32"}.items():
        s.write(f"services/{service}.service", text + f"start = /run/hostile {action}\n")
    os.makedirs(os.path.join(s.stage, "run"))
    shutil.copy(hostile, os.path.join(s.stage, "run", "hostile"))
    uid = {"lighttpd": 33, "php-cgi": 800}[name]
    with s:
        s.wait_state("look", "ready")
        said = wait_for("the helper's output", lambda: (lambda t: t if "/tmp/mine" in t else None)(s.ctl("log", "look").stdout))
        for expected in ("NoNewPrivs:\t1", "CapBnd:\t0000000000000000", f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}",
                         "see:/run/supervisor/secret: ENOENT", "config/node.conf: ENOENT", "read:/etc/shadow: EACCES",
                         "see:/root/.profile: ENOENT", "make:/run/mine: EACCES", "make:/tmp/mine: done"):
            assert expected in said
        for service in ("exec", "user", "link", "trace"):
            if name == "php-cgi" and service != "trace":  # refused with an error there, the worker goes on
                s.wait_state(service, "ready")
                assert ": EPERM" in wait_for("output", lambda: s.ctl("log", service).stdout)
            else:
                s.wait_state(service, "failed")
                assert "forbidden system call" in s.status(service)["why"]
