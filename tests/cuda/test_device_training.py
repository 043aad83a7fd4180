"""A run on a device gives what the run on the CPU gives."""

import json
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from varpro.arrays import Device
from varpro.cli.train import main
from varpro.config.scalarized import parse_config
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import BackendError, ConfigError
from varpro.models import QuadraticUnits
from varpro.models.units.bilinear import BilinearUnits
from varpro.models.units.convolution_options import ConvolutionOptions
from varpro.models.units.convolutional import ConvolutionalUnits
from varpro.models.units.device import DeviceUnits
from varpro.models.units.multilinear import MultilinearOptions, MultilinearUnits
from varpro.models.units.product_units import ProductOptions
from varpro.problems.separable import SeparableProblem
from varpro.report.progress import make_display
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination
from varpro.train.data.datasets import load_dataset
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized import trainer
from varpro.train.scalarized.backend import Place, choose_place
from varpro.train.scalarized.device_subnetworks import batch_size, device_gemm_gflops, subnetwork_bytes
from varpro.train.scalarized.network import one_hot
from varpro.train.scalarized.trainer import train


@pytest.fixture(autouse=True)
def _small_products(monkeypatch):
    """The rate of products is measured on matrices that a CPU is done with soon."""
    monkeypatch.setattr(trainer, "device_gemm_gflops", partial(device_gemm_gflops, size=64))


SMALL = {
    "data": {"source": "digits", "train": 300, "validation": 100, "test": 80},
    "subnetworks": 3, "units": 4, "samples": 90, "search": {"iterations": 3}, "backend": "cuda", "seed": 4,
    "bootstrap": "paper",
}  # fmt: skip


KINDS = {
    "quadratic": QuadraticUnits,
    "bilinear": BilinearUnits,
    "bilinear of rank 2": partial(BilinearUnits, options=ProductOptions(rank=2)),
    "multilinear, shared": partial(MultilinearUnits, options=MultilinearOptions(shared=True)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float64", "float32", "tf32"])
def test_search_of_a_batch_is_that_of_each_alone(xp, kind, precision):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 1, 5, 5)).astype(np.uint8)
    images[:, :, 2] = images[:, :, :, 2] = 0
    rows = np.stack([np.sort(rng.choice(40, 25, replace=False)) for _ in range(3)])
    units = KINDS[kind]((1, 5, 5), 2)
    y = np.stack([one_hot(r % 3, 3) for r in rows])
    starts = [units.start(rng, images[r]) for r in rows]
    rule, stop = DampingRule(initial=0.1), Termination(max_iterations=4, cost_tolerance=0.0)
    bound = DeviceUnits.bind(units, xp.asarray(images), rows, "tanh")
    problem = SeparableProblem(model=bound, y=xp.asarray(y), gn_precision=precision)
    found = search(problem, xp.asarray(np.stack(starts)), damping=rule, termination=stop)
    w = bound.lift(found.w)
    tolerance = 1e-7 if precision == "float64" else 1e-2
    for b, r in enumerate(rows):
        alone = units.bind(images[r], "tanh")
        single = SeparableProblem(model=alone, y=y[b][None])
        expected = search(single, alone.lower(starts[b])[None], damping=rule, termination=stop)
        assert found.cost[b] == pytest.approx(expected.cost[0], rel=tolerance)
        if precision == "float64":
            lifted = alone.lift(expected.w[0])
            assert np.abs(w[b] - lifted).max() <= 1e-6 * np.abs(lifted).max()
            assert found.iterations[b] == expected.iterations[0]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_search_of_convolutional_units_is_that_of_each_alone(xp, precision):
    """Units of two sizes that own several columns each, moved by the same parameters."""
    rng = np.random.default_rng(1)
    images, rows = rng.integers(0, 255, (40, 1, 6, 6)).astype(np.uint8), np.stack([np.arange(30), np.arange(5, 35)])
    options = ConvolutionOptions(filter=(3, 5), cells=2)
    units = ConvolutionalUnits.create((1, 6, 6), 2, rng, options)
    y = np.stack([one_hot(r % 3, 3) for r in rows])
    starts = [units.start(rng, images[r]) for r in rows]
    rule, stop = DampingRule(initial=0.1), Termination(max_iterations=3, cost_tolerance=0.0)
    bound = DeviceUnits.bind(units, xp.asarray(images), rows, "smooth_abs")
    problem = SeparableProblem(model=bound, y=xp.asarray(y), gn_precision=precision)
    found = search(problem, xp.asarray(np.stack(starts)), damping=rule, termination=stop)
    for b, r in enumerate(rows):
        alone = SeparableProblem(model=units.bind(images[r], "smooth_abs"), y=y[b][None], gn_precision=precision)
        expected = search(alone, starts[b][None], damping=rule, termination=stop)
        assert found.cost[b] == pytest.approx(expected.cost[0], rel=1e-7 if precision == "float64" else 1e-2)
        assert found.cost[b] < 0.99 * problem.size(np.array([b]))[0]


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("sigma", ["tanh", "logistic"])
def test_values_from_packed_images_are_those_beside_the_derivative(xp, planes, sigma):
    """Of all sub-networks, of some, and of all again, since the packed images are kept."""
    rng = np.random.default_rng(6)
    images, rows = rng.integers(0, 255, (20, planes, 7, 7)).astype(np.uint8), rng.integers(0, 20, (3, 13))
    units = QuadraticUnits((planes, 7, 7), 5)
    w = 0.3 * rng.standard_normal((3, units.n_parameters))
    bound = DeviceUnits.bind(units, xp.asarray(images), rows, sigma)
    for some in ([0, 1, 2], [0, 2], [1], [0, 1, 2]):
        packed = bound.basis(xp.asarray(w[some]), np.array(some))
        direct, _ = bound._run(xp.asarray(w[some]), np.array(some), "float64")
        assert np.abs(packed.get() - direct.get()).max() <= 1e-13  # values of at most 1, sums of 28 terms a plane


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("colour", ["mix", "planes"])
def test_convolutional_units_compute_where_the_images_are(xp, dtype, colour):
    rng, eps = np.random.default_rng(2), np.finfo(dtype).eps
    images = rng.integers(0, 255, (7, 3, 8, 8)).astype(np.uint8)
    units = ConvolutionalUnits.create((3, 8, 8), 5, rng, ConvolutionOptions(filter=(3, 5), cells=4, colour=colour))
    w, v = units.start(rng, images), rng.standard_normal(units.n_parameters)
    weights = rng.standard_normal((7, units.n_columns)).astype(dtype)
    layer = rng.standard_normal((units.n_columns, 3)).astype(dtype)
    at, there = units.at(w, "softplus", dtype), xp.asarray(images)
    phi, phi_there = at.phi(images), at.phi(there)
    pairs = [
        (phi, phi_there),
        (at.direction(v)(images, phi), at.direction(v)(there, phi_there)),
        (at.contraction(images, phi, weights), at.contraction(there, phi_there, xp.asarray(weights))),
        (at.layer_jacobian(images, layer), at.layer_jacobian(there, xp.asarray(layer))),
    ]
    for here, on_device in pairs:
        assert on_device.dtype == here.dtype
        assert np.abs(on_device.get() - here).max() <= 300 * eps * np.abs(here).max()  # sums of so many terms


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reproducible": True},
        {"model": {"unit": "bilinear"}},
        {"model": {"unit": "multilinear"}},
        {"search": {"iterations": 3, "method": "gradient"}},
        {"model": {"unit": "convolutional", "filter": 3, "cells": 2}, "units": 2, "subnetworks": 0},
        {"model": {"unit": "convolutional", "filter": 3, "cells": 2}, "units": 2, "glue": {"precision": "fp32"}},
        {"model": {"unit": "local-bilinear", "window": [3, 5]}, "prune": {"units": 9}, "bootstrap": "average"},
        {
            "model": {"unit": "local-bilinear", "window": [3, 5]},
            "subnetworks": 0,
            "units": 6,
            "glue": {"loss": "cross_entropy"},
            "refine": {"iterations": 2, "first_rows": 150, "precision": "fp64"},
        },
        {"glue": {"method": "tsqr"}, "reproducible": True, "subnetworks": 2},
    ],
)
def test_run_on_a_device_as_on_the_cpu(xp, changes):
    outcomes = {}
    for backend in ("cpu", "cuda"):
        config = parse_config(SMALL | changes | {"backend": backend}, "test")
        comm = SerialCommunicator()
        place = choose_place(config, comm)
        dataset = load_dataset("digits", None, comm=comm)
        with make_display(quiet=True, first_rank=True) as display:
            outcomes[backend] = train(Prepared.of(config, dataset), comm, display=display, place=place)
    (cpu, on_cpu), (cuda, on_cuda) = outcomes["cpu"], outcomes["cuda"]
    assert cpu.metrics["backend"] == "cpu"
    assert cuda.metrics["backend"] == "cuda"
    assert np.abs(on_cpu.w - on_cuda.w).max() <= 1e-5 * np.abs(on_cpu.w).max()
    images = dataset.test.images[:50]
    assert np.abs(on_cpu.scores(images) - on_cuda.scores(images)).max() <= 1e-4
    for part in ("test", "validation"):
        assert cpu.metrics[part]["accuracy"] == pytest.approx(cuda.metrics[part]["accuracy"], abs=0.02)
    assert cuda.metrics["bootstrap"]["test_accuracy"] is not None
    assert len(cuda.metrics["subnetworks"]) == changes.get("subnetworks", 3)


def test_batches_are_even_and_computed_before():
    assert batch_size(104, 1 << 20, 1 << 40) == 104
    assert batch_size(104, 1 << 30, int(60 * (1 << 30) / 0.8)) == 52
    assert batch_size(0, 1, 100) == 0
    with pytest.raises(BackendError, match=r"one sub-network needs about 1\.1 GB.*fp32"):
        batch_size(3, 1 << 30, 1 << 20)


def test_memory_of_a_subnetwork_counts_its_largest_arrays():
    n, m = 2000, 1450
    assert subnetwork_bytes(n=n, m=m, i=50, k=10, item=8) > 8 * n * m + 3 * 8 * m * m


def test_too_little_memory_is_told_before_the_run(xp, monkeypatch):
    monkeypatch.setattr(Device, "free_bytes", property(lambda self: 1000))
    config, comm = parse_config(SMALL, "test"), SerialCommunicator()
    dataset = load_dataset("digits", None, comm=comm)
    with make_display(quiet=True, first_rank=True) as display, pytest.raises(BackendError, match="needs about"):
        train(Prepared.of(config, dataset), comm, display=display, place=choose_place(config, comm))


def test_dry_run_names_the_device_and_the_batch(xp, capsys):
    arguments = ["digits_quadratic", "--dry-run", "--backend", "cuda", "--set", "subnetworks=4"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "cuda, device 0: " in said
    assert "4 sub-networks side by side" in said


def test_a_network_without_sub_networks_needs_no_room_for_them(xp, capsys, monkeypatch):
    monkeypatch.setattr(Device, "free_bytes", property(lambda self: 1000))
    options = {"model.unit": "convolutional", "model.filter": 3, "model.cells": 2, "subnetworks": 0, "refine": "true"}
    assert main(["digits", "--dry-run", "--backend", "cuda", *given(options)]) == 0
    said = capsys.readouterr().out
    assert "cuda, device 0: " in said
    assert "side by side" not in said
    assert "one after another" not in said
    assert main(["digits", "--dry-run", "--backend", "cuda", *given(options | {"subnetworks": 2})]) == 0
    assert "sub-networks one after another, since their units differ or own" in capsys.readouterr().out


def given(options):
    return [word for key, value in options.items() for word in ("--set", f"{key}={value}")]


def test_what_has_no_kernel_is_refused(xp):
    own = {"model": {"unit": "tests.models.own_ridge:Ridge"}}
    with pytest.raises(BackendError, match=r"own_ridge:Ridge.*choose .*quadratic"):
        choose_place(parse_config(SMALL | own, "test"), SerialCommunicator())
    place = choose_place(parse_config(SMALL | own | {"backend": "auto"}, "test"), SerialCommunicator())
    assert place.device is None
    assert "has no CUDA kernel; choose " in place.why_cpu


def test_auto_takes_a_gpu_only_where_every_rank_has_one(xp):
    auto = parse_config(SMALL | {"backend": "auto"}, "test")
    second = SimpleNamespace(size=2, node_rank=0, allgather=lambda mine: [mine, ("there is none", True)])
    alone, together = (choose_place(auto, comm) for comm in (SerialCommunicator(), second))
    assert alone.device is not None
    assert alone.why_cpu is None
    assert together == Place(None, "rank 1: there is none")


def test_auto_says_why_it_took_the_cpu(xp, monkeypatch, capsys, tmp_path):
    """On the screen before the run, in metrics.json and in the table after it."""
    monkeypatch.setitem(sys.modules, "varpro._cuda", None)
    small = ["--set", "subnetworks=2", "--set", "units=3", "--set", "samples=60", "--set", "bootstrap=false"]
    assert main(["digits", "--dry-run", *small]) == 0
    why = "this build of varpro has no CUDA kernels; install it again where nvcc is on the path"
    assert why in capsys.readouterr().out
    assert main(["digits", *small, "--set", "search.iterations=1", "--output", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["backend"] == "cpu"
    assert why in metrics["no_gpu"]
    assert "use the CPU" not in metrics["no_gpu"]
    assert "no GPU" in capsys.readouterr().out
    assert why in (tmp_path / "run/report.html").read_text()


def test_without_cupy_nobody_expects_a_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert choose_place(parse_config(SMALL | {"backend": "auto"}, "test"), SerialCommunicator()) == Place()


def test_keys_that_need_a_gpu():
    cpu = parse_config(SMALL | {"backend": "cpu", "search": {"gn_precision": "tf32"}}, "test")
    with pytest.raises(ConfigError, match="tf32"):
        choose_place(cpu, SerialCommunicator())
    with pytest.raises(ConfigError, match="device is 2"):
        choose_place(parse_config(SMALL | {"backend": "cpu", "device": 2}, "test"), SerialCommunicator())
