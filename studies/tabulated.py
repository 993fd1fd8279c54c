"""The tables of the study `tables`: laws, the designs of their inputs, and how noisy they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ellipk

Law = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Table:
    """A table to be made: a law `(n, dim) -> (n,)`, and the box of its inputs.

    Attributes
    ----------
    logarithmic:
        Inputs that are spread evenly in their logarithm.
    noise:
        Standard deviation over the spread of the values.
    wrong:
        Share of the values that are wrong, by five spreads in the root mean square.
    counts:
        Numbers of rows.
    quick:
        Whether it is in the short form of the study.
    """

    name: str
    law: Law
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    logarithmic: tuple[int, ...] = ()
    noise: float = 0.0
    wrong: float = 0.0
    counts: tuple[int, ...] = (200,)
    quick: bool = False

    @property
    def dim(self) -> int:
        """Number of inputs."""
        return len(self.lower)

    def design(self, unit: np.ndarray) -> np.ndarray:
        """Points of the box from points of the unit box."""
        lower, upper = np.array(self.lower), np.array(self.upper)
        out = lower + unit * (upper - lower)
        for k in self.logarithmic:
            out[:, k] = lower[k] * (upper[k] / lower[k]) ** unit[:, k]
        return out


def borehole(x: np.ndarray) -> np.ndarray:
    """Flow of water through a borehole, m^3 a year (Harper, Gupta 1983)."""
    radius, far, upper, high, lower, low, length, conductivity = x.T
    ratio = np.log(far / radius)
    resistance = 1.0 + 2.0 * length * upper / (ratio * radius**2 * conductivity) + upper / lower
    return 2.0 * np.pi * upper * (high - low) / (ratio * resistance)


def wing_weight(x: np.ndarray) -> np.ndarray:
    """Weight of the wing of a light aircraft, lb (Forrester, Sobester, Keane 2008)."""
    area, fuel, aspect, sweep, pressure, taper, thickness, load, weight, paint = x.T
    cosine = np.cos(np.deg2rad(sweep))
    body = 0.036 * area**0.758 * fuel**0.0035 * (aspect / cosine**2) ** 0.6 * pressure**0.006 * taper**0.04
    return body * (100.0 * thickness / cosine) ** -0.3 * (load * weight) ** 0.49 + area * paint


def piston(x: np.ndarray) -> np.ndarray:
    """Cycle time of a piston in a cylinder, s (Kenett, Zacks 1998)."""
    mass, surface, volume, spring, pressure, ambient, gas = x.T
    force = pressure * surface + 19.62 * mass - spring * volume / surface
    bulk = pressure * volume / gas * ambient
    place = surface / (2.0 * spring) * (np.sqrt(force**2 + 4.0 * spring * bulk) - force)
    return 2.0 * np.pi * np.sqrt(mass / (spring + surface**2 * bulk / place**2))


def circuit(x: np.ndarray) -> np.ndarray:
    """Midpoint voltage of an output transformerless circuit, V (Ben-Ari, Steinberg 2007)."""
    first, second, feedback, third, fourth, gain = x.T
    load = gain * (fourth + 9.0)
    base = (12.0 * second / (first + second) + 0.74) * load / (load + feedback)
    return base + 11.35 * feedback / (load + feedback) + 0.74 * feedback * load / ((load + feedback) * third)


def friedman(x: np.ndarray) -> np.ndarray:
    """The function of five inputs of Friedman (1991)."""
    return 10.0 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20.0 * (x[:, 2] - 0.5) ** 2 + 10.0 * x[:, 3] + 5.0 * x[:, 4]


def robot_arm(x: np.ndarray) -> np.ndarray:
    """Distance from its shoulder to the end of an arm of four segments (An, Owen 2001)."""
    angles, lengths = 2.0 * np.pi * np.cumsum(x[:, :4], axis=1), x[:, 4:]
    return np.hypot(np.sum(lengths * np.cos(angles), axis=1), np.sum(lengths * np.sin(angles), axis=1))


def gap_flow(x: np.ndarray) -> np.ndarray:
    """Flow through a narrow gap, m^3/s, by pressure in Pa and thickness in m."""
    return 1e-9 * (x[:, 0] / 1e5) * (x[:, 1] / 1e-4) ** 3


def offset(x: np.ndarray) -> np.ndarray:
    """A temperature in K that differs little from 300."""
    return 300.0 + 2.0 * x[:, 0] - x[:, 1] + x[:, 0] * x[:, 2]


def arrhenius(x: np.ndarray) -> np.ndarray:
    """Rate of a reaction, 1/s, by energy in J/mol and temperature in K."""
    return 1e13 * np.exp(-x[:, 0] / (8.314 * x[:, 1]))


def capacitance(x: np.ndarray) -> np.ndarray:
    """Capacitance in F of a plate capacitor by area in m^2, distance in m, and permittivity."""
    return 8.854e-12 * x[:, 2] * x[:, 0] / x[:, 1]


def pendulum(x: np.ndarray) -> np.ndarray:
    """Period of a pendulum of one metre, s, by its amplitude."""
    return 4.0 / np.sqrt(9.81) * ellipk(np.sin(0.5 * x[:, 0]) ** 2)


def langmuir(x: np.ndarray) -> np.ndarray:
    """An input, and the cover of a surface that saturates, over pressures of three decades."""
    return x[:, 0] + x[:, 1] / (x[:, 1] + 0.1)


def planck(x: np.ndarray) -> np.ndarray:
    """Radiation of a black body, W / m^3 / sr, by wave length in m and temperature in K."""
    return 1.191e-16 / x[:, 0] ** 5 / np.expm1(1.4388e-2 / (x[:, 0] * x[:, 1]))


def oscillator(x: np.ndarray) -> np.ndarray:
    """Response of an oscillator by frequency and damping."""
    return 1.0 / np.sqrt((1.0 - x[:, 0] ** 2) ** 2 + (2.0 * x[:, 1] * x[:, 0]) ** 2)


def van_der_waals(x: np.ndarray) -> np.ndarray:
    """Pressure of carbon dioxide, Pa, by volume in m^3 / mol and temperature in K."""
    return 8.314 * x[:, 1] / (x[:, 0] - 4.267e-5) - 0.3640 / x[:, 0] ** 2


def wave(x: np.ndarray) -> np.ndarray:
    """A wave along a slanted direction, which dies away across it."""
    along, across = 0.8 * x[:, 0] + 0.6 * x[:, 1], 0.6 * x[:, 0] - 0.8 * x[:, 1]
    return np.sin(20.0 * along) * np.exp(-(across**2))


_BOREHOLE = ((0.05, 100, 63070, 990, 63.1, 700, 1120, 9855), (0.15, 50000, 115600, 1110, 116, 820, 1680, 12045))
_WING = ((150, 220, 6, -10, 16, 0.5, 0.08, 2.5, 1700, 0.025), (200, 300, 10, 10, 45, 1, 0.18, 6, 2500, 0.08))
_PISTON = ((30, 0.005, 0.002, 1000, 90000, 290, 340), (60, 0.02, 0.01, 5000, 110000, 296, 360))
_CIRCUIT = ((50, 25, 0.5, 1.2, 0.25, 50), (150, 70, 3, 2.5, 1.2, 300))
_FRIEDMAN = ((0.0,) * 5, (1.0,) * 5)
_EMULATED = (200, 1000)

TABLES = (
    Table("borehole", borehole, *_BOREHOLE, counts=_EMULATED, quick=True),
    Table("wing weight", wing_weight, *_WING, counts=_EMULATED),
    Table("piston", piston, *_PISTON, counts=_EMULATED),
    Table("circuit", circuit, *_CIRCUIT, counts=_EMULATED),
    Table("robot arm", robot_arm, (0.0,) * 8, (1.0,) * 8, counts=_EMULATED),
    Table("borehole, noise 0.05", borehole, *_BOREHOLE, noise=0.05),
    Table("piston, noise 0.1", piston, *_PISTON, noise=0.1),
    Table("friedman, noise 0.2", friedman, *_FRIEDMAN, noise=0.2, quick=True),
    Table("wave, noise 0.1", wave, (0, 0), (1, 1), noise=0.1),
    Table("oscillator, noise 0.05", oscillator, (0.2, 0.05), (2.0, 0.3), noise=0.05),
    Table("friedman, noise 0.05, some wrong", friedman, *_FRIEDMAN, noise=0.05, wrong=0.03),
    Table("langmuir", langmuir, (0, 1e-3), (1, 1), logarithmic=(1,)),
    Table("flow in a gap", gap_flow, (1e5, 2e-5), (5e5, 1e-4)),
    Table("offset", offset, (0, 0, 0), (1, 1, 1)),
    Table("arrhenius", arrhenius, (5e4, 400), (7e4, 600)),
    Table("capacitance", capacitance, (1e-6, 1e-6, 1), (1e-4, 1e-5, 10)),
    Table("planck", planck, (3e-7, 1000), (3e-6, 6000)),
    Table("oscillator", oscillator, (0.2, 0.05), (2.0, 0.3)),
    Table("van der Waals", van_der_waals, (7e-5, 250), (2e-3, 600), logarithmic=(0,)),
    Table("wave", wave, (0, 0), (1, 1)),
    Table("pendulum", pendulum, (0.1,), (3.0,), counts=(60,), quick=True),
)
"""All tables of the study."""
