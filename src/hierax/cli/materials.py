"""The command that learns how a material with a microstructure carries load."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import final

import tyro
from rich.console import Console

from hierax.cli.codes import FAILED, GUARD_FAILED
from hierax.cli.telling import discarded, tell
from hierax.devices import SEEDS, first
from hierax.materials.learning import LearnedNetwork, learn_network
from hierax.records.materials import cell_of_file, write_network
from hierax.records.outputs import check_output
from hierax.records.placement import Placement
from hierax.records.run import Run
from hierax.records.sources import checksum


@final
@dataclass(frozen=True)
class Material:
    """Learn how a periodic cell carries load: a tree of laminates for effective tensors and nonlinear laws."""

    cell: tyro.conf.Positional[str]
    """FILE.py:OBJECT, a hx.materials.Cell or a function that returns one."""
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """KEY=VALUE: settings of the function."""
    conduction: bool = False
    """Conduction in place of elasticity."""
    depth: int = 6
    """Levels of the tree."""
    samples: int = 200
    """Pairs of random phases that are solved on the cell; a fifth of them judges."""
    members: int = 2
    """Random starts, of which one is chosen."""
    seed: int = 0
    """Seed of samples and starts."""
    run: Path | None = None
    """Run folder, new or empty; runs/<file>-<number> if not given."""
    json: Path | None = None
    """File for the record as JSON."""
    force: bool = False
    """Let --json overwrite an input or a file of another run."""
    where: tyro.conf.OmitArgPrefixes[Placement] = Placement()

    def __call__(self, console: Console) -> int:
        settings = tuple(word for group in self.set for word in group)
        devices = self.where.start((SEEDS,))
        cell, path = cell_of_file(self.cell, settings)
        if self.json is not None:
            check_output(self.json, (path,), self.force)
        how = {"depth": self.depth, "samples": self.samples, "members": self.members, "seed": self.seed}

        def learned() -> LearnedNetwork:
            return learn_network(cell, elastic=not self.conduction, devices=devices, **how)

        if not first(devices):
            return GUARD_FAILED if not learned().passed else 0
        run = Run.create(path.stem, self.run)
        asked = {"set": list(settings), "conduction": self.conduction, **how}
        with contextlib.closing(run):
            with discarded(run), console.status("solving the cell and training trees"):
                run.write_request({"kind": "cell", "file": str(path), "sha256": checksum(path)}, asked)
                made = learned()
            record = write_network(run, made, asked)
        tell(made, run, record, self.json)
        return GUARD_FAILED if not made.passed else 0 if run.whole else FAILED
