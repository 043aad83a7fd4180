"""report.html: one file that needs nothing but itself, and says what the numbers are."""

import base64
import re
from html.parser import HTMLParser

import pytest

from tests.report.example import blank_plots, check_image, example_plots, example_record, without
from varpro.report.drawing import draw_confusion, draw_misclassified
from varpro.report.scalarized_page import ALTERNATIVES, render_scalarized_page

HOSTILE = "<img src=x onerror=alert(1)>&\"'"


class Tags(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = ("meta", "img", "br")

    def __init__(self, page):
        super().__init__()
        self.found, self.open, self.text = [], [], ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def page_of(record, *absent):
    """The page with a grey pixel for each plot that is not absent."""
    return render_scalarized_page(record, {name: png for name, png in blank_plots().items() if name not in absent})


@pytest.fixture(scope="module")
def page():
    return render_scalarized_page(example_record(), example_plots())


def test_the_page_needs_nothing_but_itself(page):
    tags = Tags(page).found
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "base"}
    addresses = [attrs[key] for _, attrs in tags for key in ("src", "href", "srcset", "action") if key in attrs]
    assert len(addresses) == len(ALTERNATIVES)
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not re.search(r"https?://|url\(|@import", page)


def test_its_images_are_the_plots_with_a_text_for_each(page):
    images = [attrs for tag, attrs in Tags(page).found if tag == "img"]
    for image in images:
        check_image(base64.b64decode(image["src"].partition(",")[2], validate=True))
    assert {image["alt"] for image in images} == set(ALTERNATIVES.values())


def test_the_headline_is_the_accuracy_against_true_labels(page):
    text = Tags(page).text
    assert "test accuracy, true labels93.12 %" in text
    assert "+3.12 points" in text
    assert "no accuracy: the network reproduces its own guesses" in text
    assert "2 ranks of 3 threads" in text


def test_names_with_html_are_text():
    metrics = without("control") | {"dataset": HOSTILE}
    config = {"data": {"source": HOSTILE}, "</pre><script>": 1, "glue": {"ridge": "auto"}}
    record = example_record(metrics=metrics, config=config, class_names=[HOSTILE, "<b>bold</b>", "</html>"])
    named = {
        name: draw(record) for name, draw in (("confusion", draw_confusion), ("misclassified", draw_misclassified))
    }
    assert all(named.values())
    page = page_of(record)
    tags = Tags(page)
    assert "script" not in {tag for tag, _ in tags.found}
    assert not any("onerror" in attrs for _, attrs in tags.found)
    assert HOSTILE in tags.text
    assert "<b>bold" not in page


@pytest.mark.parametrize("part", ["control", "bootstrap", "refine", "subnetworks"])
def test_a_run_without_a_part_has_a_page_without_it(part):
    absent = {"refine": ["refinement"], "subnetworks": ["convergence", "ranks"]}.get(part, [])
    replaced = {"partition": []} if part == "subnetworks" else {}
    text = Tags(page_of(example_record(metrics=without(part), **replaced), *absent)).text
    assert ("gained by training" in text) == (part != "control")
    assert ("Agreement with guessed labels" in text) == (part != "bootstrap")
    assert ("Refinement" in text) == (part != "refine")
    assert ("Convergence" in text) == ("The partition:" in text) == (part != "subnetworks")
    assert "None" not in text
    assert "nan" not in text


def test_the_partition_is_a_table_with_a_row_for_each_sub_network():
    text = Tags(page_of(example_record(subnetworks=5))).text
    assert "The partition: 5 sub-networks" in text
    assert "cost_tolerance 3, iterations 2" in text
    assert "204" in text


def test_without_validation_images_a_dash_stands_for_their_accuracy():
    metrics = without()
    metrics["validation"]["accuracy"] = float("nan")
    text = Tags(page_of(example_record(metrics=metrics))).text
    assert "validation accuracy-no validation images" in text
    assert "nan" not in text
