"""Downloads, tried against a web server of our own: what is fetched, what is refused, and who waits for whom."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest

from tests.idx import idx_bytes
from varpro.errors import DataError
from varpro.train.data.datasets import load_dataset
from varpro.train.data.published import BATCHES, DATASETS, IDX
from varpro.train.data.sources import Download, _unpacked


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder and the address it is published at; nothing is found anywhere else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name in ("VARPRO_DATA", "VARPRO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "site"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def publish_mnist(folder, address, monkeypatch):
    labels = np.arange(60) % 10
    files = {}
    for stem in IDX:
        content = idx_bytes(labels if "labels" in stem else np.random.default_rng(0).integers(0, 256, (60, 5, 5)))
        (folder / stem).write_bytes(content)
        files[stem] = Download(f"{address}/{stem}", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(DATASETS["mnist"], "downloads", files)


def test_missing_files_are_fetched_once_and_kept(site, monkeypatch, capfd, tmp_path):
    folder, address = site
    publish_mnist(folder, address, monkeypatch)
    assert len(load_dataset("mnist").train) == 60
    assert capfd.readouterr().err.count("fetching ") == 4
    for file in folder.iterdir():
        file.unlink()
    assert len(load_dataset("mnist").train) == 60
    assert capfd.readouterr().err == ""
    assert sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()) == sorted(IDX)


def test_a_changed_file_is_refused_and_not_kept(site, monkeypatch, tmp_path):
    folder, address = site
    publish_mnist(folder, address, monkeypatch)
    with (folder / IDX[0]).open("ab") as file:
        file.write(b"!")
    with pytest.raises(DataError, match=r"mnist: .* wrong SHA-256 .*try again, or fetch http.*--data") as caught:
        load_dataset("mnist")
    assert "\n" not in str(caught.value)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_file_that_the_server_does_not_have(site, monkeypatch):
    folder, address = site
    publish_mnist(folder, address, monkeypatch)
    (folder / IDX[0]).unlink()
    with pytest.raises(DataError, match=r"\(127\.0\.0\.1 answers 404 File not found\); fetch http"):
        load_dataset("mnist")


def test_no_connection(site, monkeypatch):
    files = {stem: Download(f"http://127.0.0.1:9/{stem}", "0" * 64) for stem in IDX}
    monkeypatch.setattr(DATASETS["mnist"], "downloads", files)
    with pytest.raises(DataError, match=r"cannot be downloaded \(no connection to 127\.0\.0\.1\)"):
        load_dataset("mnist")


def test_downloads_can_be_forbidden(site, monkeypatch, tmp_path):
    folder, address = site
    publish_mnist(folder, address, monkeypatch)
    monkeypatch.setenv("VARPRO_OFFLINE", "1")
    with pytest.raises(DataError, match="VARPRO_OFFLINE forbids downloads; fetch http"):
        load_dataset("mnist")
    assert not (tmp_path / "cache").exists()


def test_cifar_is_unpacked_from_its_archive(site, monkeypatch, tmp_path):
    folder, address = site
    archive = folder / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for number, stem in enumerate(BATCHES):
            content = np.full((10, 3073), number, np.uint8)
            content[:, 0] = range(10)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{stem}")
            member.size = content.size
            tar.addfile(member, io.BytesIO(content.tobytes()))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    files = {stem: Download(f"{address}/cifar.tar.gz", digest, f"cifar-10-batches-bin/{stem}") for stem in BATCHES}
    monkeypatch.setattr(DATASETS["cifar10"], "downloads", files)
    data = load_dataset("cifar10")
    assert data.train.images[::10, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert data.test.images.max() == 5
    assert sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()) == sorted(BATCHES)


def test_an_archive_that_cannot_be_unpacked_is_told_with_the_reason(tmp_path):
    archive = tmp_path / "cifar.tar.gz"
    archive.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"(?s)cifar\.tar\.gz: cannot be unpacked \(.+\); free space, or remove it"):
        _unpacked(archive, DATASETS["cifar10"].downloads, BATCHES[0])
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(DataError, match="cannot be unpacked"):
        _unpacked(archive, DATASETS["cifar10"].downloads, BATCHES[0])
    assert archive.exists()


@pytest.mark.parametrize(("rank", "node_rank", "calls"), [(0, 0, "RbRbR"), (1, 1, "bbR"), (2, 0, "bRbR")])
def test_one_rank_fetches_then_one_of_each_machine_and_the_others_find(monkeypatch, tmp_path, rank, node_rank, calls):
    order = []

    class Comm:
        def barrier(self):
            order.append("b")

    comm = Comm()
    comm.rank, comm.node_rank = rank, node_rank

    def require(dataset, stem, data_dir):
        if stem == IDX[0]:
            order.append("R")
        array = np.arange(60) % 10 if "labels" in stem else np.arange(60 * 25).reshape(60, 5, 5) % 251
        (tmp_path / stem).write_bytes(idx_bytes(array))
        return tmp_path / stem

    monkeypatch.setattr("varpro.train.data.datasets.require_file", require)
    load_dataset("mnist", comm=comm)
    assert "".join(order) == calls


def test_every_set_knows_where_each_of_its_files_is_published():
    assert {name for name in DATASETS if not DATASETS[name].downloads} == {"digits"}
    for name in DATASETS:
        for stem, download in DATASETS[name].downloads.items():
            assert len(download.sha256) == 64
            assert stem in (download.member or download.url)
