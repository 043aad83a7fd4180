"""The tables of a scalarized network's run: one list of rows for the screen and the page."""

from varpro.report.record import ScalarizedRecord
from varpro.report.table import Row, percent


def _validation_note(record: ScalarizedRecord) -> str:
    """What the validation images were used for: they chose the ridge only if it was not given and there were any."""
    accuracy = record.metrics["validation"]["accuracy"]
    if accuracy is None or accuracy != accuracy:
        return "no validation images"
    return "true labels; chose the ridge" if record.config["glue"]["ridge"] == "auto" else "true labels"


def gain(record: ScalarizedRecord) -> float | None:
    """Test accuracy above that of the control, as a share; None without a control."""
    control = record.metrics["control"]["test_accuracy"]
    return None if control is None else record.metrics["test"]["accuracy"] - control


def accuracy_rows(record: ScalarizedRecord) -> list[Row]:
    """Accuracies against true labels, the headline first."""
    m = record.metrics
    rows = [
        Row("test accuracy", percent(m["test"]["accuracy"]), "true labels", strong=True),
        Row("validation accuracy", percent(m["validation"]["accuracy"]), _validation_note(record)),
        Row("training accuracy", percent(m["train"]["accuracy"]), "true labels"),
    ]
    above = gain(record)
    if above is not None:
        rows.append(
            Row(
                "control",
                percent(m["control"]["test_accuracy"]),
                "test accuracy of the same units untrained, glued in the same way",
            )
        )
        rows.append(Row("gain over the control", f"{100 * above:+.2f} points", "what the training is worth"))
    return rows


def bootstrap_rows(record: ScalarizedRecord) -> list[Row]:
    """Bootstrapping, with agreement and accuracy told apart on every line; empty if it did not run."""
    b = record.metrics["bootstrap"]
    if b["test_accuracy"] is None:
        return []
    return [
        Row("ambiguous", percent(b["ambiguous_fraction"]), "of the test images, by the margin"),
        Row("accuracy of the guesses", percent(b["guess_accuracy"]), "guessed against true labels"),
        Row(
            "agreement with guessed labels",
            percent(b["agreement_with_guesses"]),
            "no accuracy: the network reproduces its own guesses",
        ),
        Row("test accuracy after", percent(b["test_accuracy"]), "true labels", strong=True),
    ]


def cost_rows(record: ScalarizedRecord) -> list[Row]:
    """Time and work of the run."""
    m, s, w = record.metrics, record.metrics["seconds"], record.metrics["work"]
    phases = ", ".join(
        f"{name} {s[name]:.1f}"
        for name in ("load", "subnetworks", "refine", "glue", "scores", "control", "bootstrap")
        if s.get(name, 0.0) >= 0.05
    )
    rows = [Row("time", f"{s['total']:.1f} s", phases)]
    if w["gflop"]:
        share = 100 * w["efficiency"]
        rows.append(
            Row(
                "sub-network phase",
                f"{w['gflops']:.1f} GFLOP/s",
                f"{share:.0f} % of this machine's matrix product, {w['gemm_gflops_measured']:.1f}",
            )
        )
    rows.append(Row("ranks", f"{m['ranks']} x {m['threads_per_rank']} threads", f"backend {m['backend']}"))
    if m.get("no_gpu"):
        rows.append(Row("no GPU", "cpu", m["no_gpu"]))
    return rows
