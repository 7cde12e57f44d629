"""Processes meet by plain TCP, and one that has ended is missed."""

import socket
import threading
import time

import pytest

from lmkit.engine.cluster import Cluster
from lmkit.engine.peers import GONE, SILENT, Watch, listening, meet, reach, require_all
from lmkit.errors import Interrupted, MachineError


def clusters(count):
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    workers = tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
    for server in servers:
        server.close()
    return [Cluster(workers, index, "TF_CONFIG") for index in range(count)]


def test_all_meet_whoever_comes_first():
    found = {}

    def come(cluster):
        time.sleep(0.3 * cluster.index)
        found[cluster.index] = meet(cluster, seconds=20, stay=False)
        with listening(cluster):  # as TensorFlow does
            ended.wait(20)

    ended = threading.Event()
    threads = [threading.Thread(target=come, args=(one,)) for one in clusters(3)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while len(found) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    ended.set()
    for thread in threads:
        thread.join()
    assert found == {0: {}, 1: {}, 2: {}}


def test_who_does_not_come_is_named():
    chief, other = clusters(2)
    with pytest.raises(MachineError, match=f"worker 1 of 2 at {other.workers[1]} did not come .*{GONE}"):
        require_all(chief, seconds=0.1, stop=lambda: False)


def test_waiting_ends_when_somebody_asks():
    with pytest.raises(Interrupted):
        meet(clusters(2)[0], seconds=60, stop=lambda: True)


def test_a_port_that_is_taken_is_said():
    chief, _ = clusters(2)
    with socket.create_server(("", int(chief.workers[0].split(":")[1]))), pytest.raises(MachineError, match="cannot be used"):
        meet(chief, seconds=1)


def test_a_process_that_ends_is_missed_in_seconds_and_one_that_lives_never():
    chief, other = clusters(2)
    lost = threading.Event()
    server = socket.create_server(("127.0.0.1", int(other.workers[1].split(":")[1])), backlog=128)
    watch = Watch(chief, lost.set)
    assert not lost.wait(2.5)
    server.close()
    assert lost.wait(4) and watch.lost == 1
    watch.end()


def test_a_machine_without_a_name_is_no_mystery():
    assert reach("no-such-host.invalid:1") == "no machine has that name"


def test_one_that_hangs_is_told_from_one_that_answers_and_from_another_program():
    _, other = clusters(2)
    with listening(other):
        assert reach(other.workers[1]) == ""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # where only the system answers
        assert reach(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.3) == SILENT
        silent.accept()[0].close()
        taken = threading.Thread(target=lambda: silent.accept()[0].close())
        taken.start()
        assert reach(f"127.0.0.1:{silent.getsockname()[1]}") == "something else listens there, and hangs up"
        taken.join()


def test_one_that_comes_later_finds_the_first_without_waiting_for_it_again():
    chief, other = clusters(2)
    first = threading.Thread(target=meet, args=(chief,), kwargs={"seconds": 20})
    first.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert meet(other, seconds=20) == {} and time.monotonic() - began < 2
    first.join(5)
    assert not first.is_alive()  # it was still answered, though the other was done
