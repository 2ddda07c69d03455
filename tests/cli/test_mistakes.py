"""Every mistake on the command line is one line that says what is wrong, and nothing is written."""

from pathlib import Path

import pytest

from nanokimi import checkpoint
from tests.cli.conftest import SMALL

BAD = {
    "unknown preset": (["train", "--model=kimi-tny"], "did you mean kimi-tiny?"),
    "unknown field": (["train", "--set=model.n_layer=3"], "did you mean n_layers?"),
    "unknown section": (["train", "--set=modl.n_layers=3"], "data.name=value, model.name=value or train.name=value"),
    "no section": (["train", "--set=batch_size=3"], "'batch_size=3' lacks its section: say --set 'train.batch_size=3'"),
    "no section, inside one": (["train", "--set=optim.lr=3"], "say --set 'train.optim.lr=3'"),
    "no section, in two": (["train", "--set=seed=3"], "say --set 'data.seed=3' or --set 'train.seed=3'"),
    "not of this command": (["prepare", "--set=batch_size=3"], "--set 'batch_size=3' must look like data.name=value"),
    "no value": (["train", "--set=train.steps"], "--set 'train.steps' must look like data.name=value, "),
    "no name": (["train", "--set=train.=3"], "--set 'train.=3' must look like train.name=value"),
    "no name in a section": (["train", "--set=train.optim.=3"], "'train.optim.=3' must look like train.name=value"),
    "an empty value": (["train", "--set=train.steps="], "'train.steps=': steps is empty: it must be a whole number"),
    "a number of Python's": (["train", "--set=train.steps=1_0"], "steps='1_0' must be a whole number"),
    "a number of another script": (["generate", "--checkpoint=a", "--top-k=٣"], "'--top-k': '٣' must be a whole"),
    "a word for compile": (["generate", "--checkpoint=a", "--compile=yes"], "--compile='yes' must be auto, on or off"),
    "a number with a line": (["generate", "--checkpoint=a", "--top-p=0_1"], "'--top-p': '0_1' must be a number"),
    "no number": (["generate", "--checkpoint=a", "--temperature=warm"], "'--temperature': 'warm' must be a number"),
    "no temperature": (["generate", "--checkpoint=a", "--temperature=-1"], "--temperature=-1.0 must be 0 (greedy)"),
    "no top_k": (["generate", "--checkpoint=a", "--top-k=0"], "nanokimi: --top-k=0 must be a whole number of at least"),
    "no new tokens": (["generate", "--checkpoint=a", "--max-new-tokens=0"], "nanokimi: --max-new-tokens=0 must be"),
    "half a letter": (["generate", "--checkpoint=a", "--prompt=\udcff"], "--prompt '\\udcff' is not UTF-8; write it"),
    "letters that the locale lacks": (["generate", "--checkpoint=a", "--prompt=\udcc3\udcbc"], "'ü' has letters that"),
    "a folder that is not UTF-8": (["train", "--out=\udcff"], "\\udcff' is not UTF-8; name another"),
    "a folder that the locale lacks": (["train", "--out=\udcc3\udcbc"], "/ü' has letters that the locale of this term"),
    "a setting that the locale lacks": (["train", "--set=data.cache_dir=\udcc3\udcbc"], "=ü' has letters that"),
    "an empty cache": (["prepare", "--set=data.cache_dir=''"], "cache_dir='' must name a folder"),
    "a text of a letter": (["prepare", "--data={letter}"], "0 of the 2 tokens that are the least; give more text"),
    "a value of --set": (["train", "--set=train.steps=0"], "nanokimi: --set 'train.steps=0': steps=0"),
    "a value of --set in the text": (["prepare", "--set=data.seed=x"], "nanokimi: --set 'data.seed=x': seed='x'"),
    "a file of the text": (["prepare", "--data={text_yaml}"], "text_yaml.yaml: sed is not a setting"),
    "a training as model": (["train", "--model=train-tiny"], "train-tiny is a training preset; model presets are"),
    "a model as training": (["train", "--train=gpt-tiny"], "gpt-tiny is a model preset; training presets are"),
    "empty --out": (["train", "--out="], "'--out': '' must name a folder"),
    "empty --out to resume": (["train", "--resume", "--out= "], "'--out': ' ' must name a folder"),
    "empty --checkpoint": (["generate", "--checkpoint="], "'--checkpoint': '' must name a folder"),
    "empty --to": (["export", "--checkpoint=a", "--to="], "'--to': '' must name a folder"),
    "empty --data": (["prepare", "--data="], "--data: source is empty"),
    "empty --data to train": (["train", "--data="], "--data: source is empty"),
    "empty --model": (["train", "--model="], "preset '' does not exist"),
    "empty --train": (["train", "--train="], "preset '' does not exist"),
    "empty --device": (["train", "--device="], "device='' must be"),
    "wrong type": (["train", "--set=model.n_layers=three"], "n_layers='three'"),
    "indivisible heads": (["train", "--model=gpt-tiny", "--set=model.n_heads=3"], "n_heads=3"),
    "top_k above the experts": (["train", "--set=model.top_k=17"], "top_k=17 must lie in 1..n_routed_experts=16"),
    "context too short": (["train", "--data={text}", "--set=model.max_seq_len=8"], "max_seq_len=8"),
    "missing text": (["train", "--data=nowhere.txt"], "--data='nowhere.txt': no such file or folder"),
    "empty text": (["train", "--data={empty}"], "empty.txt"),
    "text not UTF-8": (["train", "--data={latin}"], "latin.txt"),
    "text too short": (["train", "--data={short}"], "short.txt"),
    "no CUDA": (["train", "--device=cuda"], "device=cuda"),
    "unknown device": (["train", "--device=tpu"], "device='tpu'"),
    "missing checkpoint": (["generate", "--checkpoint=nowhere"], "no checkpoint in 'nowhere'"),
    "nothing to resume": (["train", "--resume", "--out=nowhere"], "nothing to resume in 'nowhere'"),
    "unknown option": (["train", "--modle=x"], "--modle"),
    "unknown command": (["trian"], "train"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(case: str, run, text: Path, tmp_path: Path) -> None:
    files = {"text": text}
    contents = {"empty": b"", "latin": b"caf\xe9 " * 2000, "short": b"Hello there.", "letter": b"a"}
    for name, content in contents.items():
        files[name] = tmp_path / f"{name}.txt"
        files[name].write_bytes(content)
    files["text_yaml"] = tmp_path / "text_yaml.yaml"
    files["text_yaml"].write_text("sed: 3")
    before = sorted(tmp_path.iterdir())
    arguments, expected = BAD[case]
    code, out, err = run(*(a.format(**files) for a in arguments))
    assert code == 2 and out == ""
    # A progress bar may have been drawn and wiped before the text turned out to be bad.
    message = err.replace("\r", "\n").strip().splitlines()[-1]
    assert message.startswith("nanokimi: ") and expected in message
    assert "Traceback" not in err
    after = [p for p in sorted(tmp_path.iterdir()) if p.name != "cache"]
    assert after == before


def test_damaged_checkpoint_is_named(run, text: Path) -> None:
    assert run("train", *SMALL, f"--data={text}", "--out=out/a")[0] == 0
    newest = checkpoint.find_newest(Path("out/a"))
    weights = newest / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code, _, err = run("generate", f"--checkpoint={newest}")
    assert code == 2 and "model.safetensors is damaged" in err and err.count("\n") == 1
