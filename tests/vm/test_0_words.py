"""What the demo answers to words it cannot use. Nothing is started."""

import os
import socket
import subprocess

import pytest

from nodes import DEMO


@pytest.fixture
def demo(tmp_path):
    def run(*words):
        return subprocess.run(["/usr/bin/python3", os.path.join(DEMO, "demo.py"), "--state", str(tmp_path / "state"), *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    return run


@pytest.mark.parametrize("words, expected", [
    (["start-all"], "start-all"),
    (["up", "now"], "usage: demo up"),
    (["down", "now"], "usage: demo down"),
    (["ctl"], "usage: demo ctl NODE"),
    (["ctl", "web1"], "usage: demo ctl NODE"),
    (["read", "web1"], "usage: demo read NODE PATH"),
    (["kill"], "usage: demo kill NODE"),
    (["stop", "web1", "web2"], "usage: demo stop NODE"),
    (["start"], "usage: demo start NODE"),
    (["signal", "web1", "1"], "usage: demo signal NODE"),
    (["status", "--yaml"], "usage: demo status"),
    (["log"], "usage: demo log NODE"),
    (["--port", "0", "up"], "--port: expected 1 to 65535, found 0"),
    (["--port", "http", "up"], "http"),
    (["--colour", "red"], "--colour"),
])
def test_wrong_usage_is_2_and_says_what_is_right(demo, words, expected):
    done = demo(*words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("words, expected", [
    (["ctl", "web9", "status"], 'no node "web9"; there are: data1, data2'),
    (["kill", "web9"], 'no node "web9"'),
    (["start", "web9"], 'no node "web9"'),
    (["ctl", "web1", "status"], "web1 is off"),
    (["kill", "web1"], "web1 is off"),
    (["stop", "data1"], "data1 is off"),
    (["console", "data1"], "data1 is off"),
    (["start", "web1"], "the demo is off"),
    (["log", "web1"], "never started"),
    (["cut", "data1"], "the switch does not run"),
    (["--site", "/no/such/site", "up"], "/no/such/site"),
    (["--images", "/no/such/images", "up"], "/no/such/images"),
])
def test_what_cannot_be_done_is_1_and_says_why(demo, words, expected):
    done = demo(*words)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_directory_that_cannot_be_made_is_an_error(demo, tmp_path):
    (tmp_path / "state").write_text("a file")
    done = demo("up")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and str(tmp_path) in done.stderr


def test_a_busy_port_is_named(demo, tmp_path):
    images = tmp_path / "images"
    for role in ("data", "php", "web"):
        (images / role).mkdir(parents=True)
        for name in ("vmlinuz", "initrd", "cmdline"):
            (images / role / name).touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = demo("--images", str(images), "--port", str(port), "up")
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1" in done.stderr


def test_off_is_off(demo):
    status = demo("status")
    assert status.returncode == 1
    assert status.stdout.splitlines()[-1] == "off"
    assert demo("down").returncode == 0
    assert demo("reset").returncode == 0


def test_help_names_every_verb(demo):
    done = demo("help")
    assert done.returncode == 0
    for verb in ("up", "down", "reset", "ctl", "read", "console", "kill", "stop", "start", "cut", "heal", "status"):
        assert f"\n  {verb}" in done.stdout
