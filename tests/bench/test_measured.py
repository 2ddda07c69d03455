"""What models can do, measured after a benchmark's trainings: once per arm, kept with the results, told where not."""

import json
from dataclasses import replace

import pytest

from lab_utils.bench import measured, report
from lab_utils.bench.measured import explain_rest, list_measurable, measure_rest
from lab_utils.bench.plan import make_plan
from lab_utils.bench.results import read_results, run_folder
from nanokimi.abilities.report import measure_abilities
from nanokimi.checkpoint import load_checkpoint
from nanokimi.text.corpus import load_corpus
from tests.bench.conftest import FEW
from tests.bench.made_up_results import three_seeds
from tests.bench.makers import train_briefly
from tests.cli.conftest import write_tales


@pytest.fixture
def count(monkeypatch):
    """The names of the arms that are measured from now on, as they come."""
    names, real = [], measured.measure

    def note(asked, *rest):
        names.append(asked.run.arm)
        return real(asked, *rest)

    monkeypatch.setattr(measured, "measure", note)
    return names


def test_each_arm_is_measured_and_kept_in_turn(whole, trained):
    plan, text, results, out = trained
    found, kept, told = whole
    assert [list(each.abilities) for each in kept] == [["gpt"], ["gpt", "kimi"]] and found == kept[-1]
    assert found.unmeasured == {} and replace(found, abilities={}) == results
    assert [line for line in told if ":" not in line] == ["what gpt can do", "what kimi can do"]
    for name in ("gpt", "kimi"):
        loaded = load_checkpoint(run_folder(out, name, 0))
        assert found.abilities[name].evaluation.loss == results.run(name, 0).final.loss
        again = measure_abilities(loaded.model.eval(), text, plan.data, loaded.train, FEW)
        assert found.abilities[name] == again
    assert found.abilities["gpt"] != found.abilities["kimi"]


def test_abilities_survive_the_file(whole, tmp_path):
    report.write_results(whole[0], tmp_path)
    assert read_results(tmp_path / "results.json") == whole[0]


def test_after_a_kill_only_what_lacks_is_measured(whole, trained, count, capsys):
    plan, text, results, out = trained

    def die(found):
        report.write_results(found, out)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_rest(results, plan.data, text, out, die, lambda _: None)
    assert list(read_results(out / "results.json").abilities) == count == ["gpt"]
    assert report.main([str(out)]) == 0
    assert count == ["gpt", "kimi"] and "what kimi can do" in capsys.readouterr().err
    assert read_results(out / "results.json") == whole[0]
    assert report.main([str(out)]) == 0
    assert count == ["gpt", "kimi"] and capsys.readouterr().err == ""


def test_progress_is_told_while_it_works(trained, monkeypatch):
    plan, text, results, out = trained
    monkeypatch.setattr(measured, "LINE_EVERY_SECONDS", 0.0)
    told = []
    measure_rest(replace(results, arms={"gpt": results.arms["gpt"]}), plan.data, text, out, id, told.append)
    assert "what gpt can do: facts, 100%" in told
    assert {line.split()[4].rstrip(",") for line in told[1:]} >= {"loss", "facts", "writing", "grammar"}


def test_a_job_gives_the_same(whole, trained):
    plan, _, results, out = trained
    job = list_measurable(results, plan.data, out)["kimi"]
    assert job() == whole[0].abilities["kimi"]
    assert list(list_measurable(whole[0], plan.data, out)) == []


def test_a_folder_of_old_without_checkpoints_still_gives_its_report(tmp_path, capsys):
    report.write_report(three_seeds(), tmp_path)
    data = json.loads((tmp_path / "results.json").read_text())
    del data["abilities"], data["unmeasured"]
    (tmp_path / "results.json").write_text(json.dumps(data))
    assert report.main([str(tmp_path)]) == 0 and capsys.readouterr().err == ""
    assert "What the models can do" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert read_results(tmp_path / "results.json") == three_seeds()


def test_another_training_or_another_text_is_told_and_the_other_arm_stands(trained, whole, tmp_path):
    plan, text, results, out = trained
    kimi, gpt = results.run("kimi", 0), results.run("gpt", 0)
    other = replace(kimi, points=(*kimi.points[:-1], replace(kimi.final, loss=kimi.final.loss + 0.1)))
    found = measure_rest(replace(results, runs=(gpt, other)), plan.data, text, out, id, id)
    assert list(found.abilities) == ["gpt"] and "holds another training than the results" in str(found)
    text = load_corpus(replace(plan.data, n_stories=500))
    found = measure_rest(results, plan.data, text, out, id, id)
    assert found.abilities == {} and set(found.unmeasured) == {"gpt", "kimi"}
    assert found.unmeasured["kimi"].endswith("is not the text of the training")
    again = measure_rest(found, plan.data, trained[1], out, id, id)  # a reason of yesterday stops nothing
    assert again == whole[0]


def test_without_memory_the_reason_is_told_and_a_mistake_of_ours_is_raised(trained, monkeypatch):
    plan, text, results, out = trained

    def fail(error):
        monkeypatch.setattr(measured, "measure_abilities", lambda *_, **__: (_ for _ in ()).throw(error))
        return measure_rest(results, plan.data, text, out, id, id)

    shortage = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    assert fail(shortage).unmeasured["gpt"] == str(shortage)
    with pytest.raises(RuntimeError, match="ours"):
        fail(RuntimeError("ours"))


def test_what_was_never_trained_to_its_end_says_so():
    made = three_seeds()
    runs = tuple(run for run in made.runs if run.arm == "gpt")
    assert explain_rest(replace(made, runs=runs)).unmeasured == {
        "gpt": "the checkpoint of seed 0 is not there",
        "kimi": "its training with seed 0 did not finish",
    }
    kimi = next(run for run in made.runs if run.arm == "kimi")
    runs = (*runs, replace(kimi, points=(), diverged_at=17))
    why = explain_rest(replace(made, runs=runs)).unmeasured["kimi"]
    assert why == "its training with seed 0 diverged at step 17"


def test_a_text_of_ones_own_has_what_any_text_has(tmp_path, monkeypatch, trained):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = make_plan("smoke", "gpt", data=str(write_tales(tmp_path)))
    text = load_corpus(plan.data, seq_len=64)
    plan, results = train_briefly(plan.with_vocabulary_of(text), text, tmp_path / "out")
    found = measure_rest(results, plan.data, text, tmp_path / "out", id, id)
    gpt = found.abilities["gpt"]
    assert (gpt.facts, gpt.copying, gpt.grammar) == (None, None, None) and gpt.samples.n > 0
    report.write_report(results, tmp_path / "out")
    assert report.main([str(tmp_path / "out")]) == 0  # who has the folder only has no such text
    why = read_results(tmp_path / "out" / "results.json").unmeasured["gpt"]
    assert why == "its text, 'tales.txt', is not made on this machine"
    assert f"gpt is not measured: {why}." in (tmp_path / "out" / "report.html").read_text().replace(
        "&#x27;", "'"
    )
