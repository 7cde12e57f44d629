"""A training session of this process, as `lmkit train` puts it together, opened and not yet begun."""

from pathlib import Path

from lmkit.run.console import Console
from lmkit.run.crew import Crew
from lmkit.run.directory import RunDirectory
from lmkit.run.session import Session
from lmkit.run.signals import StopRequest
from lmkit.run.train import session_of
from lmkit.spec_file.load import load, resolved_text
from lmkit.training.checkpointing import Checkpoints

SPEC = Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml"
WORDS = ["training.steps=6", "training.save_every=3 steps", "training.evaluate_every=3 steps", "logging.samples=[]"]
WORDS += ["training.optimizer.learning_rate=1e-3", "training.precision=float32", "tokenizer={kind: character}"]


def session(run: Path, said: list[str], *words: str) -> Session:
    spec = load(SPEC, [*WORDS, *words]).spec
    run.mkdir(exist_ok=True)
    console = Console(out=said.append, err=said.append, write=said.append)
    return session_of(spec, resolved_text(spec), RunDirectory(run), run.parent / "cache", Crew(None, None, StopRequest(), console))


def checkpoints_of(one: Session) -> Checkpoints:
    ignored = {"saved": lambda step: None, "say": one.console.err, "beat": lambda: None}
    return Checkpoints(one.run.path, keep=one.spec.training.keep, reach=one.plan.reach, facts=one.facts, **ignored)
