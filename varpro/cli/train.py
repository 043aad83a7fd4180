"""varpro-train: run a config, alone or under mpirun, and write a folder that describes the outcome."""

from pathlib import Path

from varpro.cli._program import Add, Program, data_argument, job_arguments


def _arguments(add: Add) -> None:
    add("config", nargs="?", help="a YAML file, or the name of a shipped config (see --list-configs)")
    data_argument(add)
    job_arguments(add, shown="partition, memory, arithmetic")
    add("--backend", choices=("auto", "cpu", "cuda"), help="where to compute")
    add("--seed", type=int, metavar="N", help="seed of every random draw")
    add("--resume", nargs="?", const="yes", default="", choices=("yes", "auto"), metavar="auto",
        help="continue the run in the output folder; auto: or begin it, if there is none")  # fmt: skip
    add("--max-time", metavar="TIME", help="stop before this much time has passed, such as 11h30m; exit code 75")
    add("--log-level", choices=("debug", "info", "warning", "error"), help="write a log (default info)")
    add("--log-file", type=Path, metavar="FILE", help="write the log to a file instead of stderr")
    add("--trace", type=Path, metavar="FILE", help="write what each rank did when, for Perfetto or chrome://tracing")
    add("--list-configs", action="store_true", help="names of the shipped configs")


main = Program(
    "varpro-train",
    "Train a scalarized network by variable projection.",
    _arguments,
    "varpro.cli._train_job",
    modules=("yaml", "pydantic", "h5py", "pooch", "matplotlib", "jinja2", "rich"),
    survives=True,
    epilog="Under mpirun every rank trains sub-networks: mpirun -n 8 varpro-train mnist.yaml",
).main

if __name__ == "__main__":
    raise SystemExit(main())
