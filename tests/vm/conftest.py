"""One cluster for the whole session. The tests' files are run in the order of their names: the last ones power it off."""

import os
import shutil

import pytest

pytest.register_assert_rewrite("nodes", "disks")
import nodes  # noqa: E402

REPORTS_MAX = 2  # of a session: the first failures are the ones to read

running = []  # the cluster, from before it starts
reports = []


@pytest.fixture(scope="session")
def cluster():
    directory = os.path.join(nodes.BUILD, "vm-test")
    made = nodes.Cluster(directory)
    made.reset()
    os.makedirs(directory, exist_ok=True)
    made.make_site()
    running.append(made)
    try:
        made.up()
        made.wait_ready()
        yield made
    finally:
        keep_consoles(made)
        running.clear()
        made.reset()


def keep_consoles(made):
    for node in nodes.NODES:
        for suffix in ("", ".old"):
            path = made.state.in_run(f"{node}.console{suffix}")
            if os.path.exists(path):
                shutil.copy(path, os.path.join(made.directory, f"{node}.console{suffix}"))


@pytest.fixture
def measured(record_property, capsys):
    """measured(WHAT, VALUE): a number for the reader of the log."""
    def tell(what, value):
        record_property(what, value)
        with capsys.disabled():
            print(f"\n    measured: {what}: {value}", flush=True)
    return tell


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed and running and len(reports) < REPORTS_MAX:
        reports.append(item.name)
        report.sections.append(("the machines", running[0].describe()))
