"""What a run leaves on disk so that another can continue it: states, the run they belong to, a lock, requests to stop.

Both trainers see one interface, `Checkpoint`; how a state is stored, and when, is decided here.
"""

from varpro.train.checkpoint.files import State
from varpro.train.checkpoint.states import Checkpoint, Kept

__all__ = ["Checkpoint", "Kept", "State"]
