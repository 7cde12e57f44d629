"""What a session has around it: its run, who may stop it, where its words go, and its devices; the first import of TensorFlow in a run."""

from collections.abc import Callable
from dataclasses import dataclass

from lmkit.engine.tensorflow import Replicas
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory
from lmkit.run.signals import StopRequest


@dataclass(frozen=True)
class World:
    """`alarm` says a line on standard error whichever process this is, `console` only in the chief."""

    run: RunDirectory
    stop: StopRequest
    console: Console
    alarm: Callable[[str], None]
    replicas: Replicas

    def asked(self) -> bool:
        """Whether any process was asked to stop: a collective, for which all come together."""
        return self.replicas.any(self.stop())

    def asked_here(self) -> bool:
        """The same between collectives, whose order must be that of the other processes: where there are some, nobody stops here."""
        return self.stop() and self.replicas.kind != "multi_worker"
