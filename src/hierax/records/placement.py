"""Where a training runs, as it is asked for in words: devices, and the processes that it consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import jax

from hierax._errors import InputError
from hierax.devices import DIVIDED, PARTS, POINTS, Devices, dividing

FOUND = "auto"
"""In place of an address: what SLURM or Open MPI say to the processes that they start."""
REACHED = 120
"""Seconds in which all processes have to be there."""
SILENT = 20
"""Seconds after which a process that says nothing is gone."""


@final
@dataclass(frozen=True)
class Placement:
    """Where to train; on one device of one process if nothing is given."""

    devices: str | None = None
    """points=N, or samples=N, seeds=N, parts=N: what devices of all processes together divide; cores count as them."""
    distributed: str | None = None
    """HOST:PORT of process 0, for several processes that run this same command; auto under SLURM and Open MPI."""
    process: int | None = None
    """Number of this process, from 0 on, with --distributed HOST:PORT."""
    processes: int | None = None
    """Number of processes, with --distributed HOST:PORT; in `hierax surrogate` without it those of a simulator."""

    def start(self, axes: tuple[str, ...] = (POINTS, PARTS)) -> Devices | None:
        """Join the other processes, and say which devices there are; before anything is computed.

        Parameters
        ----------
        axes:
            What can be divided.

        Raises
        ------
        InputError
            For words that are none or ask for something else, and where the other processes are not there.
        """
        devices, count = self._asked()
        if self.distributed is None:
            if self.process is not None or self.processes is not None:
                raise InputError(
                    "There is no address.", "--process", "Give the address of process 0: --distributed HOST:PORT."
                )
            if count is None:
                return None
            _set_count(count)
        else:
            self._join(count)
        with dividing(devices, axes):
            return devices

    def _join(self, count: int | None) -> None:
        """Meet the other processes, with so many devices in all."""
        if (self.distributed == FOUND) != (self.process is None and self.processes is None):
            raise InputError(
                "An address goes with the number of this process and that of all.",
                "--distributed",
                "Give --distributed HOST:PORT --process 0 --processes 2 in one process, --process 1 in the other.",
            )
        if count is not None and self.processes is not None:
            _set_count(max(1, count // self.processes))
        address = None if self.distributed == FOUND else self.distributed
        how: dict[str, Any] = {"initialization_timeout": REACHED, "heartbeat_timeout_seconds": SILENT}
        try:
            jax.distributed.initialize(address, self.processes, self.process, **how)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"The processes have not found each other: {str(error).splitlines()[0]}",
                "--distributed",
                f"Start all of them within {REACHED} s, with an address of process 0 that the others can reach.",
            ) from error

    def _asked(self) -> tuple[Devices, int | None]:
        """The devices, and their number where one is given."""
        if self.devices is None:
            return Devices(), None
        axis, _, number = self.devices.partition("=")
        if axis not in DIVIDED or not number.isdecimal() or int(number) < 1:
            raise InputError(
                f"{self.devices!r} names no devices.", "--devices",
                f"Write --devices points=4; in place of points {', '.join(DIVIDED)}.",
            )  # fmt: skip
        return Devices(**{axis: int(number)}), int(number)


def _set_count(count: int) -> None:
    """Let the processor count as so many devices."""
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # something was computed before: there are as many as there are
        return
