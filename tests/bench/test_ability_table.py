"""The table of what models can do: every row for every arm, with the names and numbers of `nanokimi evaluate`."""

import json
import re
from dataclasses import asdict, replace

import pytest

from lab_utils.bench import report
from lab_utils.bench.ability_table import BELOW, NOT_MEASURED, ability_table
from lab_utils.bench.results import ResultsError, from_json, run_folder, to_json
from nanokimi.cli.commands import run_command
from nanokimi.config import to_dict
from tests.bench.conftest import FEW
from tests.bench.made_up_results import three_seeds


def say(cell: tuple[str, ...], name: str) -> str:
    """The name of a row as `nanokimi evaluate` writes it, with how many the number in `cell` is a share of."""
    of = [line for line in cell[1:] if line.startswith("of ")]
    return ", ".join([name, *of])


@pytest.mark.parametrize("column, arm", [(1, "gpt"), (2, "kimi")])
def test_names_and_numbers_are_those_of_nanokimi_evaluate(column, arm, whole, trained, capsys):
    plan, _, _, out = trained
    table = ability_table(whole[0])
    sets = [f"--set=data.{name}={value}" for name, value in to_dict(plan.data).items() if value is not None]
    words = [f"--checkpoint={run_folder(out, arm, 0)}", f"--samples={FEW}", "--data=storyworld", *sets]
    assert run_command(["evaluate", *words]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == len(table.cells) > 20
    for line, cells in zip(lines, table.cells):
        cell = cells[column]
        shown = rf"{re.escape(say(cell, cells[0][0]))} +{re.escape(cell[0])}( |$)"
        assert re.match(shown, line), (line, cells)
        for beside in (cells[-2][0], cells[-1][0], *(each for each in cell[1:] if "nats" in each)):
            assert beside in line or beside in (BELOW, "–"), (line, cells)
        for each in cell[1:]:
            assert each.split()[-1] in line or "nats" in each, (line, cells)


def test_no_cell_is_blank_and_an_arm_that_is_not_measured_says_so(whole):
    found = whole[0]
    cells = ability_table(found).cells
    assert all(line.strip() for row in cells for cell in row for line in cell[:1])
    assert not any(NOT_MEASURED in cell for row in cells for cell in row)
    one = replace(found, abilities={"gpt": found.abilities["gpt"]}, unmeasured={"kimi": "<no> luck"})
    cells = ability_table(one).cells
    assert {row[2] for row in cells} == {(NOT_MEASURED,)}
    assert not any(BELOW in cell for row in cells for cell in row)  # one number beside is one for all


def test_the_report_has_every_row_for_both_arms(whole, tmp_path):
    found = replace(whole[0], unmeasured={"kimi": "<no> luck"})
    html = report.render(found, tmp_path)
    section = html[html.index("<h2>What the models can do</h2>") :].partition("<h2>Why")[0]
    for row in ability_table(found).cells:
        assert f'<th scope="row">{row[0][0]}</th>' in section
        for cell in row[1:]:
            assert f"<td>{cell[0]}" in section or f'<td style="text-align:left">{cell[0]}' in section
    assert "kimi is not measured: &lt;no&gt; luck." in section


def test_of_many_seeds_the_first_one_is_said(whole):
    found = whole[0]
    caption = ability_table(found).caption
    n = found.abilities["gpt"].samples.n
    assert caption == f"the last checkpoint of seed 0; {n} texts written from seed 0"
    assert "seed 0, the first of 3 seeds;" in ability_table(replace(found, seeds=(0, 1, 2))).caption


def test_what_a_text_does_not_have_is_said(whole):
    bare = dict(facts=None, copying=None, grammar=None, left_out=("no facts here",))
    abilities = {name: replace(each, **bare) for name, each in whole[0].abilities.items()}
    table = ability_table(replace(whole[0], abilities=abilities))
    assert table.caption.endswith("; no facts here")
    assert not any("facts" in row[0][0] for row in table.cells) and len(table.cells) >= 6


def test_nothing_measured_is_no_table(tmp_path):
    assert ability_table(three_seeds()) is None
    assert "What the models can do" not in report.render(three_seeds(), tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d["gpt"]["samples"].update(n=0), "samples.n=0 must be 1 or more"),
        (lambda d: d["gpt"]["evaluation"].update(n_tokens=0), "evaluation.n_tokens=0 must be 1 or more"),
        (lambda d: d["gpt"]["facts"]["all"].update(known=2.0), "all.known=2.0 must be 1"),
        (lambda d: d["gpt"].pop("samples"), "samples is missing"),
        (lambda d: d.update(gpd=d.pop("gpt")), "abilities are of arm 'gpd', which is not among arms"),
    ],
)
def test_abilities_that_cannot_be_are_refused_in_one_line(change, message, whole):
    data = json.loads(json.dumps(to_json(whole[0])))
    assert data["abilities"]["gpt"] == json.loads(json.dumps(asdict(whole[0].abilities["gpt"])))
    change(data["abilities"])
    with pytest.raises(ResultsError) as refused:
        from_json(data)
    assert message in str(refused.value) and "\n" not in str(refused.value)
