"""The accuracy table and the summary on the screen: per cent against true labels, and what is not an accuracy."""

import io
from pathlib import Path

import pytest

from tests.report.example import example_record, without
from varpro.report.probabilities import probability_rows
from varpro.report.scalarized_table import accuracy_rows, bootstrap_rows, cost_rows, gain
from varpro.report.screen import print_summary
from varpro.report.table import percent


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.93125, "93.12 %"), (1, "100.00 %"), (0.0, "0.00 %"), (None, "-"), (float("nan"), "-")],
)
def test_percent(value, text):
    assert percent(value) == text


def test_accuracies_are_per_cent_of_true_labels_the_headline_first():
    rows = accuracy_rows(example_record())
    assert [(row.name, row.value) for row in rows] == [
        ("test accuracy", "93.12 %"),
        ("validation accuracy", "94.00 %"),
        ("training accuracy", "97.00 %"),
        ("control", "90.00 %"),
        ("gain over the control", "+3.12 points"),
    ]
    assert all(row.note.startswith("true labels") for row in rows[:3])
    assert [row.strong for row in rows] == [True, False, False, False, False]


def note(metrics=None, ridge="auto"):
    """What the validation accuracy's line says beside it."""
    record = example_record(config={"glue": {"ridge": ridge}}, **({} if metrics is None else {"metrics": metrics}))
    return next(row.note for row in accuracy_rows(record) if row.name == "validation accuracy")


def test_the_validation_images_chose_the_ridge_only_where_none_was_given():
    assert "chose the ridge" in note()
    assert note(ridge=0.0) == note(ridge=2.5) == "true labels"


def test_without_validation_images_nothing_was_chosen_and_nothing_compared():
    metrics = without()
    metrics["validation"]["accuracy"] = float("nan")
    assert note(metrics) == note(metrics, ridge=2.5) == "no validation images"


def test_a_loss_against_the_control_has_its_sign():
    metrics = without()
    metrics["control"]["test_accuracy"] = 0.95125
    assert accuracy_rows(example_record(metrics=metrics))[-1].value == "-2.00 points"


def test_without_a_control_there_is_no_gain():
    record = example_record(metrics=without("control"))
    assert gain(record) is None
    assert [row.name for row in accuracy_rows(record)] == ["test accuracy", "validation accuracy", "training accuracy"]


def test_agreement_with_guesses_is_never_called_accuracy():
    rows = {row.name: row for row in bootstrap_rows(example_record())}
    assert [row.value for row in rows.values()] == ["5.00 %", "91.00 %", "99.80 %", "91.50 %"]
    agreement = rows.pop("agreement with guessed labels")
    assert agreement.note.startswith("no accuracy")
    assert not agreement.strong
    assert all("true labels" in row.note for name, row in rows.items() if "accuracy" in name)
    assert bootstrap_rows(example_record(metrics=without("bootstrap"))) == []


def test_probabilities_say_how_they_were_calibrated_and_how_true_they_are():
    rows = {row.name: row for row in probability_rows(example_record())}
    assert rows["calibration"].value == "temperature"
    assert "500 validation images" in rows["calibration"].note
    assert rows["log-loss, held out"].value == "0.2"
    assert rows["log-loss"].value == "0.21"
    assert rows["expected calibration error"].value == "4.10 %"


def test_without_probabilities_one_line_gives_the_remedy():
    (row,) = probability_rows(example_record(metrics=without("calibration")))
    assert (row.name, row.value) == ("probabilities", "none")
    assert "set data.validation" in row.note


def test_time_and_work():
    rows = {row.name: row for row in cost_rows(example_record())}
    assert rows["time"].value == "24.0 s"
    assert rows["time"].note == "load 0.2, subnetworks 8.0, refine 2.0, glue 3.0, control 1.5, bootstrap 9.0"
    assert rows["sub-network phase"].value == "10.0 GFLOP/s"
    assert rows["sub-network phase"].note == "50 % of this machine's matrix product, 20.0"
    assert rows["ranks"].value == "2 x 3 threads"


def test_a_run_without_sub_networks_claims_no_rate():
    rows = cost_rows(example_record(metrics=without("subnetworks", "load", "bootstrap")))
    assert [row.name for row in rows] == ["time", "ranks"]
    assert rows[0].note == "refine 2.0, glue 3.0, control 1.5"


def test_the_screen_shows_the_same_rows_and_where_the_files_are():
    stream = io.StringIO()
    print_summary(example_record(), Path("some") / "where", stream)
    text = stream.getvalue()
    for rows in (accuracy_rows, probability_rows, bootstrap_rows, cost_rows):
        for row in rows(example_record()):
            line = next(line for line in text.splitlines() if line.startswith(f"  {row.name}  "))
            assert row.value in line
            assert line.endswith(row.note)
    assert text.splitlines()[1] == "made up, seed 5"
    assert text.endswith("report  some/where/report.html\nmodel   some/where/model.h5\n")
    assert text.isascii()


def test_the_screen_leaves_out_what_did_not_run(capsys):
    print_summary(example_record(metrics=without("bootstrap", "control")), Path())
    shown = capsys.readouterr().out
    assert "bootstrapping" not in shown
    assert "control" not in shown
    values = [line.index("%") for line in shown.splitlines() if line.startswith("  ") and "accuracy" in line]
    assert len(set(values)) == 1
