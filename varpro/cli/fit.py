"""varpro-fit: fit a named model to a file of data, one curve or many, alone or under mpirun."""

from varpro.cli._program import Add, Program, job_arguments


def _arguments(add: Add) -> None:
    add("config", help="a YAML file with the model, for example model: [{kind: exponentials, n: 2}]")
    add("data", help="a .csv, .tsv, .txt, .dat, .npz or .h5 file; y (N,), (N, K) or a batch (B, N), (H, W, N)")
    job_arguments(add, shown="data and starting values")


main = Program(
    "varpro-fit",
    "Fit a separable model: its amplitudes are eliminated, only what is nonlinear is searched.",
    _arguments,
    "varpro.cli._fit_job",
    modules=("yaml", "pydantic", "h5py", "matplotlib", "rich"),
    epilog="Under mpirun the fits of a batch are split over the ranks: mpirun -n 8 varpro-fit flim.yaml flim.h5",
).main

if __name__ == "__main__":
    raise SystemExit(main())
