"""The C file of every kind of unit compiles without a warning and computes what the model computes."""

import shutil
import subprocess

import numpy as np
import pytest

from tests.export.networks import CASES, CLASSES, close, images_of, network_of
from varpro.export.c import c_source
from varpro.export.c.arrays import comment, identifier, literal, quoted
from varpro.export.graph import Graph
from varpro.export.int8 import in_bytes

CC = shutil.which("cc") or shutil.which("gcc")
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wshadow", "-Wmissing-prototypes", "-Werror", "-O1"]
MAIN = """
#include <stdio.h>
#include "{stem}.c"
int main(void)
{{
    pixel image[{inputs}];
    float out[{classes}];
    int label;
    while (fread(image, sizeof image, 1, stdin) == 1) {{
        {stem}_scores(image, out);
        fwrite(out, sizeof out, 1, stdout);
        {stem}_probabilities(image, out);
        fwrite(out, sizeof out, 1, stdout);
        label = {stem}_predict(image);
        fwrite(&label, sizeof label, 1, stdout);
    }}
    for (label = 0; label < {classes}; ++label) fprintf(stderr, "%s\\n", {stem}_classes[label]);
    return 0;
}}
"""


def ran(folder, source, graph, pixels):
    """Scores, probabilities, labels and the names of the classes from a compiled file."""
    (folder / f"{source.name}.c").write_text(source.text, encoding="ascii")
    main = MAIN.format(stem=source.name, inputs=graph.inputs, classes=graph.n_classes)
    (folder / "main.c").write_text(main, encoding="ascii")
    subprocess.run([CC, *STRICT, "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    done = subprocess.run([folder / "main"], input=pixels.tobytes(), capture_output=True, check=True)
    k = graph.n_classes
    record = np.dtype([("scores", "f4", k), ("probabilities", "f4", k), ("label", "i4")])
    found = np.frombuffer(done.stdout, record)
    assert len(found) == len(pixels)
    return found["scores"], found["probabilities"], found["label"], done.stderr.decode().splitlines()


@pytest.mark.skipif(CC is None, reason="no C compiler on PATH")
@pytest.mark.parametrize("name", CASES)
def test_a_file_in_single_precision_agrees_with_the_model(tmp_path, name):
    network, images = network_of(name), images_of(name)
    graph = Graph.of(network)
    pixels = (images / 255.0).astype(np.float32)
    scores, probabilities, labels, names = ran(tmp_path, c_source(graph, "model"), graph, pixels)
    close(scores, network.scores(images))
    close(probabilities, network.predict_proba(images))
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    assert tuple(names) == CLASSES


@pytest.mark.skipif(CC is None, reason="no C compiler on PATH")
@pytest.mark.parametrize("name", CASES)
def test_a_file_in_bytes_computes_what_its_codes_say(tmp_path, name):
    images = images_of(name)
    graph = in_bytes(Graph.of(network_of(name)), images)
    scores, _, labels, _ = ran(tmp_path, c_source(graph, "model"), graph, images)
    close(scores, graph.scores(images, np.float64))
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))


def test_the_bytes_of_a_file_are_those_of_its_arrays():
    graph = Graph.of(network_of("convolutional, boxes"))
    units, columns, classes = 11, 99, 3
    pooling, layer = 2 * 4 * (3 * 12), columns * classes + classes + (classes + 1) * classes
    assert c_source(graph, "m").weight_bytes == 4 * (units * (3 + 3 + 1) + layer) + pooling
    scales = 4 * (units + classes)
    floats = 4 * (units + classes + (classes + 1) * classes) + scales + pooling
    assert c_source(in_bytes(graph), "m").weight_bytes == units * 6 + columns * classes + floats


def test_whole_numbers_that_may_not_fit_32_bits_are_summed_in_64():
    assert "typedef int32_t sum;" in c_source(in_bytes(Graph.of(network_of("convolutional"))), "m").text
    assert "typedef int64_t sum;" in c_source(in_bytes(Graph.of(network_of("convolutional, mix"))), "m").text


def test_names_numbers_and_comments_are_those_of_c():
    assert [identifier(stem) for stem in ("mnist-tiny v2", "3rd", "int", "é", "a b")] == [
        "mnist_tiny_v2", "model_3rd", "model_int", "model", "a_b"]  # fmt: skip
    assert [literal(value) for value in (1.0, 0.5, 1e-20, -3e8)] == ["1.0f", "0.5f", "1e-20f", "-300000000.0f"]
    assert quoted('a"?é') == '"a\\042\\077\\303\\251"'
    assert "*/" not in comment("a */ b ?" + "?/")
