"""Files as instruments, loggers and office programs write them: read as a person would, or refused in one line."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from varpro.cli._fit_data import read_data
from varpro.config.fit import FitConfig
from varpro.errors import ConfigError, DataError

T, Y = [0.0, 0.2, 0.4, 0.6], [3.5, 3.25, 3.05, 2.81]
ROWS = "0.0,3.5\n0.2,3.25\n0.4,3.05\n0.6,2.81\n"


def read(folder, text, *, file="a.csv", written="utf-8", **keys):
    """The data of a file with this text, written in this encoding, under keys of the config."""
    (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode(written))
    config = FitConfig.model_validate({"model": [{"kind": "gaussians"}], **keys})
    return read_data(str(folder / file), config)


KEYSIGHT = "x-axis,1\r\nsecond,Volt\r\n" + "".join(f"{t:+.9E},{y:+.9E}\r\n" for t, y in zip(T, Y, strict=True))
TEKTRONIX = "Model,TBS1104\nFirmware Version,FV:v1.1\nHorizontal Units,S\nRecord Length,61\n\nTIME,CH1\n" + ROWS
OCEAN = (
    "Data from sample_01.txt Node\n\nDate: Fri Jan 15 16:15:16 GMT 2016\nIntegration Time (sec): 1.000000E1\n"
    ">>>>>Begin Spectral Data<<<<<\n" + ROWS.replace(",", "\t")
)
LVM = (
    "LabVIEW Measurement\t\nWriter_Version\t2\nSeparator\tTab\nDecimal_Separator\t,\n***End_of_Header***\t\n\t\n"
    "Channels\t1\t\nSamples\t4\t\nDate\t2014/11/05\t\nY_Unit_Label\tVolts\t\nX0\t0,0E+0\t\nDelta_X\t0,2\t\n"
    "***End_of_Header***\t\t\nX_Value\tVoltage\tComment\n" + ROWS.replace(",", "\t").replace(".", ",")
)
EDINBURGH = "Labels,Decay 1,\nType,Emission,\nStart,0,\nExp. Wavelength,405,\n\n" + ROWS.replace("\n", ",\n")
ORIGIN = "Time\tSignal\nns\tcounts\n\tsample A\n" + ROWS.replace(",", "\t")
GERMAN = "Zeit;Signal\r\ns;V\r\n" + ROWS.replace(",", ";").replace(".", ",")
TDS = "".join(
    f"{key},{t:.6f},{y:.4f}\n"
    for key, t, y in zip(["Record Length,2500,Points", "Source,CH1,", ",,", ",,"], T, Y, strict=True)
)
SAME = {
    "names, then units": KEYSIGHT,
    "preamble of keys and values": TEKTRONIX,
    "preamble without a header": "Model,TBS1104\nSample Interval,2e-5\n" + ROWS,
    "preamble with other words": OCEAN,
    "preamble of LabVIEW, decimal commas": LVM,
    "preamble of a TCSPC export, trailing commas": EDINBURGH,
    "preamble beside the data": TDS,
    "names, units and comments": ORIGIN,
    "units in German": GERMAN,
    "a header above a blank line": "t,y\n\n" + ROWS,
    "a number of rows first": "4\n" + ROWS,
    "trailing delimiters": "t,y,\n" + ROWS.replace("\n", ",\n"),
    "trailing delimiters but in the header": "t,y\n" + ROWS.replace("\n", ",,\n"),
    "sep line": "sep=;\nt;y\n" + ROWS.replace(",", ";"),
    "empty rows at the end": "t,y\n" + ROWS + ",\n,\n",
    "footer": "t,y\n" + ROWS + "\nMean,3.15\n[END]\n",
    "header repeated": "t,y\n0.0,3.5\n0.2,3.25\nt,y\n0.4,3.05\n0.6,2.81\n",
    "blanks aligned": "  t      y\n" + "".join(f"{t:8.3f}{y:12.4E}\n" for t, y in zip(T, Y, strict=True)),
    "blanks and decimal commas": ROWS.replace(",", "   ").replace(".", ","),
    "Fortran": "".join(f" {t:.4f}  {y:.4E}\n".replace("E", "D") for t, y in zip(T, Y, strict=True)),
    "percent comments": "% Model: cell.mph\n% t y\n" + ROWS.replace(",", "  "),
    "other comments": "// run 7\n; operator: x\n! checked\n" + ROWS,
    "comments among and behind": "t,y\n0.0,3.5 # first\n# pause\n0.2,3.25\n0.4,3.05 // dip\n0.6,2.81\n",
    "bars": "| t | y |\n|---|---|\n" + "".join(f"| {t} | {y} |\n" for t, y in zip(T, Y, strict=True)),
    "quoted": '"t","y"\n' + "".join(f'"{t}","{y}"\n' for t, y in zip(T, Y, strict=True)),
    "quoted decimal commas": '"t","y"\n'
    + "".join(f'"{t}","{y}"\n'.replace(".", ",") for t, y in zip(T, Y, strict=True)),
    "a quoted name over two lines": '"Time\n(s)","U\n(V)"\n' + ROWS,
    "a stray quote": 'Pipe: 5" wide\nt,y\n' + ROWS,
    "text beside": "sample,t,y\n" + "".join(f"A{i},{line}\n" for i, line in enumerate(ROWS.split())),
    "an index without a name": ",t,y\n" + "".join(f"{i},{line}\n" for i, line in enumerate(ROWS.split())),
    "carriage returns only": "t,y\r" + ROWS.replace("\n", "\r"),
    "byte order mark": "\ufefft,y\r\n" + ROWS.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_numbers_in_the_habits_of_many_programs(tmp_path, kind):
    found = read(tmp_path, SAME[kind])
    assert_allclose(found.t, T, rtol=1e-12)
    assert_allclose(found.y, Y, rtol=1e-12)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1", "cp1252"])
def test_encodings_are_found(tmp_path, encoding):
    found = read(tmp_path, "t (µs);I (µA)\n" + ROWS.replace(",", ";"), written=encoding, columns={"y": ["I (µA)"]})
    assert_allclose(found.y, Y)
    assert any("read as" in note for note in found.notes) == (encoding != "utf-8-sig")


def test_an_encoding_that_is_not_found_is_given(tmp_path):
    text, keys = "t,Ω\n" + ROWS, {"columns": {"y": ["Ω"]}}
    assert_allclose(read(tmp_path, text, written="cp437", encoding="cp437", **keys).y, Y)
    with pytest.raises(ConfigError, match="encoding is 'utf-99'; no such encoding"):
        read(tmp_path, text, encoding="utf-99", **keys)


NOTATIONS = {
    "1.234,5": ("0,5;1.234,5\n1,5;998\n", [0.5, 1.5], [1234.5, 998]),
    "1,234.5": ("0.5\t1,234.5\n1.5\t998\n", [0.5, 1.5], [1234.5, 998]),
    "6,408 beside a decimal point": ("0.5\t6,408\n1.5\t998\n", [0.5, 1.5], [6408, 998]),
    "6.408 beside a decimal comma": ("0,5;6.408\n1,5;998\n", [0.5, 1.5], [6408, 998]),
    "1,234,567": ("1\t1,234,567\n2\t12\n", [1, 2], [1234567, 12]),
    "0,408 is no group": ("1;0,408\n2;6,408\n", [1, 2], [0.408, 6.408]),
    "6,408E0 is no group": ("1;6,408E+00\n2;6,308E+00\n", [1, 2], [6.408, 6.308]),
    "1234,567 is no group": ("1;1234,567\n2;6,408\n", [1, 2], [1234.567, 6.408]),
    "three digits behind the point": ("400.125\t3.504\n401.250\t2.345\n", [400.125, 401.25], [3.504, 2.345]),
    "no-break space": ("0,5;1\u00a0234,5\n1,5;998,2\n", [0.5, 1.5], [1234.5, 998.2]),
    "narrow no-break space": ("0,5;1\u202f234,5\n1,5;998,2\n", [0.5, 1.5], [1234.5, 998.2]),
    "blank between semicolons": ("0,5;1 234,5\n1,5;998,2\n", [0.5, 1.5], [1234.5, 998.2]),
    "apostrophe": ("0.5;1'234.5\n1.5;998.2\n", [0.5, 1.5], [1234.5, 998.2]),
    "minus sign U+2212": ("−0.5,1\n0.5,−1.5\n", [-0.5, 0.5], [1, -1.5]),
    "exponents": ("1e-3,1D-3\n2E-3,.5e1\n", [1e-3, 2e-3], [1e-3, 5]),
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_one_decimal_sign_for_a_whole_file(tmp_path, notation):
    text, t, y = NOTATIONS[notation]
    found = read(tmp_path, text)
    assert_allclose(found.t, t, rtol=1e-15)
    assert_allclose(found.y, y, rtol=1e-15)


def test_groups_of_thousands_are_told(tmp_path):
    assert "'6,408' is 6408" in " ".join(read(tmp_path, "0.5\t6,408\n1.5\t998\n").notes)


@pytest.mark.parametrize(("text", "cell"), [
    ("t\tcounts\n0\t6,408\n1\t998\n", "line 2, column 1: '6,408' may be 6.408 or 6408"),
    ("t;counts\n0;998\n1;6,408\n", "line 3, column 1: '6,408' may be 6.408 or 6408"),
    ("t;counts\n0;998\n1;6.408\n", "line 3, column 1: '6.408' may be 6.408 or 6408 ('998' stands in the same column"),
    ('t,counts\n"0","6,408"\n"1","998"\n', "line 2, column 1: '6,408' may be"),
    ("0.5\t6,408\n1.5\t12034\n", "'6,408' may be 6.408 or 6408 ('12034' stands in the same column, line 2)"),
])  # fmt: skip
def test_a_sign_that_nothing_tells_is_asked_for_and_taken(tmp_path, text, cell):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert cell in str(caught.value)
    assert "set decimal: '.' or decimal: ','" in str(caught.value)
    grouped = "," if "6.408" in text else "."
    assert 6408 in read(tmp_path, text, decimal=grouped).y
    if "0.5" not in text:
        assert 6.408 in read(tmp_path, text, decimal="." if grouped == "," else ",").y


def test_two_decimal_signs_in_one_file_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"'1,25' in line 2 has a decimal comma, '0.5' in line 2 a decimal point"):
        read(tmp_path, "t;y\n0.5;1,25\n1.0;1,75\n")
    with pytest.raises(DataError, match=r"column 0 \(t\) holds '0.5' in line 2\); check delimiter, decimal"):
        read(tmp_path, "t;y\n0.5;1,25\n1.0;1,75\n", decimal=",")


@pytest.mark.parametrize("text", [
    "0,0,3,52\n0,2,3,05\n0,4,2,90\n",
    "t,y\n0,0,3,52\n0,2,3,15\n0,4,2,90\n",
    "0.2,6,408\n0.4,6,008\n",
])  # fmt: skip
def test_numbers_torn_by_their_own_commas_are_refused(tmp_path, text):
    with pytest.raises(DataError, match="another delimiter"):
        read(tmp_path, text)


@pytest.mark.parametrize("word", [
    "", "---", "--", "-", "#N/A", "N/A", "NaN", "null", "OVRFLW", "Overflow", "OL", "Inf", "-inf", "#DIV/0!", "1.#QNAN",
    "*****", "?", "9.9E+37", "9.91E37", "—", "∞", "-∞",
])  # fmt: skip
def test_words_for_no_value(tmp_path, word):
    found = read(tmp_path, f"t,y\n0.0,3.5\n0.2,{word}\n0.4,3.05\n")
    assert_array_equal(found.y, [3.5, np.nan, 3.05])
    assert any(note == f"missing cells: 1 {word or 'empty'}" for note in found.notes)


@pytest.mark.parametrize("missing", ["LOW", ["LOW", -999], "<0.01", -999])
def test_further_words_and_numbers_for_no_value(tmp_path, missing):
    cells = missing if isinstance(missing, list) else [missing]
    text = "t,y\n0.0,3.5\n" + "".join(f"{i + 1}.5,{cell}\n" for i, cell in enumerate(cells)) + "9.5,1\n"
    found = read(tmp_path, text, missing=missing)
    assert np.isnan(found.y).sum() == len(cells)
    if isinstance(missing, str):
        with pytest.raises(DataError, match=rf"line 3, column 1: '{missing}' is no number.*missing: \['{missing}'\]"):
            read(tmp_path, text)


def test_rows_without_t_are_left_out_only_without_y(tmp_path):
    found = read(tmp_path, "t,y\n0,5.5\n,\n2,3\n,---\n3,2\n")
    assert_array_equal(found.t, [0, 2, 3])
    assert any("2 lines, first line 3, of empty cells" in note for note in found.notes)
    beside = read(tmp_path, "t,y,z\n0,5.5,1\n,,1\n2,3,1\n", columns={"y": ["y"]})
    assert any("rows without t and y left out: line 3" in note for note in beside.notes)
    with pytest.raises(DataError, match=r"line 3: t is missing \(NaN\), but y has a value"):
        read(tmp_path, "t,y\n0,5.5\n,4\n2,3\n")


REFUSED = {
    "line 3, column 1: 'bad' is no number": "t,y\n0,1\n1,bad\n2,1\n3,1\n",
    "line 2, column 1: 'x' is no number": "t,y\n0,x\n" + ROWS,
    "line 2, column 0: '1O' is no number": "t,y\n1O,3.6\n" + ROWS,
    "line 6, column 0: '1O.8' is no number": "t,y\n" + ROWS + "1O.8,3.1\n",
    "line 4: 3 cells, 2 expected; mend the line or leave it out with skip_rows: [4]": "t,y\n0,5\n1,4\n2,3,9\n3,2\n",
    "line 5: 'Channel B' stands between rows of numbers": "t,y\n0,5.5\n1,4\n\nChannel B\n0,9\n1,8\n",
    "line 5: a second table begins there, with t = 0 again": "t,y\n0,5.5\n1,4\n2,3\nt,y\n0,9\n1,8\n",
    "line 4: a second table begins there, with t = 0 again": "0 5.5\n1 4\n\n0 9\n1 8\n",
    "line 2: '20240301100000' in column 0 (t) may be a date; set time_format: '%Y%m%d%H%M%S'": (
        "t,y\n20240301100000,1.5\n20240301100100,1\n"
    ),
    "holds '01.03.24 10h' in line 2); check delimiter, decimal and columns; set time_format if": (
        "t,y\n01.03.24 10h,1.5\n01.03.24 11h,1\n"
    ),
    "line 3: each row begins with a name ('Cycle', 'Time [s]') and none stands above the columns": (
        "Device: reader\n\nCycle;1;2;3\nTime [s];0;60;120\nA1;0,101;0,12;0,15\n"
    ),
    "line 1: '3 2' may be a row of the table or its size; set skip_rows: 1": "3 2\n0.0 1.5\n0.1 1.2\n0.2 1\n",
    "line 1: 2 names above rows of 3 cells; name the columns by number": '"t","y"\n"1",0.5,3.5\n"2",0.2,3.1\n',
    "no column of numbers is left for y (column 1 (y) is empty)": "t,y\n0,\n1,\n2,\n",
    "no column of numbers is left for y (column 1 (y) holds '5%' in line 2)": "t,y\n0,5%\n1,6%\n",
    "has 1 column of numbers": "y\n1\n2\n3\n",
    "holds no table of numbers (it begins 'hello world')": "hello world\nthis is text\n",
    "holds no data": "",
    "is a zip archive or an Excel workbook": b"PK\x03\x04....",
    "holds zero bytes": b"\x00\x01\x02\x00\x00\x05",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_clear_is_refused_with_the_place(tmp_path, words):
    with pytest.raises(DataError) as caught:
        read(tmp_path, REFUSED[words])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_comments_that_hold_numbers_are_not_taken_for_rows(tmp_path):
    text = "#ns/channel\n0.0320\t0.0320\n#counts\n" + "".join(f"{i}\t{(i * 7) % 5}\n" for i in range(70))
    with pytest.raises(DataError, match=r"line 2 .*may be a first row of the table.*set skip_rows: 3"):
        read(tmp_path, text, file="a.dat")
    assert len(read(tmp_path, text, file="a.dat", skip_rows=3).t) == 70


def test_lines_to_skip_delimiters_and_comments_are_given(tmp_path):
    text = "t,y\n" + ROWS + "t,y\n" + ROWS
    assert_allclose(read(tmp_path, text, skip_rows=5).y, Y)
    assert_allclose(read(tmp_path, text, skip_rows=["6-"]).y, Y)
    assert_allclose(read(tmp_path, text, skip_rows=[3, "6-10"]).t, [0.0, 0.4, 0.6])
    assert_allclose(read(tmp_path, ROWS.replace(",", ":"), delimiter=":").y, Y)
    assert_allclose(read(tmp_path, ROWS.replace(",", " "), delimiter="space").y, Y)
    assert_allclose(read(tmp_path, "* spice\n" + ROWS + "* 1,2\n", comment="*").y, Y)
    for key, bad in (("skip_rows", ["x"]), ("delimiter", "blank"), ("decimal", ";")):
        with pytest.raises(ValueError, match=key):
            read(tmp_path, text, **{key: bad})


def test_names_numbers_above_the_columns_and_names_given_twice(tmp_path):
    spectra = "time,420,421\n0.0,3.5,7\n0.2,3.25,6\n"
    assert_array_equal(read(tmp_path, spectra, columns={"y": ["421"]}).y, [7, 6])
    corner = read(tmp_path, spectra.removeprefix("time"))
    assert_array_equal(corner.y, [[3.5, 3.25], [7, 6]])
    assert any("read as names" in note for note in corner.notes)
    with pytest.raises(DataError, match=r"columns 1 and 2 are both called 'y'; give columns.y a number"):
        read(tmp_path, "t,y,y\n0,1.5,2\n1,2,3\n", columns={"y": ["y"]})
    units = "Time\tSignal\nns\tcounts\n0.0\t10\n0.5\t8\n"
    assert_array_equal(read(tmp_path, units, columns={"t": "ns", "y": ["Signal"]}).y, [10, 8])
    remarks = "% run 7\n% t U\n% s V\n0 1.5\n1 1.2\n"
    assert_array_equal(read(tmp_path, remarks, columns={"t": "t", "y": ["U"]}).y, [1.5, 1.2])


def test_columns_that_nobody_asked_for_are_left_out_and_told(tmp_path):
    text = "date,t,y,note,empty\n2024-03-01,0.0,3.5,ok,\n2024-03-01,0.2,3.25,ok,\n"
    found = read(tmp_path, text, columns={"t": "t"})
    assert_array_equal(found.y, [3.5, 3.25])
    told = " ".join(found.notes)
    assert all(words in told for words in ("column 3 (note)", "column 0 (date)", "column 4 (empty)"))
    with pytest.raises(DataError, match=r"column 3 \(note\) holds text \('ok' in line 2\); name a column of numbers"):
        read(tmp_path, text, columns={"t": "t", "y": ["note"]})
    with pytest.raises(DataError, match=r"column 4 \(empty\) holds no value in all 2 rows; leave it out"):
        read(tmp_path, text, columns={"t": "t", "y": ["y", "empty"]})


def test_weights_are_positive_wherever_there_is_a_value(tmp_path):
    assert_array_equal(read(tmp_path, "t,y,w\n0,1.5,1\n1,,\n2,1,2\n", weights="w").weights, [1, 0, 2])
    for cell, said in (("", "no value"), ("-1", "-1")):
        with pytest.raises(DataError, match=rf"line 3: the weight in column 2 \(w\) is {said}; weights are 1 / error"):
            read(tmp_path, f"t,y,w\n0,1.5,1\n1,2,{cell}\n2,1,1\n", weights="w")


STAMPS = {
    "ISO": ["2024-03-01T10:00:00.000", "2024-03-01T10:00:00.250", "2024-03-01T10:01:00.000"],
    "ISO with a zone": ["2024-03-01T10:00:00Z", "2024-03-01T11:00:00.250+01:00", "2024-03-01T05:01:00-0500"],
    "a blank between": ["2024-03-01 10:00:00", "2024-03-01 10:00:00.25", "2024-03-01 10:01:00"],
    "German": ["01.03.2024 10:00:00", "01.03.2024 10:00:00,25", "01.03.2024 10:01:00"],
    "American, the day above 12": ["3/13/2024 11:59:30 AM", "3/13/2024 11:59:30.25 AM", "3/13/2024 12:00:30 PM"],
    "one day": ["3/1/2024 10:00:00", "3/1/2024 10:00:00.25", "3/1/2024 10:01:00"],
    "named months": ["01-Mar-2024 10:00:00", "01-Mar-2024 10:00:00.25", "01-Mar-2024 10:01:00"],
    "time of day": ["10:00:00", "10:00:00.25", "10:01:00"],
    "over midnight": ["23:59:30", "23:59:30.25", "00:00:30"],
    "minutes and seconds": ["00:05.5", "00:05.75", "01:05.5"],
}


@pytest.mark.parametrize("kind", STAMPS)
def test_time_stamps_are_seconds_from_the_first(tmp_path, kind):
    found = read(tmp_path, "when;y\n" + "".join(f"{stamp};{y}\n" for stamp, y in zip(STAMPS[kind], Y, strict=False)))
    assert_allclose(found.t, [0, 0.25, 60], rtol=1e-12)
    assert any(f"t in seconds since {STAMPS[kind][0]}" in note for note in found.notes)


def test_nanoseconds_survive_and_dates_beside_times_are_joined(tmp_path):
    stamps = "2024-03-01 10:00:00.123456789,1.5\n2024-03-01 10:00:00.123456889,1\n"
    assert_allclose(read(tmp_path, stamps).t, [0, 1e-7], rtol=1e-6)
    text = "Date;Time;U\n31.12.2023;23:59:50;3,5\n01.01.2024;00:00:20;3,1\n"
    assert_allclose(read(tmp_path, text).t, [0, 30])
    assert_allclose(read(tmp_path, text, columns={"t": ["Date", "Time"], "y": ["U"]}).t, [0, 30])


@pytest.mark.parametrize(("stamps", "words", "time_format", "step"), [
    (["3/1/2024 10:00:00", "3/2/2024 10:00:00"], "may begin with the day or with the", "%m/%d/%Y %H:%M:%S", 86400),
    (["10:05", "10:06"], "may be hours and minutes, or minutes and seconds", "%M:%S", 1),
    (["20240301", "20240302"], "may be a date; set", "%Y%m%d", 86400),
    (["Mon 1 10h", "Mon 1 11h"], "no column of numbers is left|holds no table", "Mon %d %Hh", 3600),
])  # fmt: skip
def test_doubtful_time_stamps_need_their_format(tmp_path, stamps, words, time_format, step):
    text = "when,y\n" + "".join(f"{stamp},{y}\n" for stamp, y in zip(stamps, Y, strict=False))
    with pytest.raises(DataError, match=words):
        read(tmp_path, text)
    found = read(tmp_path, text, time_format=time_format, columns={"t": 0, "y": [1]})
    assert_allclose(found.t, [0, step])


def test_a_clock_far_from_zero_is_counted_from_its_first_value(tmp_path):
    text = "time,y\n" + "".join(f"{1.7e9 + t:.3f},{y}\n" for t, y in zip(T, Y, strict=True))
    moved = read(tmp_path, text, model=[{"kind": "exponentials"}])
    assert_allclose(moved.t, T, atol=1e-6)
    assert any("counted from its first value, 1700000000" in note for note in moved.notes)
    assert read(tmp_path, text).t[0] == 1.7e9  # the centre of a peak would move with it
    kept = read(tmp_path, text, model=[{"kind": "exponentials"}], linear=[0, 5])
    assert kept.t[0] == 1.7e9


def test_long_and_wide_files_keep_every_number(tmp_path):
    rng = np.random.default_rng(0)
    table = rng.random((3511, 4))
    table[:, 0] = np.arange(3511) / 8
    text = "t,a,b,c\n" + "".join(",".join(f"{x:.15g}" for x in row) + "\n" for row in table)
    found = read(tmp_path, text.replace(",", ";").replace(".", ","))
    assert_allclose(found.y, table[:, 1:].T, rtol=1e-14)
