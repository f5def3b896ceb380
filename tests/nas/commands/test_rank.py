# ruff: noqa: E501 - one case a line, with its whole message
import csv
import math
from pathlib import Path

import pytest

from nas.cli import schema
from nas.cli.composition import compose_command
from nas.cli.door import main
from nas.commands.rank import TRACKS, WRITTEN
from nas.score import NTIRE2026_WEIGHTS, Challenge, Gate, Weights

PUBLISHED = Path(__file__).parents[4] / "shared" / "reference" / "ntire2026_published.csv"
CASES = Path(__file__).parents[4] / "shared" / "cases" / "n1_csv_from_spreadsheets"
HEADER = "method,psnr_valid_db,psnr_test_db,runtime_ms,params_m,flops_g\n"
GOOD = "A,26.92,27.00,5.24,0.139,9.11\n"


def ranked(tmp_path, table, *overrides):
    """Rank a table given as text and read what was written: {method: row}, in the order written."""
    source = tmp_path / "table.csv"
    source.write_text(table)
    assert main(["rank", f"table={source}", f"out={tmp_path / 'ranked.csv'}", *overrides]) == 0
    with (tmp_path / "ranked.csv").open(newline="") as stream:
        return {row["method"]: row for row in csv.DictReader(stream)}


@pytest.mark.skipif(
    not PUBLISHED.exists(), reason="../shared/reference/ntire2026_published.csv is not here"
)
def test_published_order_and_sub_track_ranks_are_reproduced(tmp_path):
    text = PUBLISHED.read_text()
    rows = ranked(tmp_path, text)
    published = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(published) == 16
    for before in published:
        after = rows[before["method"]]
        assert {track: after[track] for track in TRACKS} == {
            track: before[track] for track in TRACKS
        }
        assert all(after[name] == value for name, value in before.items())  # kept as printed
    order = [row["rank"] for row in rows.values()]
    assert order == [*map(str, range(1, 15)), "", ""]
    printed = {"ZenoSR (ACN)": (1.65, 1.73), "VSCINet": (1.97, 1.96), "AMCANet": (3.12, 2.90)}
    for method, expected in printed.items():
        row = rows[method]
        assert (
            round(float(row["score_params"]), 2),
            round(float(row["score_flops"]), 2),
        ) == expected
    assert float(rows["SPAN (baseline)"]["score"]) == pytest.approx(math.e**2)


def test_columns_are_the_inputs_then_ours_and_scores_are_recomputed(tmp_path):
    rows = ranked(tmp_path, "score,rank," + HEADER.strip() + ",note\n9,7," + GOOD.strip() + ",x\n")
    assert list(rows["A"]) == [*HEADER.strip().split(","), "note", *WRITTEN]
    expected = (
        0.8 * math.exp(2 * 5.24 / 7.74)
        + 0.1 * math.exp(2 * 9.11 / 9.83)
        + 0.1 * math.exp(2 * 0.139 / 0.151)
    )
    assert float(rows["A"]["score"]) == pytest.approx(expected, rel=1e-12)
    assert float(rows["A"]["score_runtime"]) == pytest.approx(math.exp(2 * 5.24 / 7.74), rel=1e-12)
    assert rows["A"]["rank"] == "1"


def test_units_and_the_mean_of_two_runtimes(tmp_path):
    plain = ranked(tmp_path, HEADER + GOOD)["A"]
    table = "method,psnr_db,runtime_valid_ms,runtime_test_ms,params,flops\nA,26.92,6.00,4.48,139000,9.11e9\n"
    other = ranked(tmp_path, table)["A"]
    assert [float(other[name]) for name in WRITTEN[:4]] == pytest.approx(
        [float(plain[name]) for name in WRITTEN[:4]]
    )


@pytest.mark.parametrize(
    ("name", "weights", "baseline"),
    [
        ("ntire2026", (0.8, 0.1, 0.1), ("SPAN", 7.74, 9.83e9, 0.151e6)),
        ("ntire2025", (0.7, 0.15, 0.15), ("EFDN", 16.69, 16.70e9, 0.276e6)),
        ("ntire2024", (0.7, 0.15, 0.15), ("RLFN", 13.54, 19.67e9, 0.317e6)),
    ],
)
def test_presets_hold_the_published_rules(name, weights, baseline):
    tree = compose_command("rank", [f"challenge={name}"]).tree
    challenge = schema.build(schema.conform(tree["challenge"], Challenge, "challenge", {}))
    assert challenge.weights == Weights(runtime=weights[0], flops=weights[1], params=weights[2])
    rules = challenge.baseline
    assert (rules.name, rules.runtime_ms, rules.flops, rules.params) == baseline
    assert challenge.gate == Gate(
        valid_db=26.90, test_db=26.99, tolerance_db=0.01, min_gain_db=-0.04
    )
    assert (challenge.weights == NTIRE2026_WEIGHTS) == (name == "ntire2026")


def test_ties_share_the_smaller_rank(tmp_path):
    rows = ranked(
        tmp_path, HEADER + "A,27,27,5,0.1,9\nB,27,27,5,0.1,9\nC,27,27,6,0.1,8\nD,27,27,4,0.2,20\n"
    )
    assert {name: row["rank_runtime"] for name, row in rows.items()} == {
        "A": "2",
        "B": "2",
        "C": "4",
        "D": "1",
    }
    assert {name: row["rank_params"] for name, row in rows.items()} == {
        "A": "1",
        "B": "1",
        "C": "1",
        "D": "4",
    }
    assert (rows["A"]["rank"], rows["B"]["rank"], rows["C"]["rank"]) == ("1", "1", "3")


def test_a_row_below_the_gate_is_last_and_takes_no_rank_from_others(tmp_path):
    rows = ranked(
        tmp_path, HEADER + "low,26.88,27,1,0.01,1\n" + GOOD + "edge,26.89,26.98,6,0.14,9\n"
    )
    assert list(rows) == ["A", "edge", "low"]
    assert [row["rank_runtime"] for row in rows.values()] == ["1", "2", ""]
    strict = ranked(
        tmp_path, HEADER + GOOD + "edge,26.89,26.98,6,0.14,9\n", "challenge.gate.tolerance_db=0"
    )
    assert strict["edge"]["rank"] == ""


def test_one_psnr_column_is_held_against_the_validation_gate(tmp_path):
    table = "method,psnr_db,runtime_ms,params,flops\nA,26.90,5,1e5,9e9\nB,26.88,5,1e5,9e9\n"
    assert [row["rank"] for row in ranked(tmp_path, table).values()] == ["1", ""]
    rows = ranked(tmp_path, table.replace("psnr_db", "psnr_test_db"))
    assert [row["rank"] for row in rows.values()] == ["", ""]


def test_the_users_own_rules(tmp_path):
    own = ["challenge.weights={runtime:0,flops:0,params:1}", "challenge.baseline.params=139e3"]
    assert float(ranked(tmp_path, HEADER + GOOD, *own)["A"]["score"]) == pytest.approx(math.e**2)
    older = ranked(tmp_path, HEADER + GOOD, "challenge=ntire2024")["A"]
    assert float(older["score_runtime"]) == pytest.approx(math.exp(2 * 5.24 / 13.54))


def test_table_states_the_tolerance_the_gate_and_the_baseline(tmp_path, capsys):
    rows = ranked(tmp_path, HEADER + GOOD + "[b]SPAN,26.94,27.01,7.74,0.151,9.83\n")
    printed = capsys.readouterr().out
    for part in ("tolerance 0.01 dB", "26.90 dB (valid) and 26.99 dB (test)", "SPAN on RTX A6000", "lower is better",
                 "4.367", "[b]SPAN", "base ", "5.24 (1)"):  # fmt: skip
        assert part in printed
    assert rows["[b]SPAN"]["rank"] == ""


def test_name_that_a_terminal_would_obey_is_shown_escaped(tmp_path, capsys):
    ranked(tmp_path, HEADER + "\x1b[2J\u202eA" + GOOD[1:])
    printed = capsys.readouterr().out
    assert "\\x1b[2J\\u202eA" in printed
    assert printed.replace("\n", "").isprintable()


def test_without_out_nothing_is_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text(
        "\ufeff" + HEADER + GOOD + "\n"
    )  # a byte order mark and a blank line do no harm
    monkeypatch.chdir(tmp_path)
    assert main(["rank", "table=t.csv"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        (HEADER, "has a header but no rows"),
        ("a,b\n1,2\n", "no column for PSNR: needs psnr_valid_db or psnr_test_db or psnr_db; found a, b"),
        ("psnr_db,runtime_valid_ms,params,flops\n27,1,1,1\n", "no column for runtime: needs runtime_ms or runtime_valid_ms and"),
        ("psnr_db,runtime_ms,flops\n27,1,1\n", "no column for parameters: needs params_m or params"),
        ("psnr_db,runtime_ms,params\n27,1,1\n", "no column for FLOPs: needs flops_g or flops"),
        (HEADER + GOOD + "B,26.9,27,nan,1,1\n", "line 3: runtime_ms must be a number above 0, got 'nan'"),
        (HEADER + "B,26.9,27,-1,1,1\n", "line 2: runtime_ms must be a number above 0, got '-1'"),
        (HEADER + "B,26.9,27,1,,1\n", "line 2: params_m must be a number above 0, got ''"),
        (HEADER + "B,26.9,27,1,1,x\n", "line 2: flops_g must be a number above 0, got 'x'"),
        (HEADER + "B,,27,1,1,1\n", "line 2: psnr_valid_db must be a number above 0, got ''"),
        (HEADER + "B,26.9,27,1,1,inf\n", "line 2: flops_g must be a number above 0, got 'inf'"),
        (HEADER + "B,26.9,27,1,1\n", "line 2: 5 fields under 6 columns"),
        (HEADER + "B, the net,26.9,27,1,1,1\n", "line 2: 7 fields under 6 columns"),
        (HEADER + 'B,"26.9,27,1,1,1\n', "not a CSV file in UTF-8"),
        (HEADER.replace(",", ";") + "B;26,9;27;1;1;1\n", "its fields are separated by semicolons and its numbers have decimal commas; save it as comma-separated CSV in UTF-8 with a decimal point"),
        (HEADER.replace(",", ";") + "B;26.9;27;1;1;1\n", "its fields are separated by semicolons; save it as comma-separated CSV in UTF-8"),
        (HEADER.replace(",", "\t") + "B\t26.9\t27\t1\t1\t1\n", "its fields are separated by tabs; save it"),
        (HEADER + 'B,"26,9",27,1,1,1\n', "line 2: psnr_valid_db must be a number above 0, got '26,9'; write it with a decimal point"),
        (HEADER + 'B,26.9,27,1,"139,104",1\n', "line 2: params_m must be a number above 0, got '139,104'; write it without separators of thousands"),
        (HEADER + "B,26.9,27,5.2 ms,1,1\n", "line 2: runtime_ms must be a number above 0, got '5.2 ms'; write the number alone, its unit is in the name"),
        (HEADER + GOOD + "B,,,,,\n", "line 3: psnr_valid_db must be a number above 0, got ''; the cell is empty"),
        (HEADER.upper() + GOOD, "found METHOD, PSNR_VALID_DB, PSNR_TEST_DB, RUNTIME_MS, PARAMS_M, FLOPS_G; names are in small letters"),
        (HEADER.replace("method", "x" * 5000) + "a\n", "1 fields under 6 columns"),
        ("flops,flops\n1,1\n", "the column 'flops' stands there twice"),
        ("te\x00m," + HEADER + "x," + GOOD, "has a name that is not printable"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_in_one_line(table, message, tmp_path, capsys):
    source, out = tmp_path / "table.csv", tmp_path / "out.csv"
    source.write_text(table)
    assert main(["rank", f"table={source}", f"out={out}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(source) in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_table_in_utf_16_is_refused_by_what_it_is(tmp_path, capsys, encoding):
    (tmp_path / "t.csv").write_bytes((HEADER + GOOD).encode(encoding))
    assert main(["rank", f"table={tmp_path / 't.csv'}"]) == 2
    assert "not a CSV file in UTF-8 but in UTF-16; save it as" in capsys.readouterr().err


@pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not here")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("semicolon.csv", "semicolons and its numbers have decimal commas"),
        ("tab.tsv", "tabs"),
        ("utf16.csv", "UTF-16"),
        ("latin.csv", "byte 0xfc in line 2"),
        ("missing.csv", "the cell is empty"),
        ("thousands.csv", "separators of thousands"),
        ("units.csv", "write the number alone"),
        ("case.csv", "names are in small letters"),
        ("bom.csv", None),
    ],
)
def test_given_tables_are_read_or_refused_by_what_they_are(name, words, capsys):
    assert main(["rank", f"table={CASES / name}"]) == (0 if words is None else 2)
    assert words is None or words in capsys.readouterr().err


def test_a_binary_file_is_refused(tmp_path, capsys):
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\xff\x00")
    assert main(["rank", f"table={tmp_path / 't.csv'}"]) == 2
    assert "not a CSV file in UTF-8" in capsys.readouterr().err


def test_trials_that_came_to_no_result_are_left_out(tmp_path, capsys):
    """A run's own trials.csv holds rejected and failed rows, whose cells are empty."""
    header = "method,state,psnr_db,runtime_ms,params_m,flops_g\n"
    lines = ["A,complete,26.92,5.24,0.139,9.11\n", "B,rejected,,,0.2,9\n", "C,failed,,3.1,0.2,9\n"]
    assert list(ranked(tmp_path, header + "".join(lines))) == ["A"]
    assert "2 rows are left out: their state is not complete" in capsys.readouterr().out
    (tmp_path / "none.csv").write_text(header + lines[1])
    assert main(["rank", f"table={tmp_path / 'none.csv'}"]) == 2
    assert "none of its 1 rows has the state complete" in capsys.readouterr().err
