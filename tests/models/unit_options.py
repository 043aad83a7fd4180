"""Options for units on images of a few pixels."""

from varpro.models.units import UNITS

SMALL = {"window": (2, 4), "filter": (3,), "cells": 2}


def options_of(kind, **changes):
    """The options that a kind takes, of SMALL and the changes."""
    options = UNITS[kind].Options
    return options(**{name: value for name, value in (SMALL | changes).items() if name in options.names()})
