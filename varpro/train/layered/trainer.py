"""A whole run: the network, its control and its untrained self on the same images, and the record of all three.

Collective from beginning to end; rank 0 returns the record for the report.
"""

import time
from dataclasses import replace

import numpy as np
import torch

from varpro.config.layered import LayeredConfig, Objective
from varpro.distributed import Communicator, blas_threads
from varpro.errors import BackendError, ConfigError
from varpro.models.units.images import planes
from varpro.report.progress import Display
from varpro.report.record import JsonObject, LayeredRecord
from varpro.train.checkpoint import Checkpoint
from varpro.train.data.parts import DataSet, Part
from varpro.train.data.prepared import Prepared
from varpro.train.layered import evaluation, pictures
from varpro.train.layered.evaluation import Passed
from varpro.train.layered.measured import LayeredRun, Measured, train_and_measure
from varpro.train.layered.network import LayeredNetwork
from varpro.train.layered.plan import NetworkPlan, plan_network
from varpro.train.layered.training import Images
from varpro.train.mistakes import mistakes


def train(
    prepared: Prepared[LayeredConfig],
    comm: Communicator,
    *,
    display: Display,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
) -> tuple[LayeredRecord, LayeredNetwork] | None:
    """Run a config on its data.  Collective; (record, network) on rank 0, None elsewhere.

    checkpoint : where to keep what is done; None = nowhere.
    """
    clock = time.perf_counter()
    config, dataset = prepared.config, prepared.dataset
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with blas_threads(threads), torch.random.fork_rng():
            run = replace(_run(prepared, comm, display), checkpoint=checkpoint or Checkpoint())
            plan = config.plan(dataset.shape, dataset.n_classes)
            start, untrained = _untrained(run, plan)
            found = train_and_measure(run, plan, config.objective, "training")
            control = _control(run, plan)
            if comm.rank > 0:
                return None
            seconds = {
                "load": prepared.seconds,
                "training": found.trained.seconds,
                "control": control.trained.seconds if control else 0.0,
                "epoch": float(np.median([line["seconds"] for line in found.trained.history[1:]])),
                "total": prepared.seconds + time.perf_counter() - clock,
            }
            metrics = {
                "kind": "network",
                "dataset": dataset.name,
                "class_names": list(dataset.class_names),
                "backend": run.device.type,
                "ranks": comm.size,
                "threads_per_rank": threads,
                "seed": config.seed,
                "epochs": config.epochs,
                "batch": config.batch,
                **found.measured,
                "control": None if control is None else control.measured,
                "untrained": {"test": untrained},
                "seconds": seconds,
            }
            passed = {"training": found.test, **({"control": control.test} if control else {}), "untrained": start}
            return _record(run, dataset, metrics, found, control, passed), found.network
    finally:
        torch.set_num_threads(before)


def require_device(wanted: str) -> None:
    """Raise BackendError for a device that is not available."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BackendError("device is cuda, but PyTorch finds no GPU here; set device: auto or --backend cpu")


def _run(prepared: Prepared[LayeredConfig], comm: Communicator, display: Display) -> LayeredRun:
    config, split = prepared.config, prepared.split
    if config.batch < 2 * comm.size:
        raise ConfigError(
            f"batch is {config.batch}, fewer than two images for each of {comm.size} ranks; "
            f"set batch >= {2 * comm.size}"
        )
    require_device(config.device)
    device = torch.device("cpu")
    if config.device != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", comm.node_rank % torch.cuda.device_count())
    train, validation, test = (_images(part, device) for part in (split.train, split.validation, split.test))
    return LayeredRun(config, comm, display, device, train, validation, test, prepared.dataset.n_classes)


def _images(part: Part, device: torch.device) -> Images:
    pixels = planes(part.images)
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.float32, copy=False)
    return Images(torch.tensor(pixels, device=device), torch.tensor(part.labels, device=device))


def _untrained(run: LayeredRun, plan: NetworkPlan) -> tuple[Passed, JsonObject]:
    """How good the features of the random start are for rules that need no training."""
    run.display.phase("untrained network", 1)
    network = run.start(plan)
    run.settle(network)
    train, test = (run.passed(network, images) for images in (run.train, run.test))
    found = evaluation.of_features(train, test)
    run.display.advance()
    return test, found


def _control(run: LayeredRun, plan: NetworkPlan) -> Measured | None:
    """Cross-entropy alone on the same batches; None if that is what was trained, or if it is switched off."""
    config = run.config
    alone = config.objective.active().keys() == {"cross_entropy"}
    other = config.baseline.name
    if not config.baseline.enabled or (alone and config.network.xi is None and other is None):
        return None
    same = config.network.model_dump(exclude={"name"}) | ({"xi": None, "learnable_xi": False} if alone else {})
    options = {} if other else same
    planned = plan_network(other or config.network.name, plan.shape, run.n_classes, **options, linear=True)
    return train_and_measure(run, planned, Objective(cross_entropy=1.0), "control")


def _record(
    run: LayeredRun,
    dataset: DataSet,
    metrics: JsonObject,
    found: Measured,
    control: Measured | None,
    passed: dict[str, Passed],
) -> LayeredRecord:
    test, images = found.test, dataset.test.images
    assert test.scores is not None
    labels, embeddings, how = test.labels, [], "features"
    run.display.phase("embeddings", len(passed))
    for name, part in passed.items():
        few = pictures.POINTS if part.features.shape[1] <= 2 else pictures.TSNE_POINTS
        shown = pictures.spread_rows(len(labels), few)
        points, made = pictures.neighbour_plane(part.features[shown], run.config.seed)
        how = made if made != "features" else how
        embeddings.append(pictures.embedding(name, points, labels[shown], run.n_classes))
        run.display.advance()

    return LayeredRecord(
        metrics=metrics,
        config=run.config.as_dict(),
        history=found.trained.history + (control.trained.history if control else []),
        class_names=list(dataset.class_names),
        **mistakes(test.scores, labels, images[: len(labels)]),
        projection=how,
        embeddings=embeddings,
        epochs=[
            pictures.embedding(f"epoch {epoch}", points, own, run.n_classes)
            for epoch, (points, own) in found.panels.items()
        ],
        retrieved=pictures.retrieved(test.features, labels, images[: len(labels)]),
    )
