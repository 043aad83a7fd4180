"""The repository's copy of NIST's data holds every number of NIST's own files, exactly."""

import json

import pytest

from tests.fit import nist
from tests.fit.nist_files import main, read_dat, written

PAGE = """NIST/ITL StRD
Dataset Name:  Tiny              (Tiny.dat)

File Format:   ASCII
               Starting Values   (lines 14 to 15)
               Certified Values  (lines 14 to 17)
               Data              (lines 20 to  22)

Reference:     Nobody, N. (1900).
               Nothing at All.

          Starting values                  Certified Values
        Start 1     Start 2           Parameter     Standard Deviation
  b1 =   -.5         250           2.3894212918E+02  2.7070075241E+00
  b2 =     1E-4      0.0005      5.5015643181E-04  7.2668688436E-06

Residual Sum of Squares:                    1.2455138894E-01
Residual Standard Deviation:                1.0187876330E-01
Data:   y               x1  x2
      10.07E0      77.6E0  1
      .591E0         24.41E0  0
      -3   7   2.5
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Tiny.dat").write_text(PAGE)
    return tmp_path


def test_every_number_of_the_page_is_read(folder):
    assert read_dat(folder / "Tiny.dat") == {
        "reference": "Nobody, N. (1900). Nothing at All.",
        "starts": [[-0.5, 1e-4], [250.0, 5e-4]],
        "certified": [238.94212918, 5.5015643181e-4],
        "deviations": [2.7070075241, 7.2668688436e-06],
        "rss": 0.12455138894,
        "rsd": 0.1018787633,
        "observations": [[10.07, 77.6, 1.0], [0.591, 24.41, 0.0], [-3.0, 7.0, 2.5]],
    }


def test_what_is_kept_is_what_was_read(folder, monkeypatch):
    facts = read_dat(folder / "Tiny.dat")
    assert json.loads(written(facts)) == facts
    monkeypatch.setattr("tests.fit.nist_files.KEPT", folder)
    main([str(folder)])
    kept, own = nist.load("Tiny"), nist.load("Tiny", folder)
    assert kept.x.shape == (3, 2)
    assert kept.dof == 1
    for part in ("x", "y", "starts", "certified", "deviations", "rss", "rsd", "dof"):
        assert repr(getattr(kept, part)) == repr(getattr(own, part))


def test_a_folder_named_by_the_environment_is_read_instead(folder, monkeypatch):
    monkeypatch.setenv("VARPRO_NIST", str(folder))
    assert nist.load("Tiny").certified[0] == 238.94212918


def test_another_file_and_an_empty_folder_are_refused(folder, capsys):
    (folder / "Tiny.dat").write_text("Norris: a linear problem\n")
    with pytest.raises(ValueError, match=r"Tiny\.dat does not read as a NIST StRD"):
        read_dat(folder / "Tiny.dat")
    (folder / "Tiny.dat").unlink()
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert "no .dat files in" in capsys.readouterr().err
