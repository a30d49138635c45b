"""The image builder: what it makes, that it makes it again byte for byte, what it answers to bad input."""

import os
import pathlib
import re
import stat
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "image"))

from baking import BakeError, cpio, elf, icu, kmod, ocfs2  # noqa: E402

BINARY = os.environ.get("SUPERVISOR_BIN", str(TOP / "build/supervisor"))
LIMITS = {"web": 15_000_000, "data": 20_000_000, "php": 35_000_000}
ROLES = sorted(LIMITS)


def bake(*words, expect=0, **options):
    done = subprocess.run([TOP / "image/bake.sh", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=600, check=False, **options)  # fmt: skip
    assert done.returncode == expect, done.stderr
    return done.stderr


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """The three images, each with its initrd unpacked beside it (`root`)."""
    base = tmp_path_factory.mktemp("images")
    for role in ROLES:
        bake("--profile", role, "--out", base / role, "--binary", BINARY)
        (base / role / "root").mkdir()
        unpack(base / role / "initrd", base / role / "root")
    return base


def unpack(initrd, where):
    # Without /dev: making a device node needs root, which this must not.
    subprocess.run(["zstd", "-tq", initrd], check=True)
    subprocess.run(f"zstd -dcq '{initrd}' | cpio -idm --quiet --no-absolute-filenames --nonmatching 'dev/*'",
                   shell=True, cwd=where, check=True)  # fmt: skip


def listing(initrd):
    """`cpio -tv` of an image: {name: (mode, owner, group, rest)}."""
    text = subprocess.run(f"zstd -dcq '{initrd}' | cpio -itvn --quiet", shell=True, capture_output=True, text=True, check=True)
    found = {}
    for line in text.stdout.splitlines():
        mode, _, owner, group, rest = line.split(None, 4)
        found[rest.partition(" -> ")[0].split()[-1]] = (mode, owner, group, rest)
    return found


def elf_files(root):
    for where, _, names in os.walk(root):
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = file.read()
                if elf.is_elf(data) and not name.endswith(".ko"):
                    yield path, data


# --- the images


@pytest.mark.parametrize("role", ROLES)
def test_image_is_within_its_limit(images, role):
    size = sum((images / role / name).stat().st_size for name in ("vmlinuz", "initrd"))
    assert size <= LIMITS[role]
    manifest = (images / role / "manifest").read_text().splitlines()
    assert f"size total {size}" in manifest
    assert any(line.startswith("package linux-image-") for line in manifest)


@pytest.mark.parametrize("role", ROLES)
def test_command_line_names_the_profile(images, role):
    line = (images / role / "cmdline").read_text()
    assert line.endswith(f" -- --profile={role}\n")
    assert "console=ttyS0" in line and "net.ifnames=0" in line


@pytest.mark.parametrize("role", ROLES)
def test_every_library_is_in_the_image(images, role):
    root = images / role / "root"
    checked = 0
    for path, data in elf_files(root):
        interpreter, needed = elf.wanted(data, path)
        if interpreter:
            assert (root / interpreter.lstrip("/")).exists(), f"{path} wants {interpreter}"
        for name in needed:
            assert (root / "lib/x86_64-linux-gnu" / name).exists() or name.startswith("ld-linux"), f"{path} wants {name}"
            checked += 1
    assert checked > 3


@pytest.mark.parametrize("role", ROLES)
def test_owners_modes_and_nothing_to_run_commands_with(images, role):
    found = listing(images / role / "initrd")
    assert found["init"][0] == "-rwxr-xr-x"
    assert found["dev/console"][0].startswith("c") and found["dev/console"][3].startswith("5,   1 ")
    for name, (mode, owner, group, _) in found.items():
        assert (owner, group) == ("0", "0"), name
        assert "s" not in mode and "S" not in mode, f"{name} is set-uid or set-gid"
        assert name.rpartition("/")[2] not in ("sh", "bash", "dash", "busybox", "perl"), name
        if mode[0] == "-":
            assert mode[8] != "w", f"{name} is writable by all"


@pytest.mark.parametrize("role", ROLES)
def test_modules_dep_is_what_depmod_says(images, role):
    root = images / role / "root"
    version = os.listdir(root / "lib/modules")[0]
    ours = (root / "lib/modules" / version / "modules.dep").read_text()
    for name in ("modules.order", "modules.builtin.modinfo"):
        (root / "lib/modules" / version / name).touch()
    subprocess.run(["/usr/sbin/depmod", "-b", root, version], check=True, capture_output=True)
    theirs = (root / "lib/modules" / version / "modules.dep").read_text()

    def parsed(text):
        return {line.partition(":")[0]: line.partition(":")[2].split() for line in text.splitlines()}

    mine, reference = parsed(ours), parsed(theirs)
    assert {name: set(needs) for name, needs in mine.items()} == {name: set(needs) for name, needs in reference.items()}
    for name, needs in mine.items():
        # Loading from right to left, each finds what it needs already there.
        for index, other in enumerate(needs):
            assert set(mine[other]) <= set(needs[index + 1 :]), f"{name}: {other} before what it needs"


def test_web_image_is_the_same_again(images, tmp_path):
    # Other place, other umask, other locale and time zone.
    bake("--profile=web", "--out", tmp_path / "again", "--binary", BINARY, cwd=tmp_path, umask=0o077,
         env={**os.environ, "LC_ALL": "C", "TZ": "Asia/Tokyo"})  # fmt: skip
    for name in ("vmlinuz", "initrd", "cmdline", "manifest"):
        assert (tmp_path / "again" / name).read_bytes() == (images / "web" / name).read_bytes(), name


def test_added_files_and_time_stamps_do_not_matter(images, tmp_path):
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "sub" / "page").write_text("hello\n")
    (site / "link").symlink_to("sub/page")
    results = []
    for stamp in (1, 1_000_000_000):
        os.utime(site / "sub" / "page", (stamp, stamp))
        bake("--profile=web", "--out", tmp_path / "out", "--binary", BINARY, "--compress", "none", "--add", f"{site}:/srv/site")
        results.append((tmp_path / "out" / "initrd").read_bytes())
    assert results[0] == results[1]
    assert b"srv/site/sub/page\0" in results[0] and b"srv/site/link\0" in results[0]


def test_ocfs2_carries_the_fix_unless_told_otherwise(images, tmp_path):
    module = next((images / "data" / "root" / "usr/lib/modules").glob("*/kernel/fs/ocfs2/ocfs2.ko"))
    fixed = module.read_bytes()
    assert b"ocfs2_commit_metadata" in fixed
    magic = kmod.modinfo(fixed, str(module))["vermagic"]
    bake("--profile=data", "--out", tmp_path, "--binary", BINARY, "--compress=none", "--stock-ocfs2")
    initrd = (tmp_path / "initrd").read_bytes()
    assert b"ocfs2_commit_metadata" not in initrd
    start = initrd.index(b"\x7fELF", initrd.index(b"/ocfs2.ko\0"))
    assert kmod.modinfo(initrd[start : start + 8 * 1024 * 1024], "stock ocfs2")["vermagic"] == magic


def test_users(images):
    for role in ROLES:
        lines = (images / role / "root/etc/passwd").read_text().splitlines()
        users = {line.split(":")[0]: int(line.split(":")[2]) for line in lines}
        assert users == {"root": 0, "www-data": 33, "nobody": 65534, "php": 800, "gossip": 801, "log": 802}


# --- bad input


@pytest.mark.parametrize(
    "words, message",
    [
        (["--profile=nonsense", "--out=OUT"], "no image is known for 'nonsense': expected one of data, php, web"),
        (["--profile=../web", "--out=OUT"], "no image is known for '../web'"),
        (["--profile=web", "--out=OUT", "--binary=/nonexistent"], "/nonexistent: No such file or directory"),
        (["--profile=web", "--out=OUT", "--binary=/etc/passwd"], "/etc/passwd: not an ELF program"),
        (["--profile=web", "--out=OUT", "--binary=/usr/bin/env"], "/usr/bin/env: must be linked statically"),
        (["--profile=web", "--out=OUT", "--add=/etc/passwd"], "expected SRC:/DEST"),
        (["--profile=web", "--out=OUT", "--add=/etc/passwd:relative"], "expected SRC:/DEST"),
        (["--profile=web", "--out=OUT", "--add=/nonexistent:/x"], "/nonexistent does not exist"),
        (["--profile=web", "--out=OUT", "--add=/dev/null:/x"], "cannot be put into an image"),
        (["--profile=web", "--out=OUT", "--add=/etc/passwd:/init/x"], "/init is not a directory"),
        (["--profile=web", "--out=/dev/null/x"], "/dev/null/x"),
    ],
)
def test_bad_arguments(tmp_path, words, message):
    words = [word.replace("OUT", str(tmp_path / "out")) for word in words]
    if not any(word.startswith("--binary") for word in words):
        words.append("--binary=" + BINARY)
    said = bake(*words, expect=1)
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "initrd").exists()


@pytest.mark.parametrize("words", [[], ["--profile=web"], ["--out=x"], ["--profile=web", "--out=x", "--compress=lzma"], ["--wrong"]])
def test_usage(words):
    assert "usage: ./build.sh image" in bake(*words, expect=2)


def test_a_patch_that_does_not_apply_is_loud(tmp_path):
    lines = [f"line {number}\n" for number in range(20)]
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file.c").write_text("".join(lines))
    patch = tmp_path / "patch"
    patch.write_text("--- a/file.c\n+++ b/file.c\n@@ -9,4 +9,5 @@\n line 8\n line 9\n+new\n line 10\n line 11\n")
    ocfs2.apply(str(patch), str(tmp_path / "tree"))
    assert "line 9\nnew\n" in (tmp_path / "tree" / "file.c").read_text()
    with pytest.raises(BakeError, match="failed with 1"):
        ocfs2.apply(str(patch), str(tmp_path / "tree"))
    # A context that is only nearly the same does not count as the same.
    (tmp_path / "tree" / "file.c").write_text("".join(lines).replace("line 8\n", "line eight\n"))
    with pytest.raises(BakeError, match="(?s)patch.*FAILED"):
        ocfs2.apply(str(patch), str(tmp_path / "tree"))


# --- the parts


def test_archive_follows_links_among_directories_and_refuses_loops():
    tree = cpio.Tree()
    tree.link("/lib", "usr/lib")
    tree.file("/lib/x/file", b"data", 0o600)
    assert sorted(tree.nodes) == ["/", "/lib", "/usr", "/usr/lib", "/usr/lib/x", "/usr/lib/x/file"]
    assert tree.read("/lib/x/file") == b"data" and "/usr/lib/x" in tree
    tree.link("/a", "b")
    tree.link("/b", "a")
    with pytest.raises(BakeError, match="too many levels"):
        tree.file("/a/x", b"")
    with pytest.raises(BakeError, match="not a directory"):
        tree.file("/lib/x/file/y", b"")
    # A path cannot leave the image.
    tree.file("/../../etc/escaped", b"")
    assert "/etc/escaped" in tree.nodes


def test_archive_is_read_back_by_cpio(tmp_path):
    tree = cpio.Tree()
    tree.file("/a/odd", b"x" * 5, 0o640)
    tree.link("/a/link", "odd")
    tree.character("/dev/console", 0o600, 5, 1)
    (tmp_path / "archive").write_bytes(cpio.archive(tree, 1))
    done = subprocess.run("cpio -itvn --quiet < archive", shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = [re.sub(r"\s+", " ", line) for line in done.stdout.splitlines()]
    assert [line.split()[0] for line in lines] == ["drwxr-xr-x", "drwxr-xr-x", "lrwxrwxrwx", "-rw-r-----", "drwxr-xr-x", "crw-------"]
    assert lines[2].endswith("a/link -> odd") and " 5, 1 " in lines[5]


@pytest.mark.parametrize("program", ["/bin/ls", "/usr/bin/python3.11", "/lib/x86_64-linux-gnu/libc.so.6"])
def test_needed_libraries_are_what_readelf_says(program):
    said = subprocess.run(["readelf", "-dW", program], capture_output=True, text=True, check=True).stdout
    with open(program, "rb") as file:
        assert elf.wanted(file.read(), program)[1] == re.findall(r"\(NEEDED\).*\[(.*)\]", said)


@pytest.mark.parametrize("cut", [4, 6, 40, 64, 200, 1000])
def test_damaged_elf_files_are_refused(cut):
    with open("/bin/ls", "rb") as file:
        data = file.read()[:cut]
    with pytest.raises(BakeError):
        elf.wanted(data, "cut")
    with pytest.raises(BakeError):
        kmod.modinfo(data, "cut")


def test_icu_data_keeps_what_was_chosen():
    def item(name, data):
        return name.encode() + b"\0", data

    items = [item("icudt72l/a.cnv", b"A" * 40), item("icudt72l/b.res", b"B" * 5), item("icudt72l/zone/c.cnv", b"C")]
    names = b"".join(name for name, _ in items)
    table, at_name, at_data = b"", 4 + 24, 4 + 24 + len(names)
    for name, data in items:
        table += at_name.to_bytes(4, "little") + at_data.to_bytes(4, "little")
        at_name, at_data = at_name + len(name), at_data + len(data)
    header = b"\x20\x00\xda\x27" + b"\0" * 8 + b"CmnD" + b"\0" * 16
    blob = header + (3).to_bytes(4, "little") + table + names + b"".join(data for _, data in items)
    small = icu.select(blob, ["cnv"], "test")
    assert b"icudt72l/a.cnv\0" in small and b"A" * 40 in small and b"B" * 5 not in small and b"zone" not in small
    with pytest.raises(BakeError):
        icu.select(blob, ["nrm"], "test")
    with pytest.raises(BakeError):
        icu.select(b"\0" * 200, ["cnv"], "test")


def test_set_uid_bits_of_a_package_are_dropped(images):
    for role in ROLES:
        for where, _, names in os.walk(images / role / "root"):
            for name in names:
                mode = os.lstat(os.path.join(where, name)).st_mode
                assert not mode & (stat.S_ISUID | stat.S_ISGID)
