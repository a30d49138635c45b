"""Bakes the image of a role: kernel, initramfs, kernel command line, manifest.

See `./build.sh image --help`, and image/roles/README.md for what goes in.
"""

import argparse
import fcntl
import hashlib
import os
import posixpath
import shutil
import signal
import stat
import subprocess
import sys
import time

from baking import BakeError, FetchError, elf, icu, ocfs2
from baking.cpio import Tree, archive
from baking.debs import Debs, package_list, run
from baking.kmod import Modules

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
LIMIT_BYTES = {"web": 15_000_000, "data": 20_000_000, "php": 35_000_000}

# Only what a role may load: most of the kernel package is drivers for machines that are not ours.
KERNEL_PARTS = ["--exclude=*/drivers/gpu", "--exclude=*/drivers/media", "--exclude=*/drivers/infiniband",
                "--exclude=*/drivers/net/ethernet", "--exclude=*/drivers/net/wireless", "--exclude=*/drivers/scsi",
                "--exclude=*/drivers/usb", "--exclude=*/drivers/staging", "--exclude=*/drivers/iio",
                "--exclude=*/drivers/input/*/*", "--exclude=*/drivers/hwmon", "--exclude=*/kernel/sound"]  # fmt: skip

# bake.sh then fetches apt's index anew and tries once more.
EXIT_FETCH = 75

COMMAND_LINE = [
    "console=ttyS0",
    "net.ifnames=0",
    "quiet",
    "loglevel=4",
    # A dead kernel is worth nothing to the cluster: reset, the siblings take over meanwhile.
    "panic=1",
    # The kernel checks by a busy loop that the timer ticks; on a busy host the ticks come late, and
    # it goes on with other timers or not at all. (It skips this by itself under KVM.)
    "no_timer_check",
    # The self tests of every cipher and checksum: half of the instructions of a boot.
    "cryptomgr.notests",
]

COMPRESSORS = {
    "none": None,
    # The bytes must not depend on the number of processors: zstd's do not (its -T1 is the same as
    # -T8), xz's do. Level 9 takes a second, 19 takes twenty for 11 % less. The kernel knows only
    # CRC32 of xz's checksums.
    "zstd": ["zstd", "-9", "-T0", "-q", "-c"],
    "xz": ["xz", "-T1", "--check=crc32", "-c"],
}


def step(text):
    print(f"    {text}", file=sys.stderr, flush=True)


def known_roles():
    return sorted(set(os.listdir(os.path.join(HERE, "roles"))) - {"README.md", "common"})


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="./build.sh image",
        description="Bake the VM image of a role from Debian packages: DIR/vmlinuz, DIR/initrd, "
        "DIR/cmdline and DIR/manifest. The same inputs give the same bytes.",
    )
    parser.add_argument("--profile", required=True, metavar="NAME", help="the profile the VM starts with")
    parser.add_argument("--role", metavar="ROLE",
                        help="the files to bake in, if not those named like the profile: " + ", ".join(known_roles()))  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR", help="where the image goes")
    parser.add_argument("--add", action="append", default=[], metavar="SRC:DEST",
                        help="put a file or a directory into the image; may be repeated")  # fmt: skip
    parser.add_argument("--compress", choices=COMPRESSORS, default="zstd", help="the initrd's form (default: %(default)s)")
    parser.add_argument("--binary", metavar="FILE", help="the supervisor (default: build/supervisor)")
    parser.add_argument("--stock-ocfs2", action="store_true",
                        help="keep Debian's ocfs2 module, which loses acknowledged NFS writes: for tests")  # fmt: skip
    parser.add_argument("--update", action="store_true", help="ask apt again which package versions there are")
    return parser.parse_args(argv)


class Image:
    """An image in the making: the tree, and where each file came from."""

    def __init__(self, debs):
        self.tree = Tree()
        self.debs = debs
        self.used = {}  # package name -> version
        self.libraries = set()

    def fetch(self, path, wanted_by):
        found = self.debs.find(path)
        if not found:
            raise BakeError(f"{path}: none of the role's packages has it (wanted by {wanted_by}; packages: image/packages)")
        file, record = found
        self.used[record["Package"]] = record["Version"]
        with open(file, "rb") as source:
            return source.read(), stat.S_IMODE(os.stat(file).st_mode)

    def file(self, path, where, destination=None):
        data, mode = self.fetch(path, where)
        # Plain permissions: nothing in an image is set-uid, whatever its package says.
        self.tree.file(destination or path, data, 0o755 if mode & 0o111 else 0o644)
        return data

    def whole_tree(self, path, without, where):
        found = self.debs.find(path)
        if not found or not os.path.isdir(found[0]):
            raise BakeError(f"{where}: none of the role's packages has a directory {path}")
        self.used[found[1]["Package"]] = found[1]["Version"]
        self.host_files(found[0], path, without)

    def program(self, path, where):
        self.libraries_of(self.file(path, where), path)

    def libraries_of(self, data, name):
        """Copies what the program's loader would look for, into the directory where it looks."""
        interpreter, needed = elf.wanted(data, name)
        paths = [f"/lib/x86_64-linux-gnu/{soname}" for soname in needed if not soname.startswith("ld-linux")]
        if interpreter:
            paths.append(interpreter)
        for path in paths:
            if path in self.libraries:
                continue
            self.libraries.add(path)
            data, _ = self.fetch(path, name)
            self.tree.file(path, data, 0o755)
            self.libraries_of(data, path)

    def host_files(self, source, destination, without=()):
        """A file or a directory of this machine, except the entries named; symbolic links stay
        what they are."""
        if os.path.islink(source):
            self.tree.link(destination, os.readlink(source))
        elif os.path.isdir(source):
            if posixpath.normpath(destination) != "/":
                self.tree.directory(destination)
            for name in sorted(set(os.listdir(source)) - set(without)):
                self.host_files(os.path.join(source, name), posixpath.join(destination, name))
        elif os.path.isfile(source):
            with open(source, "rb") as file:
                self.tree.file(destination, file.read(), 0o755 if os.access(source, os.X_OK) else 0o644)
        else:
            raise BakeError(f"{source}: neither a file, a directory nor a link: cannot be put into an image")

    def role(self, name):
        """Carries out one file of image/roles; the names of the kernel modules that it wants."""
        modules = []
        path = os.path.join(HERE, "roles", name)
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                words = line.partition("#")[0].split()
                if words:
                    where = f"{os.path.relpath(path, TOP)}:{number}"
                    modules += self.role_line(words, where)
        extra = os.path.join(HERE, "root", name)
        if os.path.isdir(extra):
            self.host_files(extra, "/")
        return modules

    def role_line(self, words, where):
        match words:
            case ["module", *names] if names:
                return names
            case ["program", *paths] if paths:
                for path in paths:
                    self.program(path, where)
            case ["file", path]:
                self.file(path, where)
            case ["file", path, destination]:
                self.file(path, where, destination)
            case ["tree", path, *without]:
                self.whole_tree(path, without, where)
            case ["icu-data", path, *kinds] if kinds:
                self.tree.file(path, icu.slim(self.fetch(path, where)[0], kinds, path), 0o755)
                self.libraries.add(path)
            case ["directory", mode, path]:
                self.tree.directory(path, int(mode, 8))
            case ["link", path, target]:
                self.tree.link(path, target)
            case _:
                raise BakeError(f"{where}: expected module, program, file, tree, icu-data, directory or link, found: {' '.join(words)}")
        return []


def put_supervisor(image, binary):
    try:
        with open(binary, "rb") as file:
            data = file.read()
    except OSError as error:
        raise BakeError(f"{binary}: {error.strerror} (the supervisor; `./build.sh` makes it, --binary names another)") from None
    if not elf.is_elf(data):
        raise BakeError(f"{binary}: not an ELF program")
    if elf.wanted(data, binary)[1]:
        raise BakeError(f"{binary}: must be linked statically: it is the first program of the VM")
    image.tree.file("/init", data, 0o755)
    # The kernel opens this for init before anything is mounted.
    image.tree.character("/dev/console", 0o600, 5, 1)


def put_modules(image, modules, names):
    order = modules.closure(names)
    base = f"/lib/modules/{modules.version}"
    for name in order:
        image.tree.file(f"{base}/{modules.paths[name]}", modules.stripped(name))
    image.tree.file(f"{base}/modules.dep", modules.dep_file(order).encode())
    image.tree.file(f"{base}/modules.builtin", modules.builtin_text.encode())
    return order


def kernel_packages(cache, packages, update=False):
    return Debs(cache, "kernel", packages["image-kernel"], update=update, say=step, libraries=False,
                keep=("linux-image-6", "linux-headers-6", "linux-kbuild-6"))  # fmt: skip


def kernel(cache, packages, options):
    """The kernel's packages and the record of the one that holds it, its modules, its file."""
    debs = kernel_packages(cache, packages, options.update)
    image = next((r for r in debs.plan if r["Package"].startswith("linux-image-6")), None)
    if not image:
        raise BakeError("apt resolved linux-image-amd64 to no kernel package")
    modules = Modules(debs.root(image, KERNEL_PARTS))
    vmlinuz = os.path.join(debs.root(image, KERNEL_PARTS), "boot", "vmlinuz-" + modules.version)
    if not os.path.exists(vmlinuz):
        raise BakeError(f"{image['Package']} {image['Version']} holds no boot/vmlinuz-{modules.version}")
    return debs, image, modules, vmlinuz


def write(path, data):
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.replace(path + ".new", path)


def manifest(image, kernel_record, options, sizes):
    lines = [f"profile {options.profile}", f"initrd {options.compress}"]
    lines += [f"size {name} {size}" for name, size in sizes.items()]
    lines += [f"size total {sum(sizes.values())}"]
    lines += [f"package {kernel_record['Package']} {kernel_record['Version']}"]
    lines += [f"package {name} {version}" for name, version in sorted(image.used.items())]
    for path, (mode, data, _) in sorted(image.tree.nodes.items()):
        if stat.S_ISREG(mode):
            lines.append(f"file {path} {stat.S_IMODE(mode):04o} {len(data)} {hashlib.sha256(data).hexdigest()}")
        elif stat.S_ISLNK(mode):
            lines.append(f"link {path} {data.decode()}")
        else:
            lines.append(f"{'directory' if stat.S_ISDIR(mode) else 'device'} {path} {stat.S_IMODE(mode):04o}")
    return "".join(line + "\n" for line in lines).encode()


def bake(options):
    started = time.monotonic()
    role = options.role or options.profile
    if role not in known_roles():
        raise BakeError(f"no image is known for {role!r}: expected one of {', '.join(known_roles())} (image/roles)")
    additions = [text.rpartition(":") for text in options.add]
    for source, _, destination in additions:
        if not source or not destination.startswith("/"):
            raise BakeError(f"--add {source}:{destination}: expected SRC:/DEST, the second an absolute path")
        if not os.path.lexists(source):
            raise BakeError(f"--add: {source} does not exist")
    cache = os.environ.get("CACHE") or os.path.join(TOP, ".cache")
    os.makedirs(cache, exist_ok=True)
    packages = package_list(os.path.join(HERE, "packages"))

    with open(os.path.join(cache, "image.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        step(f"{role}: packages")
        debs = Debs(cache, role, packages["image-common"] + packages.get("image-" + role, []), update=options.update, say=step)
        kernel_debs, kernel_record, modules, vmlinuz = kernel(cache, packages, options)
        image = Image(debs)
        names = image.role("common") + image.role(role)
        if "ocfs2" in names and not options.stock_ocfs2:
            modules.replace("ocfs2", ocfs2.build(cache, kernel_debs, kernel_record["Version"], modules.version, step))

    step(f"{role}: files and kernel modules")
    put_modules(image, modules, names)
    put_supervisor(image, options.binary or os.path.join(os.environ.get("BUILD") or os.path.join(TOP, "build"), "supervisor"))
    for source, _, destination in additions:
        image.host_files(source, destination)

    step(f"{role}: initrd ({options.compress})")
    initrd = archive(image.tree, int(os.environ.get("SOURCE_DATE_EPOCH", "1")))
    if COMPRESSORS[options.compress]:
        initrd = run(COMPRESSORS[options.compress], input=initrd)
    os.makedirs(options.out, exist_ok=True)
    shutil.copyfile(vmlinuz, os.path.join(options.out, "vmlinuz"))
    write(os.path.join(options.out, "initrd"), initrd)
    write(os.path.join(options.out, "cmdline"), " ".join(COMMAND_LINE + ["--", f"--profile={options.profile}"]).encode() + b"\n")
    sizes = {name: os.path.getsize(os.path.join(options.out, name)) for name in ("vmlinuz", "initrd")}
    write(os.path.join(options.out, "manifest"), manifest(image, kernel_record, options, sizes))
    total = sum(sizes.values())
    step(f"{role}: {options.out}, kernel {modules.version} {sizes['vmlinuz'] / 1e6:.1f} MB + initrd {sizes['initrd'] / 1e6:.1f} MB "
         f"= {total / 1e6:.1f} MB, in {time.monotonic() - started:.1f} s")  # fmt: skip
    if options.compress != "none" and not options.add and total > LIMIT_BYTES.get(role, total):
        raise BakeError(f"the image is {total} bytes, more than the {LIMIT_BYTES[role]} that this role is allowed")


def main():
    # As an exception it lets what is half done be removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        bake(parse_arguments(sys.argv[1:]))
    except BakeError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FETCH if isinstance(error, FetchError) else 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, subprocess.SubprocessError) as error:
        print(f"error: stopped: {error or 'interrupted'}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
