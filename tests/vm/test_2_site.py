"""What visitors and operators see: pages, both hosts, both PHP machines, one filesystem, locks that hold across machines."""

import uuid

import pytest

from nodes import NODES, SHARES, at_once, of_role, wait_for


def test_the_page_is_made_by_php_and_tells_who_made_it(cluster):
    status, body = cluster.get("/")
    assert status == 200
    page = cluster.page()
    assert page["php"] in of_role("php")
    assert (page["host"], page["data"], page["web"]) == ("a.example", "data1", "web1")
    assert "<title>a.example</title>" in body


@pytest.mark.parametrize("share", SHARES)
def test_each_host_comes_from_its_own_share_and_data_machine(cluster, share):
    _, server = SHARES[share]
    page = cluster.page(host=share)
    assert (page["host"], page["data"]) == (share, server)


def test_an_unknown_host_gets_the_first_site(cluster):
    assert cluster.page(host="nobody.invalid")["host"] == "a.example"


@pytest.mark.parametrize("share", SHARES)
def test_each_visit_has_a_number_of_its_own(cluster, share):
    """Both PHP machines count in one file of the share, under a lock."""
    before = cluster.page(host=share)["visits"]
    numbers = sorted(page["visits"] for page in at_once(*[lambda: cluster.page(host=share)] * 12))
    assert len(set(numbers)) == 12 and numbers[0] > before
    if share == "b.example":  # the first site is also asked by `demo up`, until it answers
        assert numbers == list(range(before + 1, before + 13))


def test_requests_are_spread_over_both_php_machines(cluster):
    makers = [page["php"] for page in at_once(*[lambda: cluster.page("/who.php?ms=200")] * 12)]
    assert set(makers) == set(of_role("php")), makers


def test_a_static_file_comes_from_the_share(cluster):
    text = uuid.uuid4().hex
    cluster.fcgi("php1", "note.php", write=text)
    assert cluster.get("/note") == (200, text)


def test_what_is_missing_is_404(cluster):
    assert cluster.get("/no-such-file.html")[0] == 404
    assert cluster.get("/no-such-page.php")[0] == 404


def test_the_systems_own_files_are_not_served(cluster):
    assert cluster.get("/.served-by")[0] == 403


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("writer, reader", [("php1", "php2"), ("php2", "php1")])
def test_a_file_written_through_one_php_machine_is_read_through_the_other(cluster, share, writer, reader):
    text = uuid.uuid4().hex
    written = cluster.fcgi(writer, "note.php", share, write=text)
    assert (written["php"], written["written"]) == (writer, len(text))
    assert cluster.fcgi(reader, "note.php", share) == {"php": reader, "note": text, "written": None}


@pytest.mark.parametrize("share", SHARES)
def test_a_waiting_lock_is_handed_from_php1_to_php2(cluster, share, measured):
    """flock() of PHP, which over NFS is a POSIX lock of the server: PHP itself has no fcntl locks to try."""
    cluster.fcgi("php1", "lock.php", share, do="reset")

    def wait_on_php2():
        wait_for("php1 has the lock", lambda: cluster.fcgi("php2", "lock.php", share, do="holding")["holding"])
        return cluster.fcgi("php2", "lock.php", share, do="wait")
    holder, waiter = at_once(lambda: cluster.fcgi("php1", "lock.php", share, do="hold"), wait_on_php2)
    assert (holder["locked"], holder["asked"], holder["unlocked"]) == (True, True, True)
    assert (waiter["free"], waiter["would_block"], waiter["locked"]) == (False, True, True)
    assert waiter["journal"] == ["php1 has it", "php1 lets go", "php2 has it"]
    measured(f"{share}: php2 waited for the lock, s", round(waiter["seconds"], 2))


def test_locks_of_both_php_machines_exclude_each_other(cluster):
    cluster.fcgi("php1", "lock.php", do="reset")
    each = 15
    at_once(*[lambda php=php: cluster.fcgi(php, "lock.php", do="count", n=each) for php in of_role("php") * 2])
    assert cluster.fcgi("php1", "lock.php")["number"] == str(4 * each)


def test_php_answers_nobody_but_web_machines(cluster):
    pairs = [(asker, php) for asker in NODES if not asker.startswith("web") for php in of_role("php")]
    answers = at_once(*[lambda asker=asker, php=php: cluster.ctl(
        asker, "fcgi", f"{NODES[php]}:9000", "/srv/a.example/who.php") for asker, php in pairs])
    assert {(asker, php): (answer.code, answer.out) for (asker, php), answer in zip(pairs, answers)} == dict.fromkeys(pairs, (1, ""))
    for php in of_role("php"):
        assert cluster.fcgi(php, "who.php", via="web2")["php"] == php


def test_an_agents_answer_is_the_commands_own(cluster):
    """demo ctl passes on output and exit code; demo read a file."""
    assert cluster.demo("ctl", "web1", "version").stdout.strip()
    refused = cluster.demo("ctl", "web1", "status", "no-such-service", code=1)
    assert "no-such-service" in refused.stderr
    assert cluster.demo("ctl", "web1", "no-such-verb", code=2).stdout == ""
    assert cluster.demo("read", "data1", "/proc/drbd").stdout.startswith("version: 8.4")
    assert "web1" in cluster.demo("status").stdout
