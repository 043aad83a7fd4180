"""What is asked of a fit, drawn at random: one restriction of parameters, amplitudes or form at a time."""

from dataclasses import dataclass

import numpy as np

from campaign_fits.families import Family

STYLES = ("preallocated", "absolute", "scalar", "refilled")
"""Ways to write a function that a complex step or a difference may not survive: an output made beforehand, abs(w),
float(w), one buffer for all calls."""


@dataclass
class Options:
    """What is asked of the fit."""

    ready: bool = False
    style: str = "plain"
    """how a plain function is written: plain, preallocated, absolute, scalar, refilled"""
    derivative: bool = False
    weights: str = ""
    """'', rows, values (a column for each right-hand side), absolute"""
    missing: str = ""
    """'', nan, mask, zero weight, masked array"""
    bounds: str = ""
    """'', wide, active"""
    fixed: int | None = None
    tied: tuple[int, int, float, float] | None = None
    """follower, leader, factor, offset"""
    linear: str = "free"
    """free, nonnegative, bounded"""
    ridge: float = 0.0
    equality: bool = False
    right_hand_sides: int = 1
    batch: int = 0
    """problems of a batch; 0 for varpro.fit"""
    nothing: str = ""
    """zeros (of a batch: in its last problem), underflow (of exponentials at times far from 0): not to be determined"""
    guess: bool = False
    multistart: int = 0
    kaufman: bool = False

    def names(self) -> list[str]:
        """Options that are not at their default, for the table."""
        out = ["ready model" if self.ready else f"function, {self.style}"]
        out.append("derivative" if self.derivative else "") if not self.ready else None
        out += [f"weights {self.weights}" if self.weights else "", f"missing: {self.missing}" if self.missing else ""]
        out += [f"bounds {self.bounds}" if self.bounds else "", "fixed" if self.fixed is not None else ""]
        out += ["tied" if self.tied else "", self.linear if self.linear != "free" else ""]
        out += ["ridge" if self.ridge else "", "equality" if self.equality else ""]
        out += ["many right-hand sides" if self.right_hand_sides > 4 else ""]
        out += ["right-hand sides" if 1 < self.right_hand_sides <= 4 else "", "batch" if self.batch else ""]
        out += [f"nothing: {self.nothing}" if self.nothing else "", "guess" if self.guess else ""]
        out += ["multistart" if self.multistart else "", "kaufman" if self.kaufman else ""]
        return [name for name in out if name]


def draw_options(rng: np.random.Generator, family: Family) -> Options:
    """The options of a problem of this family."""
    o = Options(ready=family.ready is not None and rng.random() < 0.6)
    if not o.ready:
        o.derivative = bool(rng.random() < 0.4)
        o.style = "plain" if family.complex_data or rng.random() < 0.6 else str(rng.choice(STYLES))
        o.style = "plain" if o.derivative and o.style == "absolute" else o.style  # its derivative has other signs
    o.weights = str(rng.choice(["", "", "", "rows", "absolute"]))
    if rng.random() < 0.45:
        o.missing = str(rng.choice(["nan", "mask", "zero weight", "masked array"]))
    o.kaufman = bool(rng.random() < 0.1)
    _restrict(rng, family, o)
    _shape(rng, family, o)
    if o.bounds == "active" and o.style == "absolute":
        o.style = "plain"  # |w| has a second minimum at -w, which one bound may leave open
    free = not (o.bounds or o.tied or o.fixed is not None or o.multistart or o.nothing)
    o.guess = bool(o.ready and free and rng.random() < 0.15)
    return o


def _restrict(rng: np.random.Generator, family: Family, o: Options) -> None:
    """At most one of: bounds, a fixed or tied parameter, limits or sums of amplitudes, a ridge."""
    real = not family.complex_w
    choices = {
        "": True,
        "wide": real,
        "active": real,
        "fixed": real and len(family.parameters) > 1,
        "tied": bool(family.ties),
        "nonnegative": family.nonnegative,
        "bounded": family.nonnegative,
        "ridge": not family.complex_data and not (o.ready and family.exponents),  # t^w: the ridge's unit follows w
        "equality": bool(family.equality),
    }
    possible = [name for name, yes in choices.items() if yes]
    chance = np.array([8.0 if not name else 1.0 for name in possible])
    kind = str(rng.choice(possible, p=chance / chance.sum()))
    if kind in ("wide", "active"):
        o.bounds = kind
    if kind == "fixed":
        o.fixed = int(rng.integers(len(family.parameters)))
    if kind == "tied":
        o.tied = (*family.ties[int(rng.integers(len(family.ties)))], 1.0, 0.0)
    if kind in ("nonnegative", "bounded"):
        o.linear = kind
    if kind == "ridge":
        o.ridge = 10.0 ** rng.uniform(-6, -2)
    o.equality = kind == "equality"


def _shape(rng: np.random.Generator, family: Family, o: Options) -> None:
    """Several right-hand sides, or a batch, or further starts, or nothing to be found."""
    kind, plain = rng.random(), not (o.bounds == "active" or o.linear == "bounded" or o.ridge or o.equality)
    if kind < 0.15 and plain:
        o.right_hand_sides = int(rng.choice([2, 3, 4, 40]))
        if rng.random() < 0.3 and o.right_hand_sides < 40:
            o.weights = "values"
    elif kind < 0.32 and plain and o.fixed is None and not o.tied:
        o.batch = int(rng.integers(2, 6))
        o.style = "plain" if o.style == "scalar" else o.style
        if rng.random() < 0.25 and family.fixed_term is None:
            o.nothing = "zeros"
    elif kind < 0.36:
        o.multistart = 3
    elif kind < 0.39 and plain and family.fixed_term is None:
        o.nothing = "underflow" if family.name == "one decay" and o.ready else "zeros"
