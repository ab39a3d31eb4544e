"""The recipes of the paper's four studies, and the page that explains them."""

import importlib
import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest

from glcm_mae.arguments import parse
from glcm_mae.data.layouts import read_layout
from glcm_mae.data.listing import build_manifest
from glcm_mae.study.arms import read_arms

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
STUDIES = ("gbcu", "busi", "pneumonia", "covid_ct")
STAGES = ("pretrain", "probe", "finetune")


def settings_of(command, study):
    images = "--images" if command == "compare" else "--data.images"
    return parse([command, images, "images", "--out", "out", "--config", f"studies/{study}"])[1]


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1], encoding="utf-8")
    return path


def test_there_is_a_recipe_for_each_of_the_papers_sets():
    found = {entry.name for entry in (files("glcm_mae") / "recipes" / "studies").iterdir()}
    assert {f"{study}.yaml" for study in STUDIES} == found


@pytest.mark.parametrize("study", STUDIES)
def test_all_stages_see_the_same_images_with_the_same_encoder(study):
    stages = [settings_of(stage, study) for stage in STAGES]
    assert all(stage.data == stages[0].data for stage in stages)
    assert all(stage.model == stages[0].model for stage in stages)
    assert (stages[0].model.size, stages[0].data.image_size) == ("vit-b", 224)


@pytest.mark.parametrize("study", STUDIES)
def test_the_study_trains_as_the_release(study):
    pretrain, finetune = settings_of("pretrain", study), settings_of("finetune", study)
    assert (pretrain.optimizer.epochs, finetune.optimizer.epochs) == (400, 100)
    assert pretrain.mask_ratio == 0.75
    assert pretrain.augment.crop_scale == (1.0, 1.0)
    assert finetune.patience >= finetune.optimizer.epochs  # never stopped early


@pytest.mark.parametrize("study", STUDIES)
def test_arms_differ_in_their_objective_alone(study, mine):
    compare = settings_of("compare", study)
    assert compare.protocol == "leak_free"
    arms = {
        arm.name: arm
        for arm in read_arms(compare.arms, [f"studies/{study}", str(mine)], compare.by)
    }
    assert compare.reference in arms
    assert arms["random"].pretrain is None
    paper, mse = arms["paper"].pretrain, arms["mse"].pretrain
    assert paper.init == mse.init == arms["init"].encoder == "mae_pretrain_vit_base_full.pth"
    assert paper.optimizer == mse.optimizer == settings_of("pretrain", study).optimizer
    weights = [(a.objective.mse, a.objective.ssim, a.objective.glcm) for a in (paper, mse)]
    assert weights == [(0.1, 1.0, 1.0), (1.0, 0.0, 0.0)]
    assert paper.objective.mse_first * paper.optimizer.epochs == 200
    assert (paper.objective.texture.levels, paper.objective.texture.kernel) == (256, "sigmoid")


def test_the_arm_and_the_recipe_named_paper_have_one_loss():
    words = ["pretrain", "--data.images", "images", "--out", "out", "--config"]
    arm, recipe = parse([*words, "arms/paper"])[1], parse([*words, "paper"])[1]
    assert arm.objective == recipe.objective


def test_the_positive_class_is_one_of_the_layouts(tmp_path):
    busi = tmp_path / "busi"
    for name in ("benign", "malignant", "normal"):
        (busi / name).mkdir(parents=True)
        (busi / name / f"{name} (1).png").touch()
    gbcu = tmp_path / "gbcu"
    (gbcu / "imgs").mkdir(parents=True)
    for i in range(3):
        (gbcu / "imgs" / f"im{i}.jpg").touch()
    (gbcu / "train.txt").write_text("im0.jpg,0\nim1.jpg,1\n", encoding="utf-8")
    (gbcu / "test.txt").write_text("im2.jpg,2\n", encoding="utf-8")
    chest = tmp_path / "chest"
    for name, file in (("NORMAL", "IM-0001-0001.jpeg"), ("PNEUMONIA", "person1_virus_1.jpeg")):
        (chest / name).mkdir(parents=True)
        (chest / name / file).touch()
    covid = tmp_path / "covid"
    for name in ("COVID", "NonCOVID"):
        (covid / "Images-processed" / f"CT_{name}").mkdir(parents=True)
        (covid / "Images-processed" / f"CT_{name}" / "a.png").touch()
        (covid / "Data-split" / name).mkdir(parents=True)
        for side in ("train", "val", "test"):
            listed = covid / "Data-split" / name / f"{side}CT_{name}.txt"
            listed.write_text("a.png\n" if side == "train" else "", encoding="utf-8")
    layouts = (busi, "busi"), (gbcu, "gbcu"), (chest, "pneumonia"), (covid, "covid_ct")
    for folder, study in layouts:
        layout = "chest_xray" if study == "pneumonia" else study
        assert settings_of("compare", study).positive in read_layout(folder, layout).classes


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(glcm_mae(?:\.\w+)+)`", PAGE))))
def test_the_page_names_code_that_exists(name):
    module, found = name, None
    while found is None:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            module = module.rpartition(".")[0]
            assert module, f"{name} is nowhere"
    for part in name[len(module) + 1 :].split("."):
        found = getattr(found, part) if part else found


def test_the_page_names_files_that_exist():
    named = re.findall(r"`((?:src|recipes)/[^`]+)`", PAGE)
    linked = re.findall(r"\]\((\w+\.md)\)", PAGE)
    assert named
    assert linked
    for path in named:
        assert (ROOT / (path if path.startswith("src/") else f"src/glcm_mae/{path}")).exists(), path
    for path in linked:
        assert (ROOT / "docs" / path).is_file(), path


def test_the_pages_commands_are_commands(mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    commands = re.findall(r"`glcm-mae ([^`]+ --out [^`]+)`", PAGE)
    assert len(commands) == 3 * len(STUDIES)
    for command in commands:
        parse(shlex.split(command))


def test_the_pages_scale_of_the_release_follows_from_imagenets_moments():
    red_black, blue_white = (0 - 0.485) / 0.229, (1 - 0.406) / 0.225
    red_white = (1 - 0.485) / 0.229
    ends = [f"{value:.3f}" for value in (red_black, red_white, blue_white)]
    assert f"from {ends[0]} to {ends[1]}" in PAGE
    assert ends[2] in PAGE
    assert f"{0.485 + 0.229 * blue_white:.4f}" in PAGE


def test_the_pattern_for_covid_ct_md_finds_class_and_patient(tmp_path):
    [pattern] = re.findall(r"data manifest COVID-CT-MD --pattern '([^']+)'", PAGE)
    found = {
        "COVID-19 Cases/P001/IM0001.dcm": ("COVID", "P001"),
        "Cap Cases/cap001/IM0002.dcm": ("Cap", "cap001"),
        "Normal Cases/normal012/IM0003.dcm": ("Normal", "normal012"),
    }
    for place in found:
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    manifest, _ = build_manifest(tmp_path, tmp_path / "covid.csv", pattern=pattern)
    assert {
        record.path.relative_to(tmp_path).as_posix(): (record.label, record.patient)
        for record in manifest.records
    } == found
