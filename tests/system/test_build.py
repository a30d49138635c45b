"""The build: what kind of file the product is, what the scripts answer to bad input."""

import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SUPERVISOR_BIN", TOP / "build/supervisor"))

only_product = pytest.mark.skipif(
    BINARY.parent.name == "asan", reason="holds for the product only"
)


def run(*words, **options):
    return subprocess.run(
        [str(word) for word in words],
        cwd=TOP,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        **options,
    )


def readelf(option):
    return run("readelf", "-W", option, BINARY).stdout


@only_product
def test_product_is_static_and_position_independent():
    assert re.search(r"Type:\s+DYN", readelf("-h"))
    segments = readelf("-l")
    assert "INTERP" not in segments
    dynamic = readelf("-d")
    assert "NEEDED" not in dynamic
    assert "PIE" in dynamic


@only_product
def test_product_is_hardened():
    segments = readelf("-l")
    assert "GNU_RELRO" in segments
    assert "BIND_NOW" in readelf("-d")
    flags = [line.split()[-2] for line in segments.splitlines() if "GNU_STACK" in line]
    assert flags == ["RW"]
    for line in segments.splitlines():
        assert not re.match(r"\s+LOAD.* RWE ", line)


@only_product
def test_product_is_small_and_stripped():
    assert BINARY.stat().st_size <= 640 * 1024
    assert ".symtab" not in readelf("-S")


@only_product
def test_same_sources_make_the_same_program(tmp_path):
    """Another folder for the results is no other program."""
    if BINARY != TOP / "build/supervisor" and "CACHE" not in os.environ:
        pytest.skip("the program comes from elsewhere")
    result = run("./build.sh", env={**os.environ, "BUILD": str(tmp_path / "elsewhere")})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "elsewhere/supervisor").read_bytes() == BINARY.read_bytes()


def embed(*files):
    return run("src/embed.sh", *files)


def test_embed_keeps_every_byte(tmp_path):
    text = bytes(range(256)) + b"%s \\n \"'" + bytes(64) + b"\n\n"
    (tmp_path / "b.in").write_bytes(text)
    (tmp_path / "a.in").write_bytes(b"")
    source = tmp_path / "embedded.c"
    source.write_text(embed(tmp_path / "b.in", tmp_path / "a.in").stdout)
    check = tmp_path / "main.c"
    check.write_text(
        '#include <stdio.h>\n#include "src/config/embedded.h"\n'
        "int main(void) { for (size_t i = 0; i < embedded_file_count; i++) {"
        ' printf("%s %zu %d\\n", embedded_files[i].name, embedded_files[i].size,'
        " embedded_files[i].text[embedded_files[i].size]);"
        " fwrite(embedded_files[i].text, 1, embedded_files[i].size, stdout); } }\n"
    )
    program = tmp_path / "main"
    built = run("gcc", "-Wall", "-Werror", "-I.", "-o", program, check, source)
    assert built.returncode == 0, built.stderr
    output = subprocess.run([program], capture_output=True, check=True).stdout
    first = f"{tmp_path}/a.in 0 0\n".encode()
    second = f"{tmp_path}/b.in {len(text)} 0\n".encode()
    assert output == first + second + text


def test_embed_of_nothing_compiles(tmp_path):
    source = tmp_path / "embedded.c"
    source.write_text(embed().stdout)
    built = run("gcc", "-Wall", "-Werror", "-I.", "-c", "-o", tmp_path / "x.o", source)
    assert built.returncode == 0, built.stderr


def test_embed_refuses_a_name_that_is_no_c_string(tmp_path):
    path = tmp_path / 'a"b.in'
    path.write_text("x")
    result = embed(path)
    assert result.returncode == 1
    assert "bad name" in result.stderr


def test_embed_refuses_a_missing_file(tmp_path):
    assert embed(tmp_path / "missing.in").returncode != 0


@pytest.mark.parametrize("words", [["tset"], ["build", "extra"], ["clean", "--everything"]])
def test_build_script_refuses_what_it_does_not_know(words):
    result = run("./build.sh", *words)
    assert result.returncode == 1
    assert words[-1] in result.stderr


def clean(folder):
    return run("./build.sh", "clean", env={**os.environ, "BUILD": str(folder)})


def test_clean_keeps_a_folder_that_holds_something_else(tmp_path):
    """BUILD=$HOME ./build.sh clean would have removed the user's home."""
    (tmp_path / "letter").write_text("dear")
    (tmp_path / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    result = clean(tmp_path)
    assert result.returncode == 1
    assert str(tmp_path) in result.stderr
    assert (tmp_path / "letter").exists()


@only_product
def test_clean_removes_what_the_build_has_made(tmp_path):
    folder = tmp_path / "results"
    result = run("./build.sh", env={**os.environ, "BUILD": str(folder)})
    assert (folder / "supervisor").exists(), result.stderr
    assert clean(folder).returncode == 0
    assert not folder.exists()


def test_build_script_helps():
    result = run("./build.sh", "help")
    assert result.returncode == 0
    for verb in ("test", "demo", "image", "bench", "clean", "help"):
        assert re.search(rf"^  {verb}\b", result.stdout, re.M)


def in_shell(commands):
    return run("bash", "-c", f'TOP=$PWD; . image/packages.sh; {commands}')


def test_step_shows_the_output_of_a_command_that_fails_and_its_exit_code():
    result = in_shell("step 'counting sheep' sh -c 'expr 40 + 2; exit 7'")
    assert result.returncode == 7
    assert "counting sheep" in result.stderr
    assert "exit 7" in result.stderr
    assert "42" in result.stderr.split()


def test_step_keeps_the_output_of_a_command_that_succeeds_to_itself():
    result = in_shell("step 'counting sheep' echo one")
    assert result.returncode == 0
    assert "counting sheep" in result.stderr
    assert "one" not in result.stdout + result.stderr


def test_unknown_section_of_packages_is_an_error():
    result = in_shell("need_packages sheep; echo went on")
    assert result.returncode == 1
    assert "no section 'sheep'" in result.stderr
    assert "went on" not in result.stdout


def test_missing_packages_are_named_to_a_user_who_cannot_install(tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image/packages").write_text("x bash\nx no-such-package-1\n")
    result = in_shell(
        f"TOP={tmp_path}; id() {{ echo 1000; }};"
        " command() { [ \"$2\" != sudo ]; }; need_packages x"
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith("--no-install-recommends no-such-package-1")


def test_every_package_is_listed_once_a_section():
    lines = [
        line.split()
        for line in (TOP / "image/packages").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all(len(words) == 2 for words in lines)
    assert len(lines) == len({tuple(words) for words in lines})
