"""The life cycle in a machine of its own: what the system tests show with PID namespaces, as PID 1 of a virtual machine."""

import contextlib
import os

import pytest

from lone import BUILD, Lone, bake
from nodes import wait_for
from test_7_machine import FILES, MODULES

SH = "/bin/busybox sh -c"
SLEEP = "start = /bin/busybox sleep 1000000\n"
SERVICES = {
    # Four ways to be ready.
    "by-fd": f"ready = fd 3\nstart = {SH} \"echo >&3; exec /bin/busybox sleep 1000000\"\n",
    "by-pid-file": f"ready = pid-file /run/background.pid\nstart = {SH} \"/bin/busybox sleep 1000000 & echo $! > /run/background.pid\"\n",
    "by-command": f"ready = command /bin/busybox test -e /run/there\nstart = {SH} \"echo > /run/there; exec /bin/busybox sleep 1000000\"\n",
    "late": "ready = command /bin/busybox false\nstart-timeout = 1s\nrestart = never\n" + SLEEP,
    # Health: what makes it sick is gone at its next start.
    "checked": f"check = command /bin/busybox test ! -e /run/sick\ncheck-interval = 100ms\ncheck-retries = 2\nrestart-delay = 10ms\n"
               f"start = {SH} \"/bin/busybox rm -f /run/sick; exec /bin/busybox sleep 1000000\"\n",
    "sicken": f"kind = oneshot\nstart = {SH} \"echo > /run/sick\"\n",
    # Who goes with whom.
    "base": "restart-delay = 10ms\n" + SLEEP,
    "keeper": "requires = base\nwhen-lost = keep\n" + SLEEP,
    "follower": "requires = base\n" + SLEEP,
    "bystander": "restart-delay = 1ms\nhealthy-after = 1ms\n" + SLEEP,
    "circle": "requires = square\n" + SLEEP,
    "square": "requires = circle\n" + SLEEP,
    "day": "conflicts = night\n" + SLEEP,
    "night": SLEEP,
    # The rest.
    "crasher": f"start = /bin/busybox false\nrestart-delay = 1ms\nrestart-limit = 3 1m\non-limit = {SH} \"echo given up > /run/limit\"\n",
    "demand": "listen = tcp 127.0.0.1:7777\non-demand = yes\n" + SLEEP,
    "client": f"kind = oneshot\nstart = {SH} \"/bin/busybox timeout 1 /bin/busybox nc 127.0.0.1 7777; true\"\n",
    "pool": "instances = 2\n" + SLEEP,
    "undone": f"kind = oneshot\nstart = /bin/busybox true\nstop = {SH} \"echo it is undone >/dev/console\"\ncapabilities = dac_override\n",
    "edit": f"kind = oneshot\ncapabilities = dac_override\n"
            f"start = {SH} \"/bin/busybox sed -i s/1000000/2000000/ /etc/supervisor/services/edited.service; /bin/busybox sed -i /requires/d /etc/supervisor/services/circle.service\"\n",
    "spoil": f"kind = oneshot\ncapabilities = dac_override\n"
             f"start = {SH} \"echo nonsense = 1 >> /etc/supervisor/services/edited.service\"\n",
    "edited": SLEEP,
}
ON_REQUEST = "late sicken night client edit spoil"
WANTED = " ".join(name for name in SERVICES if name not in ON_REQUEST.split())


@pytest.fixture(scope="module")
def lone():
    directory = os.path.join(BUILD, "vm-core")
    os.makedirs(directory, exist_ok=True)
    made = Lone(directory, bake(directory, "web", ("/bin/busybox", "/bin/busybox")))
    files = {**FILES, **{f"services/{name}.service": text for name, text in SERVICES.items()},
             "profiles/web.profile": f"{MODULES}\nservices = log agent {WANTED}\non-request = {ON_REQUEST}\n"}
    made.power_on(files, "splash -- --profile=web")  # a word that the kernel does not know goes to its init
    try:
        made.wait_status("the pool", lambda status: state(status, "pool") == "ready")
        yield made
    finally:
        if not made.off():
            made.kill()
        print(made.said()[-4000:])


def state(status, name):
    return next(s["state"] for s in status["services"] if s["name"] == name)


def wait_state(lone, name, wanted):
    wait_for(f"{name} {wanted}", lambda: lone.service(name)["state"] == wanted)
    return lone.service(name)


def test_all_come_up_that_can(lone):
    for name in WANTED.split():
        wanted = {"circle": "waiting", "square": "waiting", "crasher": "failed", "demand": "listening"}.get(name, "ready")
        wait_state(lone, name, wanted)
    for name in ON_REQUEST.split():
        assert lone.service(name)["state"] == "down"


def test_a_process_in_the_background_is_the_main_process(lone):
    pid = int(lone.read("/run/background.pid"))
    assert lone.service("by-pid-file")["pid"] == pid
    lone.do("kill", "by-pid-file", "KILL")
    wait_for("another one", lambda: lone.service("by-pid-file")["pid"] not in (0, pid)
             and lone.service("by-pid-file")["state"] == "ready")
    assert lone.service("by-pid-file")["pid"] == int(lone.read("/run/background.pid"))


def test_a_late_start_names_what_was_awaited(lone):
    code, _, err = lone.ctl("start", "late")
    assert code == 1 and "not ready in" in err and "/bin/busybox false" in err


def test_a_sick_service_is_restarted(lone):
    before = lone.service("checked")
    lone.do("start", "sicken")
    wait_for("a restart", lambda: lone.service("checked")["starts"] > before["starts"])
    wait_state(lone, "checked", "ready")
    assert "unhealthy" in lone.said()


def test_a_cycle_is_left_out_with_its_path(lone):
    assert "part of the cycle" in lone.service("circle")["why"]
    assert lone.service("circle")["starts"] == lone.service("square")["starts"] == 0


def test_dependents_follow_by_their_policy(lone):
    before = {name: lone.service(name)["pid"] for name in ("base", "keeper", "follower", "bystander")}
    lone.do("kill", "base", "KILL")
    for name in ("base", "follower"):
        wait_for(f"a new {name}", lambda name=name: lone.service(name)["pid"] not in (0, before[name]))
    assert lone.service("keeper")["pid"] == before["keeper"]
    assert lone.service("bystander")["pid"] == before["bystander"]
    code, _, err = lone.ctl("stop", "base")
    assert code == 1 and "needed by" in err and "--force" in err


def test_conflicting_services_never_run_together(lone):
    code, _, err = lone.ctl("start", "night")
    assert code == 1 and "conflicts with day" in err
    lone.do("start", "night", "--force")
    assert (lone.service("day")["state"], lone.service("night")["state"]) == ("down", "ready")
    lone.do("start", "day", "--force")
    assert (lone.service("day")["state"], lone.service("night")["state"]) == ("ready", "down")


def test_too_many_restarts_are_given_up(lone):
    assert lone.service("crasher")["starts"] == 4
    assert lone.read("/run/limit") == "given up\n"


def test_the_first_client_starts_a_service_on_demand(lone):
    assert lone.service("demand")["starts"] == 0
    lone.do("start", "client")
    wait_state(lone, "demand", "ready")
    assert lone.service("demand")["starts"] == 1


def test_a_pool_is_resized_and_the_others_keep_their_processes(lone):
    before = {name: lone.service(name)["pid"] for name in ("pool:1", "pool:2", "bystander")}
    lone.do("scale", "pool", "4")
    wait_state(lone, "pool:4", "ready")
    lone.do("scale", "pool", "2")
    wait_for("the third gone", lambda: lone.ctl("status", "pool:3")[0] != 0)
    assert {name: lone.service(name)["pid"] for name in before} == before


def test_a_reload_changes_only_what_changed(lone):
    """The cycle that the machine started with is an error now: it is mended by the same edit."""
    names = ["edited", "bystander", "keeper", "demand", "by-fd"]
    before = {name: lone.service(name)["pid"] for name in names}
    code, out, err = lone.ctl("reload")
    assert code == 1 and "found the cycle circle -> square -> circle" in out + err
    lone.do("start", "edit")
    lone.do("reload")
    wait_state(lone, "square", "ready")
    wait_for("a new process", lambda: lone.service("edited")["pid"] not in (0, before["edited"]))
    assert {name: lone.service(name)["pid"] for name in names[1:]} == {name: before[name] for name in names[1:]}
    command = lone.read(f"/proc/{lone.service('edited')['pid']}/cmdline")
    assert "2000000" in command


def test_an_invalid_reload_changes_nothing(lone):
    before = {name: lone.service(name)["pid"] for name in ("edited", "bystander")}
    lone.do("start", "spoil")
    code, out, err = lone.ctl("reload")
    assert code == 1 and "edited.service:2" in out + err and "nonsense" in out + err
    assert {name: lone.service(name)["pid"] for name in before} == before


def test_many_kills_leave_one_process(lone):
    for _ in range(100):
        lone.ctl("kill", "bystander", "KILL")
    service = wait_state(lone, "bystander", "ready")
    assert lone.read("/sys/fs/cgroup/supervisor/bystander/cgroup.procs").split() == [str(service["pid"])]


def test_what_is_to_be_undone_is_undone_at_the_end(lone):
    with contextlib.suppress(Exception):
        lone.end("poweroff")
    lone.wait_off()
    said = lone.said()
    assert "it is undone" in said and "all services stopped" in said
    assert said.index("follower: stopped") < said.index("base: stopped")
