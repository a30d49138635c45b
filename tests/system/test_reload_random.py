"""Random configurations, one after another, under running services.

After each, the set must come to rest as exactly what a fresh start with it would run, and whoever is described as
before and stood on nothing that moved must have kept its process. RELOAD_SEED and RELOAD_ROUNDS choose another run.
"""

import os
import random

import pytest

from supervised import Supervised, wait_for

SEED = int(os.environ.get("RELOAD_SEED", "1"))
ROUNDS = int(os.environ.get("RELOAD_ROUNDS", "40"))
NAMES = [f"s{i}" for i in range(12)]


def random_service(rng, order, i):
    """(text of the process's own keys, text of the rest, what it requires, restart matters)"""
    kind = rng.choice(["daemon", "daemon", "oneshot", "group", "pool"])
    before = order[:i]
    requires = rng.sample(before, min(len(before), rng.choice([0, 0, 1, 1, 2])))
    wants = rng.sample(before, min(len(before), rng.choice([0, 0, 0, 1])))
    after = rng.sample(before, min(len(before), rng.choice([0, 0, 1])))
    live = ""
    for key, names in (("requires", requires), ("wants", wants), ("after", after)):
        if names:
            live += f"{key} = {' '.join(names)}\n"
    version = rng.randrange(3)
    if kind == "group":
        return "kind = group\n", live
    if kind == "oneshot":
        text = f"kind = oneshot\nstart = /bin/true {version}\nstop = /bin/sh -c \"exit 0; {version}\"\n"
    else:
        quiet = rng.choice(["", "", "trap 'sleep 0.1; exit 0' TERM; "])
        text = (f"kind = daemon\nstart = /bin/sh -c \"{quiet}sleep 100{version} & wait\"\n" if quiet
                else f"kind = daemon\nstart = /bin/sleep 100{version}\n")
        if rng.random() < 0.3:
            text += f"listen = unix @RUN@/{rng.randrange(3)}.socket\n"
    live += f"stop-timeout = {rng.randrange(2, 5)}s\nrestart-delay = {rng.randrange(5, 9)}ms\n"
    if kind == "pool":
        live += f"instances = {rng.randrange(1, 4)}\n"
    return text, live


def random_set(rng, before):
    """{name: (own, live)}; most of it as before, so that there is something to keep."""
    order = NAMES[:]
    if rng.random() < 0.3:
        rng.shuffle(order)
    names = [name for name in order if rng.random() < 0.75] or order[:1]
    services = {}
    for i, name in enumerate(names):
        old = before.get(name)
        if old and rng.random() < 0.7 and all(word in services for word in needs(old[1])):
            services[name] = old
        else:
            services[name] = random_service(rng, names, i)
    return services


def needs(live):
    return {word for line in live.splitlines() if line.split(" ")[0] in ("requires", "wants", "after")
            for word in line.split(" = ")[1].split()}


def write(s, services):
    directory = os.path.join(s.config, "services")
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(directory):
        if name != "log.service":
            os.unlink(os.path.join(directory, name))
    for name, (own, live) in services.items():
        s.write(f"services/{name}.service", own + live)
    s.write("profiles/test.profile", "description = test\n" + "".join(f"services = {name}\n" for name in services))


def expected(services):
    """All of it ready: nothing here can fail. Members of pools by their numbers."""
    names = set(services)
    for name, (_, live) in services.items():
        for line in live.splitlines():
            if line.startswith("instances = "):
                names |= {f"{name}:{n + 1}" for n in range(int(line.split()[-1]))}
    return names


def unmoved(old, new):
    """Described as before, as is all that it stands on."""
    same = {name for name in new if old.get(name) == new[name]}
    while True:
        stands = {name for name in same if all(word in same for word in needs(new[name][1]))}
        if stands == same:
            return same
        same = stands


def snapshot(s):
    status = s.status()
    return {service["name"]: service for service in status["services"]}


@pytest.mark.parametrize("namespace", [False, True], ids=["process", "namespace"])
@pytest.mark.parametrize("overlapping", [False, True], ids=["one-by-one", "overlapping"])
def test_random_sets_follow_one_another(namespace, overlapping):
    seed = SEED * 4 + 2 * namespace + overlapping
    print(f"RELOAD_SEED={SEED}")
    rng = random.Random(seed)
    current = random_set(rng, {})
    with Supervised({"s0": "kind = group\n"}, "s0", namespace) as s:
        write(s, current)
        for number in range(ROUNDS):
            answer = s.ctl("reload")
            assert answer.returncode == 0, (number, answer.stdout, answer.stderr)
            names = expected(current)
            wait_for(f"round {number}: exactly {sorted(names)}, all ready", lambda names=names: (
                lambda now: set(now) == names and all(x["state"] == "ready" for x in now.values()))(snapshot(s)))
            before, old = snapshot(s), current
            if overlapping:
                # Others come and go, and are overtaken before they are where they were to be.
                for _ in range(rng.randrange(1, 4)):
                    write(s, random_set(rng, current))
                    answer = s.ctl("reload", "--no-wait")
                    assert answer.returncode == 0, (number, answer.stdout, answer.stderr)
            current = random_set(rng, old)
            write(s, current)
            if overlapping:
                continue
            answer = s.ctl("reload")
            assert answer.returncode == 0, (number, answer.stdout, answer.stderr)
            after = snapshot(s)
            for name in expected({name: current[name] for name in unmoved(old, current)}):
                assert after[name]["pid"] == before[name]["pid"], (number, name, answer.stdout)
                assert after[name]["starts"] == before[name]["starts"], (number, name, answer.stdout)
        wait_for("no process but theirs", lambda: len(s.processes()) >= sum(
            1 for service in snapshot(s).values() if service["pid"]))
