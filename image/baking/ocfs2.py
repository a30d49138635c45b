"""The ocfs2 module with the durability fix of image/kernel/, built out of tree from Debian's kernel
source of the very version of the kernel package, so that it loads among the stock modules.

Built once for a kernel version and a patch, then kept in the cache.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile

from . import BakeError
from .debs import run
from .kmod import modinfo

PATCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kernel", "ocfs2-durability.patch")


def _package(debs, test, what, version):
    found = [r for r in debs.plan if test(r["Package"])]
    if len(found) != 1 or found[0]["Version"] != version:
        seen = ", ".join(f"{r['Package']} {r['Version']}" for r in found) or "none"
        raise BakeError(f"{what} of version {version} is needed to build ocfs2 for that kernel; found {seen} "
                        "(--update asks apt again; --stock-ocfs2 does without the fix)")  # fmt: skip
    return found[0]


def _headers(debs, version, release, where):
    """The headers and build tools of three packages as one tree under `where`; the path to build in."""
    for test, what in (
        (lambda n: n.startswith("linux-headers-6") and n.endswith("-common"), "linux-headers-common"),
        (lambda n: n == "linux-headers-" + release, "linux-headers-" + release),
        (lambda n: n.startswith("linux-kbuild-"), "linux-kbuild"),
    ):
        shutil.copytree(debs.root(_package(debs, test, what, version)), where, symlinks=True, dirs_exist_ok=True)
    headers = os.path.join(where, "usr/src/linux-headers-" + release)
    makefile = os.path.join(headers, "Makefile")
    # It names its other half by the place where the package would be installed.
    with open(makefile, encoding="utf-8") as file:
        text = file.read()
    with open(makefile, "w", encoding="utf-8") as file:
        file.write(text.replace("/usr/src/", where + "/usr/src/"))
    return headers


def _source(debs, version, where):
    """fs/ocfs2 of the kernel source under `where`."""
    record = _package(debs, lambda n: n.startswith("linux-source-"), "linux-source", version)
    package = debs.root(record)
    tar = os.path.join(package, "usr/src", record["Package"] + ".tar.xz")
    run(["tar", "-xJf", tar, "-C", where, "--strip-components=1", f"{record['Package']}/fs/ocfs2"])
    # 130 MB that nobody needs any more; the .deb stays.
    shutil.rmtree(package)
    return os.path.join(where, "fs/ocfs2")


def apply(patch, where):
    """Applies a patch to the tree at `where`, exactly or not at all."""
    run(["patch", "-p1", "--forward", "--fuzz=0", "--batch", "-d", where, "-i", patch])


def build(cache, debs, version, release, step):
    """The path of the built ocfs2.ko."""
    with open(PATCH, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:12]
    done = os.path.join(cache, "kernel", f"ocfs2-{version}-{digest}.ko".replace(":", "%3a"))
    if os.path.exists(done):
        return done
    step(f"ocfs2: building the module with the durability fix (kernel {version}; once, about a minute)")
    os.makedirs(os.path.dirname(done), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(done)) as where:
        headers = _headers(debs, version, release, where)
        source = _source(debs, version, where)
        apply(PATCH, where)
        with open(os.path.join(source, "Kbuild"), "w", encoding="utf-8") as file:
            # Only this module: what it links to (stackglue, nodemanager) stays Debian's.
            file.write("include $(src)/Makefile\nobj-m := ocfs2.o\nobj-y :=\n")
        flags = f"-g0 -fmacro-prefix-map={where}/="
        _make(["make", "-C", headers, f"M={source}", f"KCFLAGS={flags}", "-j2", "modules"], source)
        built = os.path.join(source, "ocfs2.ko")
        with open(built, "rb") as file:
            magic = modinfo(file.read(), built).get("vermagic", ["none"])[0]
        if magic.split()[0] != release:
            raise BakeError(f"{built}: built for kernel {magic!r}, expected {release}")
        os.rename(built, done)
    return done


def _make(command, source):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode or not os.path.exists(os.path.join(source, "ocfs2.ko")):
        said = "\n".join(done.stdout.decode(errors="replace").splitlines()[-30:])
        raise BakeError(f"`{' '.join(command)}` failed with {done.returncode}:\n{said}")
