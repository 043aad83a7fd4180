"""The programs: varpro-train, varpro-predict, varpro-fit, varpro-bench."""

from collections.abc import Sequence
from importlib.util import find_spec

from varpro.errors import BackendError


def require_modules(program: str, names: Sequence[str]) -> None:
    """Raise BackendError where a module that a program needs is not installed: `import varpro` alone needs none."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise BackendError(f"{program} needs {', '.join(missing)}, not installed here; pip install 'varpro[train]'")
