"""A PHP machine whose NFS servers are both gone, with a reader that waits for them: it still powers off by itself.

The last of the tests of the cluster: it leaves that without its data machines.
"""

import contextlib
import threading
import time

from nodes import NODES, agent, wait_for


def test_it_powers_off_and_says_what_it_waits_for(cluster, measured):
    if not any(cluster.is_ready(node) for node in NODES):
        cluster.up()  # the tests of powering off leave it off
    cluster.wait_ready()
    assert {"/srv/a.example", "/srv/b.example"} <= set(cluster.mounts("php1"))
    cluster.fcgi("php1", "who.php")
    cluster.demo("kill", "data1")
    cluster.demo("kill", "data2")

    def read_what_is_gone():
        with contextlib.suppress(AssertionError, agent.NoAnswer, agent.Refused, ValueError):
            cluster.fcgi("php1", "note.php", write="nobody will ever have this", timeout=100)
    waiter = threading.Thread(target=read_what_is_gone, daemon=True)
    waiter.start()

    def stuck():
        """Workers of php1 that wait in the kernel."""
        pids = [s["pid"] for s in cluster.status("php1")["services"] if s["name"].startswith("php-cgi:")]
        return [pid for pid in pids if cluster.process_status("php1", pid)["State"].startswith("D")]
    assert wait_for("a worker that waits for the server", stuck)
    begin = time.monotonic()
    with contextlib.suppress(agent.NoAnswer, agent.Refused):
        cluster.ctl("php1", "poweroff")
    wait_for("php1 is off", lambda: "reboot: Power down" in cluster.console("php1"), 150)
    measured("php1 without its servers: off after, s", round(time.monotonic() - begin, 1))
    end = cluster.console("php1").rpartition("supervisor: stopping all services")[2]
    print(end)
    assert "supervisor: power off" in end
