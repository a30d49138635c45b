"""The demo's cluster: six nodes, their keys, config disks, disks and images."""

import hashlib
import io
import os
import re
import subprocess
import tarfile

from machine import Machine
from state import DemoError

NODES = {  # name: (role, last byte of the address)
    "data1": ("data", 11), "data2": ("data", 12),
    "php1": ("php", 21), "php2": ("php", 22),
    "web1": ("web", 31), "web2": ("web", 32),
}
ROLES = ("data", "php", "web")
NETWORK = "10.77.0"
WEB_ADDRESS = f"{NETWORK}.100"
HOST_ADDRESS = f"{NETWORK}.254/24"
VOTERS = ("data1", "data2", "php1", "php2", "web1")
SITE_IN_IMAGE = "/usr/share/supervisor/site"
DATA_MIB, CACHE_MIB = 256, 64
SHARE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SITE = os.path.join(TOP, "image", "demo", "site")


def shares(site):
    """The directories of the site, one share each."""
    try:
        names = sorted(name for name in os.listdir(site) if os.path.isdir(os.path.join(site, name)))
    except OSError as error:
        raise DemoError(f"--site {site}: {error.strerror}") from error
    bad = [name for name in names if not SHARE_NAME.fullmatch(name)]
    if bad or not names:
        raise DemoError(f"--site {site}: expected directories named as hosts (a.example), "
                        f"found {', '.join(bad) or 'none'}")
    return names


def cluster_file(keys, site):
    """The text of cluster.conf; keys: node name -> public key."""
    lines = ["cluster = demo", f"voters = {' '.join(VOTERS)}"]
    for name, (role, number) in NODES.items():
        lines += ["", f"[node {name}]", f"role = {role}", f"address = {NETWORK}.{number}/24", f"key = {keys[name]}"]
        if role == "data":
            lines.append("disk = serial:data")
        if role == "php":
            lines.append("cache = serial:cache")
    for name, number, role, prefer in (("web", 100, "web", "web1"), ("nfs-a", 101, "data", "data1"),
                                       ("nfs-b", 102, "data", "data2")):
        lines += ["", f"[address {name}]", f"address = {NETWORK}.{number}/24", f"role = {role}", f"prefer = {prefer}"]
    for index, name in enumerate(shares(site)):
        lines += ["", f"[share {name}]", f"address = {'nfs-b' if index % 2 else 'nfs-a'}",
                  f"seed = {SITE_IN_IMAGE}/{name}"]
    return "\n".join(lines) + "\n"


class Cluster:
    """Everything that `up` needs, made when it is missing."""

    def __init__(self, state, build, site, images):
        self.state, self.build, self.site = state, build, os.path.abspath(site)
        self.given_images = images
        self.images = images or os.path.join(build, "demo-images")
        self.machines = {name: self._machine(name) for name in NODES}

    def _machine(self, name):
        role, number = NODES[name]
        disks = {"config": (self._disk(name, "config"), True)}
        if role == "data":
            disks["data"] = (self._disk(name, "data"), False)
        if role == "php":
            disks["cache"] = (self._disk(name, "cache"), False)
        return Machine(self.state, name, role, number, self.image(role), disks)

    def image(self, role):
        """The site is part of the data image: that of another site than the demo's own lies beside it."""
        if role == "data" and not self.given_images and self.site != SITE:
            role += "-" + hashlib.sha256(os.fsencode(self.site)).hexdigest()[:8]
        return os.path.join(self.images, role)

    def _disk(self, name, serial):
        return os.path.join(self.state.disks, f"{name}-{serial}.raw")

    def of_role(self, role):
        return [machine for machine in self.machines.values() if machine.role == role]

    def prepare(self, say):
        self._write_config()
        for machine in self.machines.values():
            for serial, size in (("data", DATA_MIB), ("cache", CACHE_MIB)):
                if serial in machine.disks and not os.path.exists(machine.disks[serial][0]):
                    with open(machine.disks[serial][0], "wb") as file:
                        file.truncate(size << 20)
        for role in ROLES:
            if not self.given_images:
                self._bake(role, say)
            for name in ("vmlinuz", "initrd", "cmdline"):
                path = os.path.join(self.image(role), name)
                if not os.path.isfile(path):
                    raise DemoError(f"no image of role {role}: {path} is missing")

    def _keys(self):
        """Public keys of all nodes; pairs that do not exist yet are made by `supervisor keygen`."""
        public = {}
        for name in NODES:
            path = os.path.join(self.state.cluster, name + ".conf")
            if not os.path.exists(path):
                done = subprocess.run([os.path.join(self.build, "supervisor"), "keygen"], capture_output=True, text=True,
                                      check=False)
                pair = dict(re.findall(r"^([a-z-]+) = (\S+)$", done.stdout, re.MULTILINE))
                if done.returncode != 0 or set(pair) < {"secret-key", "key"}:
                    raise DemoError(f"supervisor keygen: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
                with open(path + ".pub", "w", encoding="ascii") as file:
                    file.write(pair["key"] + "\n")
                text = f"name = {name}\nsecret-key = {pair['secret-key']}\n"
                with open(os.open(path + ".new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                    file.write(text)
                os.replace(path + ".new", path)
            with open(path + ".pub", encoding="ascii") as file:
                public[name] = file.read().strip()
        return public

    def _write_config(self):
        text = cluster_file(self._keys(), self.site)
        with open(os.path.join(self.state.cluster, "cluster.conf"), "w", encoding="ascii") as file:
            file.write(text)
        for name in NODES:
            with open(os.path.join(self.state.cluster, name + ".conf"), "rb") as file:
                node = file.read()
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for member, data, mode in (("node.conf", node, 0o600), ("cluster.conf", text.encode(), 0o644)):
                    info = tarfile.TarInfo(member)
                    info.size, info.mode = len(data), mode
                    tar.addfile(info, io.BytesIO(data))
            # A running machine reads its disk at boot only: it is replaced, never changed under it.
            path = self._disk(name, "config")
            with open(os.open(path + ".new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content.getvalue())
            os.replace(path + ".new", path)

    def _inputs(self, role):
        """A hash over all that an image is made of: the program, the bakery, and for data the site."""
        digest = hashlib.sha256()
        files = [os.path.join(self.build, "supervisor")]
        for path, directories, names in os.walk(os.path.join(TOP, "image")):
            directories[:] = sorted(d for d in directories if d not in ("demo", "__pycache__"))
            files += [os.path.join(path, name) for name in sorted(names)]
        if role == "data":
            for path, directories, names in os.walk(self.site):
                directories.sort()
                files += [os.path.join(path, name) for name in sorted(names)]
        for path in files:
            with open(path, "rb") as file:
                content = file.read()
            digest.update(f"{os.path.relpath(path, TOP)} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()

    def _bake(self, role, say):
        directory = self.image(role)
        stamp = os.path.join(directory, "inputs")
        inputs = self._inputs(role)
        try:
            with open(stamp, encoding="ascii") as file:
                if file.read().strip() == inputs:
                    return
        except FileNotFoundError:
            pass
        os.makedirs(directory, exist_ok=True)
        say(f"baking the image for role {role}")
        command = [os.path.join(TOP, "image", "bake.sh"), f"--profile={role}", "--out", directory]
        if role == "data":
            command += ["--add", f"{self.site}:{SITE_IN_IMAGE}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode != 0:
            raise DemoError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout.rstrip()}")
        with open(stamp, "w", encoding="ascii") as file:
            file.write(inputs + "\n")
