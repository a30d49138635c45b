"""What the parts that face the world cannot do."""

import pytest

from nodes import agent, of_role

UNPRIVILEGED = [("web1", "lighttpd"), ("php1", "php-cgi:1"), ("php1", "gossip"), ("data1", "gossip"), ("web1", "gossip"),
                ("data1", "log")]


@pytest.mark.parametrize("node, service", UNPRIVILEGED)
def test_it_runs_confined(cluster, node, service):
    status = cluster.process_status(node, cluster.service(node, service)["pid"])
    assert all(int(uid) != 0 for uid in status["Uid"].split())
    assert all(int(gid) != 0 for gid in status["Gid"].split() + status["Groups"].split())
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.fixture(scope="module")
def attempts(cluster):
    """Who asks through web1 gets what a visitor would get."""
    return {php: cluster.fcgi(php, "attempt.php") for php in of_role("php")}


@pytest.mark.parametrize("php", of_role("php"))
def test_a_page_gets_nothing_that_is_not_its_own(attempts, php):
    answer = attempts[php]
    got = {name: result for name, result in answer["attempts"].items() if result not in (None, False, "")}
    assert not got
    assert len(answer["attempts"]) > 25
    assert answer["user"] != 0


@pytest.mark.parametrize("php", of_role("php"))
def test_the_same_ways_lead_to_what_is_allowed(attempts, php):
    assert set(attempts[php]["controls"].values()) == {True}


def test_the_web_server_does_not_follow_a_link_to_the_nodes_key(cluster, attempts):
    """A page can make any symbolic link; the web server follows links, so it must not be able to read what it should not serve."""
    assert set(attempts) == set(of_role("php"))
    assert cluster.get("/sibling.txt") == (200, "sibling\n")
    assert cluster.get("/key.txt")[0] in (403, 404)
    assert cluster.get("/../../etc/supervisor/node.conf")[0] in (400, 403, 404)
    assert cluster.get("/%2e%2e/%2e%2e/etc/supervisor/node.conf")[0] in (400, 403, 404)


@pytest.mark.parametrize("node, service", [("web1", "lighttpd"), ("php1", "php-cgi:1")])
def test_the_key_is_there_but_not_where_they_live(cluster, node, service):
    """What PID 1 reads is not in the files that these processes see."""
    path = "/etc/supervisor/node.conf"
    assert "secret-key = " in cluster.read(node, path)
    with pytest.raises(agent.Refused, match="No such file"):
        cluster.read(node, f"/proc/{cluster.service(node, service)['pid']}/root{path}")


@pytest.mark.parametrize("service", ["gossip", "log"])
def test_the_helpers_see_no_file_at_all(cluster, service):
    with pytest.raises(agent.Refused, match="No such file"):
        cluster.read("php1", f"/proc/{cluster.service('php1', service)['pid']}/root/proc/mounts")
