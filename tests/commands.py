"""A command run in a test, and what it must say."""

import pytest
import yaml

from glcm_mae.cli import main

NEEDED = ["--data.images", "nowhere", "--out", "out"]
IMAGES = ["--data.image_size=32", "--data.folds=3"]
MODEL = ["--model.embed_dim=32", "--model.depth=2", "--model.num_heads=2", "--model.patch_size=8"]
DECODER = [f"--model.decoder_{n}" for n in ("embed_dim=32", "depth=1", "num_heads=2")]
TRAINING = [f"--optimizer.{n}" for n in ("epochs=2", "batch_size=16", "base_lr=1e-3")]
TINY = {
    "pretrain": [*IMAGES, *MODEL, *DECODER, *TRAINING],
    "finetune": [*IMAGES, *MODEL, *TRAINING],
    "probe": [*IMAGES, *MODEL],
    "reconstruct": IMAGES,
}


def complaint(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must be refused: one sentence on stderr, code 2. Return the sentence."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    sentence = err.splitlines()[-1]  # before it there may be progress
    assert err.count("glcm-mae: ") == 1
    assert sentence.startswith("glcm-mae: ")
    return sentence.removeprefix("glcm-mae: ")


def printed_config(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """Ask for the settings that a command would use."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words), "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)
