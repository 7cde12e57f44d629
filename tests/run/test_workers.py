"""Two real processes train one model through the plain command: equal to one process, stopped, killed and hung, and nothing is lost."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from processes import ROOT, Group, apart, last_step, ledger, same_bits

SPEC = str(ROOT / "model_configs" / "debug-decoder.yaml")
WORDS = ("training.steps=200", "training.evaluate_every=50 steps", "training.precision=float32", "logging.samples=[]")


def start(run: Path, count: int) -> Group:
    return Group(run, count, SPEC, *WORDS)


def train(run: Path, count: int) -> None:
    codes, words = start(run, count).ended()
    assert codes == [0] * count, words


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def one(home: Path) -> Path:
    """Undisturbed, one process."""
    train(home / "one", 1)
    return home / "one"


@pytest.fixture(scope="module")
def two(home: Path) -> Path:
    """Undisturbed, two processes."""
    train(home / "two", 2)
    return home / "two"


def test_two_processes_equal_one_and_the_chief_alone_writes(one: Path, two: Path) -> None:
    assert ledger(two) == ledger(one) and apart(two, one, 50) < 1e-6
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())


def test_stopped_and_then_without_its_chief_a_run_comes_to_the_bits_of_one_that_was_left_in_peace(two: Path, home: Path) -> None:
    run = home / "disturbed"
    group = start(run, 2)
    group.until(4)
    group.all[1].send_signal(signal.SIGTERM)
    codes, words = group.ended()
    assert codes == [75, 75], words
    assert words[0] == words[1] and words[0].startswith("stopped after step ")
    step = int(words[0].split()[3])
    assert (run / "checkpoints" / f"step-{step:08d}").is_dir()
    group = start(run, 2)
    group.until(step + 4)
    code, line, seconds = group.without(0, signal.SIGKILL)
    assert code == 75 and "the chief, worker 0 of 2 at 127.0.0.1:" in line and "has ended" in line and seconds < 5
    train(run, 2)
    assert same_bits(run, two)


def test_when_a_process_hangs_the_other_may_go_on_alone_and_then_with_another(one: Path, home: Path) -> None:
    run = home / "elastic"
    group = start(run, 2)
    group.until(60)
    code, line, seconds = group.without(1, signal.SIGSTOP)
    assert code == 75 and "worker 1 of 2 at 127.0.0.1:" in line and "no longer answers" in line and seconds < 20
    beyond = last_step(run) + 5
    group = start(run, 1)
    group.until(beyond)
    group.all[0].send_signal(signal.SIGTERM)
    assert group.ended()[0] == [75]
    train(run, 2)
    assert ledger(run) == ledger(one) and apart(run, one, 50) < 1e-6
