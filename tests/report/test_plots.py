"""The plots: each is an image for every kind of run, and is left out if a run has nothing to show."""

import io

import numpy as np
import pytest
from matplotlib import rc_context

from tests.report.example import check_image, example_plots, example_record, pixels, refine_line, train_line, without
from varpro.report import scalarized_plots as plots
from varpro.report.drawing import STYLE
from varpro.report.record import Fired
from varpro.report.scalarized_page import ALTERNATIVES

pytestmark = pytest.mark.filterwarnings("error")

TRAINED = [train_line(index, step, 300.0 / step + index) for index in range(2) for step in range(1, 5)]


def draw(name, record, *, dpi=60):
    """A plot as PNG bytes that hold an image; None where the record has nothing to show for it."""
    with rc_context(STYLE):
        figure = getattr(plots, f"draw_{name}")(record)
        if figure is None:
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
    check_image(buffer.getvalue())
    return buffer.getvalue()


def test_a_run_with_every_part_has_every_plot():
    drawn = example_plots()
    assert list(drawn) == list(ALTERNATIVES)
    for png in drawn.values():
        check_image(png)


LEFT_OUT = {
    "refinement": ({"metrics": without("refine"), "history": TRAINED}, {"refinement"}),
    "sub-networks": (
        {"metrics": without("subnetworks"), "partition": [], "history": [refine_line(1, 0.5, elapsed_seconds=1.0)]},
        {"convergence", "ranks"},
    ),
    "calibration": ({"metrics": without("calibration")}, {"reliability"}),
    "prune": ({"metrics": without("prune")}, {"pruning"}),
    "bootstrap": ({"metrics": without("bootstrap")}, set()),
    "control": ({"metrics": without("control")}, set()),
    "all of them": ({"metrics": without("bootstrap", "control", "refine"), "history": TRAINED}, {"refinement"}),
    "mistakes": ({"mistakes": 0}, {"misclassified"}),
    "places": ({"fired": []}, {"firing"}),
    "history": ({"history": []}, {"convergence", "refinement"}),
    "a measured second": (
        {"metrics": without("load", "subnetworks", "glue", "refine", "bootstrap", "control")},
        {"seconds"},
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_run_without(name):
    replaced, absent = LEFT_OUT[name]
    record = example_record(**replaced)
    present = [plot for plot in ALTERNATIVES if plot not in absent]
    assert [plot for plot in ALTERNATIVES if getattr(plots, f"draw_{plot}")(record) is not None] == present
    assert all(draw(plot, record) for plot in present if plot in ("accuracy", "seconds"))


@pytest.mark.parametrize("subnetworks", [1, 40])
def test_any_number_of_sub_networks(subnetworks):
    record = example_record(subnetworks=subnetworks)
    assert all(draw(plot, record) for plot in ("convergence", "ranks"))


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 8, 8), (2, 8, 5)])
def test_images_grey_or_in_colour(shape):
    assert draw("misclassified", example_record(shape=shape))


def test_colours_stay_colours():
    red = np.zeros((1, 3, 4, 4))
    red[:, 0] = 1.0
    record = example_record(mistakes=1, misclassified_images=red)
    image = pixels(draw("misclassified", record))[..., :3]
    assert (np.abs(image - [1.0, 0.0, 0.0]).max(axis=-1) < 0.01).sum() > 500


@pytest.mark.parametrize("classes", [*range(1, 21), 21, 100])
def test_any_number_of_classes(classes):
    record = example_record(classes=classes)
    if classes in (1, 20, 21, 100):
        assert draw("confusion", record)
    assert bool(plots.draw_confusion(record).axes[0].texts) == (classes <= 20)


def test_a_class_without_test_images():
    confusion = np.diag([5, 0, 7])
    assert draw("confusion", example_record(confusion=confusion))


@pytest.mark.parametrize("names", [["a", "bb", "$x^$"], ["pays in $ and A$_", "ankle boot", ""], ["a\\b", "{", "%_^"]])
def test_names_of_any_kind_are_drawn_as_they_are(names):
    record = example_record(class_names=names, misclassified_true=np.arange(3))
    for plot in ("confusion", "misclassified"):
        assert draw(plot, record)
        axes = getattr(plots, f"draw_{plot}")(record).axes
        texts = [axis.title for axis in axes] if plot == "misclassified" else axes[0].get_xticklabels()
        assert not any(text.get_parse_math() for text in texts if text.get_text())


def test_the_reliability_shows_each_bin_where_it_is():
    upper, lower = plots.draw_reliability(example_record()).axes
    dots = next(line for line in upper.lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_xydata(), [[0.55, 0.6], [0.98, 0.94]])
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], [10, 90])
    assert draw("reliability", example_record())


def test_a_cost_that_is_not_finite_leaves_a_gap():
    costs = (np.nan, 5.0, np.inf, 3.0, np.nan)
    steps = [train_line(0, step, cost) for step, cost in enumerate(costs, start=1)]
    refined = [refine_line(step, cost, elapsed_seconds=step) for step, cost in enumerate(costs, start=1)]
    record = example_record(history=steps + refined)
    assert all(draw(plot, record) for plot in ("convergence", "refinement"))
    assert draw("convergence", example_record(history=[train_line(0, 1, np.inf)])) is None


def test_the_median_counts_a_sub_network_that_has_ended_with_its_last_cost():
    history = [train_line(0, 1, 10.0), train_line(1, 1, 20.0), train_line(1, 2, 6.0), train_line(1, 3, 4.0)]
    axes = plots.draw_convergence(example_record(history=history)).axes[0]
    median = next(line for line in axes.lines if line.get_label() == "median")
    np.testing.assert_allclose(median.get_xydata(), [[1, 15], [2, 8], [3, 7]])


def test_bars_are_accuracies_against_true_labels_and_agreement_is_none_of_them():
    axes = plots.draw_accuracy(example_record()).axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [97, 94, 93.125, 90, 91.5])
    metrics = without("control", "bootstrap")
    metrics["validation"]["accuracy"] = float("nan")
    assert len(plots.draw_accuracy(example_record(metrics=metrics)).axes[0].patches) == 2


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_bars_at_the_ends_of_the_scale(value):
    metrics = without("control", "bootstrap")
    for name in ("train", "validation", "test"):
        metrics[name]["accuracy"] = value
    axes = plots.draw_accuracy(example_record(metrics=metrics)).axes[0]
    low, high = axes.get_ylim()
    assert low <= 100 * value < high


@pytest.mark.parametrize("ranks", [1, 2, 500])
def test_any_number_of_ranks(ranks):
    partition = [part | {"rank": part["index"] % ranks} for part in example_record(subnetworks=6).partition]
    figure = plots.draw_ranks(example_record(partition=partition, rank_seconds=np.ones(ranks)))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0].startswith("rank 0: ")
    assert len(labels) <= max(2, 14 * figure.get_figheight() / 3), "labels lie on one another"


@pytest.mark.parametrize("matrices", [np.zeros((1, 5, 5)), np.zeros((0, 5, 5)), np.ones((13, 12, 4))])
def test_any_units(matrices):
    assert (draw("units", example_record(unit_matrices=matrices)) is None) == (len(matrices) == 0)


def test_answers_lie_where_the_filter_looks():
    """A filter of one pixel, dark at one place: that place, in a frame as large as the image, is dark."""
    maps = np.zeros((1, 6, 6))
    maps[0, 1, 4] = 1.0
    fired = [Fired(np.ones((1, 1)), 1.0, maps, (-0.5, 5.5, 5.5, -0.5), 3)]
    figure = plots.draw_firing(example_record(fired=fired, fired_images=maps, fired_labels=np.zeros(1, dtype=int)))
    image, answers = figure.axes[2], figure.axes[3]
    assert (answers.get_xlim(), answers.get_ylim()) == (image.get_xlim(), image.get_ylim())
    drawn = answers.images[0]
    assert drawn.get_extent() == [-0.5, 5.5, 5.5, -0.5]
    np.testing.assert_array_equal(drawn.get_array(), maps[0])
    assert sorted({line.get_xdata()[0] for line in answers.lines[::2]}) == [1.5, 3.5]


@pytest.mark.parametrize("mistakes", [1, 2])
def test_titles_fit_into_the_figure(mistakes):
    record = example_record(mistakes=mistakes, unit_matrices=np.ones((mistakes, 5, 5)))
    for name in ("misclassified", "units"):
        title = pixels(draw(name, record))[:14, -3:, :3]
        assert title.min() > 0.9, f"{name}: the title is cut off"
