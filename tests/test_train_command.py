"""The recording command: rows as they come, a header that says how, and nothing trained twice."""

import csv
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

from attn_lessons import train
from attn_lessons.models import trained
from attn_lessons.train import command as command_line
from attn_lessons.train import drawings, networks, sets
from attn_lessons.train.drawings import draw_findings
from attn_lessons.train.findings import findings
from attn_lessons.training import RECIPES, evaluate, recorded, recording
from attn_lessons.training.log import alone_in, alone_with


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(sets, "GLYPHWORLD_TRAIN", 8)
    monkeypatch.setattr(sets, "GLYPHWORLD_TEST", 5)
    monkeypatch.setattr(drawings, "draw_findings", lambda *_: None)  # which takes as long as everything else
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, epochs=1, batch_size=4))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def command(monkeypatch):
    """Calls the command as the shell would; returns the rows of `out` and its header."""

    def call(out: Path, *words: object):
        arguments = [*map(str, words), "--threads", "1", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        train.main(arguments)
        with open(out, newline="") as file:
            return list(csv.DictReader(file)), json.loads(out.with_suffix(".json").read_text())

    return call


def draw(folder: Path, n: int, classes: int = 2) -> Path:
    """`n` images of noise in each class, as PNG files of 20×24 pixels; other ones in a folder of another name."""
    for name in range(classes):
        (folder / f"class{name:02}").mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng([len(folder.name), name, i]).integers(0, 256, (24, 20, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"class{name:02}" / f"{i}.png")
    return folder


GLYPHS = ("sweep", "--data", "key", "lookup", "--attention", "none", "se", "deep", "--seeds", 2)


def in_any_order(rows: list[dict]) -> list[tuple]:
    return sorted(tuple(value for name, value in row.items() if name != "seconds") for row in rows)


@pytest.fixture
def photographs(tmp_path) -> tuple:
    folders = "--train", draw(tmp_path / "train", 6), "--test", draw(tmp_path / "test", 2)
    return "sweep", *folders, "--name", "Noise, small", "--epochs", 1, "--reduction", 16


# ------------------------------------------------------------------------------------------ GlyphWorld
def test_glyphworld_writes_a_row_per_run(tmp_path, command):
    rows, header = command(tmp_path / "new" / "glyphs.csv", *GLYPHS)
    assert [(row["data"], row["seed"], row["variant"]) for row in rows] == [
        (puzzle, seed, variant)
        for seed in ("0", "1")  # all puzzles of one seed first
        for puzzle in ("key", "lookup")
        for variant in ("none", "se", "deep")
    ]
    assert list(rows[0]) == [
        *("data", "variant", "seed", "accuracy", "train_accuracy", "parameters", "seconds"),
        *("cam_on_target", "chance", "gates_on_target"),
    ]
    assert all(float(row["accuracy"]) * 5 == pytest.approx(round(float(row["accuracy"]) * 5)) for row in rows)
    plain, se, far = (int(row["parameters"]) for row in rows[:3])
    assert plain < se < far
    assert header["recipe"]["epochs"] == 1 and header["seeds"] == 2 and header["threads"] == 1
    assert {"command", "date", "hardware", "versions"} <= set(header)


def test_rows_say_where_the_network_looks(tmp_path, command):
    words = "sweep", "--data", "key", "--attention", "none", "se", "cbam", "ca", "--seeds", 1
    rows, _ = command(tmp_path / "glyphs.csv", *words)
    for row in rows:
        assert 0 < float(row["chance"]) < 1 and 0 <= float(row["cam_on_target"]) <= 1
        if row["variant"] in ("cbam", "ca"):
            assert 0 <= float(row["gates_on_target"]) <= 1
        else:
            assert row["gates_on_target"] == ""  # they have no spatial gate
    assert len({row["chance"] for row in rows}) == 1  # the same images on the same grid


def test_other_columns_are_another_recording(tmp_path, command):
    out = tmp_path / "glyphs.csv"
    command(out, *GLYPHS[:3], "--seeds", 1)
    before = out.read_text().replace("seconds", "hours")
    out.write_text(before)
    with pytest.raises(ValueError, match="has other columns"):
        command(out, *GLYPHS[:3], "--seeds", 2)
    assert out.read_text() == before


def test_called_again_it_adds_nothing(tmp_path, command):
    rows, _ = command(tmp_path / "glyphs.csv", *GLYPHS[:3], "--seeds", 1)
    before = (tmp_path / "glyphs.csv").read_bytes()
    assert len(rows) == 2
    command(tmp_path / "glyphs.csv", *GLYPHS[:3], "--seeds", 1)
    assert (tmp_path / "glyphs.csv").read_bytes() == before


def test_an_interrupted_file_is_continued_with_what_is_missing(tmp_path, command, monkeypatch):
    out = tmp_path / "glyphs.csv"
    whole, _ = command(out, *GLYPHS[:3], "--seeds", 2)
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:2] + lines[4:]))  # without "se, seed 0" and "none, seed 1"
    trained, once = [], recording.train_once

    def spy(build, dataset, test, recipe, seed):
        trained.append(seed)
        return once(build, dataset, test, recipe, seed)

    monkeypatch.setattr(recording, "train_once", spy)
    continued, _ = command(out, *GLYPHS[:3], "--seeds", 2)
    assert trained == [0, 1]
    assert in_any_order(continued) == in_any_order(whole)


def test_rows_are_on_the_disk_before_a_run_dies(tmp_path, command, monkeypatch):
    out, once = tmp_path / "glyphs.csv", recording.train_once

    def dies(build, dataset, test, recipe, seed):
        if seed == 1:
            raise KeyboardInterrupt
        return once(build, dataset, test, recipe, seed)

    monkeypatch.setattr(recording, "train_once", dies)
    with pytest.raises(KeyboardInterrupt, match=r"glyphs\.csv keeps the rows of the runs that have ended; the same"):
        command(out, *GLYPHS[:3], "--seeds", 2)
    assert [row.split(",")[:3] for row in out.read_text().split()[1:]] == [["key", "none", "0"], ["key", "se", "0"]]


def test_more_seeds_keep_the_rows_that_are_there(tmp_path, command):
    first, _ = command(tmp_path / "glyphs.csv", *GLYPHS[:3], "--seeds", 1)
    more, header = command(tmp_path / "glyphs.csv", *GLYPHS[:3], "--seeds", 2)
    assert more[:2] == first and [row["seed"] for row in more] == ["0", "0", "1", "1"] and header["seeds"] == 2


# ------------------------------------------------------------------------------------------ one table, one header
def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_one_table_has_one_header_whatever_the_ending_that_was_typed(tmp_path, command):
    """`--out x` used to replace x.json, and 1-epoch rows got into a table of 2-epoch ones."""
    key = "sweep", "--data", "key", "--attention", "none"
    command(tmp_path / "x.csv", *key, "--epochs", 2, "--seeds", 1)
    before = contents(tmp_path)
    for name, seeds in (("x", 1), ("x.csv", 2)):
        with pytest.raises(ValueError, match=r"x\.csv was recorded with epochs 2, and this one has 1"):
            train.main([*key, "--epochs", "1", "--seeds", str(seeds), "--threads", "1", "--out", str(tmp_path / name)])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["{}", '{"recipe": {}}', "no JSON"])
def test_a_json_of_something_else_is_not_replaced(text, tmp_path):
    (tmp_path / "package.json").write_text(text)
    with pytest.raises(ValueError, match=r"package\.\w+ (was recorded without|does not say how)"):
        train.main([*map(str, GLYPHS), "--threads", "1", "--out", str(tmp_path / "package.csv")])
    assert contents(tmp_path) == {"package.json": text.encode()}


def test_a_table_whose_header_is_gone_is_refused(tmp_path, command):
    command(tmp_path / "x.csv", *GLYPHS[:3], "--seeds", 1)
    (tmp_path / "x.json").unlink()
    with pytest.raises(ValueError, match=r"x\.json does not say how x\.csv was made"):
        train.main([*map(str, GLYPHS[:3]), "--seeds", "1", "--threads", "1", "--out", str(tmp_path / "x.csv")])


def test_two_sweeps_never_write_into_one_table(tmp_path):
    with (
        alone_with(tmp_path / ".x.csv.lock", "x.csv"),
        pytest.raises(ValueError, match=r"x\.csv is in use, another process"),
    ):
        train.main([*map(str, GLYPHS), "--threads", "1", "--out", str(tmp_path / "x.csv")])
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------ what was found
def test_a_sweep_ends_with_intervals_and_a_picture(tmp_path, command, capsys, monkeypatch):
    monkeypatch.setattr(drawings, "draw_findings", draw_findings)
    command(tmp_path / "x.csv", *GLYPHS[:3], "key", "frames", "--attention", "none", "se", "--seeds", 2)
    said = capsys.readouterr().out
    assert "2 variants × 2 seeds × 2 set(s) of 8 images: 1 epochs with 4 images a step" in said
    assert " gain_low " in said and str(tmp_path / "x_summary.png") in said
    with Image.open(tmp_path / "x_summary.png") as picture:
        assert picture.format == "PNG" and "95 % intervals" in picture.text["Description"]


def test_one_seed_has_no_interval_and_no_picture(tmp_path, command, capsys):
    command(tmp_path / "x.csv", *GLYPHS[:3], "--seeds", 1)
    assert "One seed says nothing about luck" in capsys.readouterr().out and not list(tmp_path.glob("*.png"))


def test_findings_are_those_of_scipy():
    accuracy = {"none": [0.50, 0.60, 0.55], "se": [0.52, 0.64, 0.61]}
    rows = [
        {"data": "x", "variant": name, "seed": i, "accuracy": a}
        for name, of in accuracy.items()
        for i, a in enumerate(of)
    ]
    se = findings(pd.DataFrame(rows)).iloc[1]
    mean = stats.ttest_1samp(accuracy["se"], 0).confidence_interval(0.95)
    gain = stats.ttest_1samp([0.02, 0.04, 0.06], 0).confidence_interval(0.95)
    assert [se.low, se.high, se.gain_low, se.gain_high] == pytest.approx([*mean, *gain], abs=5e-4)


# ------------------------------------------------------------------------------------------ photographs
def test_photographs_from_folders(tmp_path, command, photographs):
    rows, header = command(tmp_path / "noise.csv", *photographs, "--images", 8, "--seeds", 1)
    assert [(row["data"], row["variant"], row["seed"]) for row in rows] == [
        ("Noise, small", "none", "0"),
        ("Noise, small", "se", "0"),
    ]
    assert int(rows[1]["parameters"]) - int(rows[0]["parameters"]) == 2688
    assert header["recipe"]["augment"] == "shift_and_mirror" and header["recipe"]["schedule"] == "plateau"


def test_the_seed_chooses_the_images(tmp_path, photographs):
    _, settings = command_line.parse([*map(str, photographs), "--images", "5", "--out", str(tmp_path / "n.csv")])
    found = sets.photographs(settings)
    chosen = [found.some(settings.images, seed).train for seed in range(3)]
    assert [len(dataset) for dataset in chosen] == [5, 5, 5]
    assert not torch.equal(chosen[0].images, chosen[1].images)
    again = [found.some(settings.images, seed).train for seed in range(3)]
    assert all(torch.equal(a.images, b.images) for a, b in zip(chosen, again, strict=True))


def test_photographs_may_have_more_than_10_classes(tmp_path, command):
    folders = "--train", draw(tmp_path / "train", 1, 11), "--test", draw(tmp_path / "test", 1, 11)
    rows, _ = command(tmp_path / "n.csv", "sweep", *folders, "--name", "11", "--epochs", 1, "--seeds", 1)
    assert len(rows) == 2


def test_a_test_folder_with_other_classes_is_refused(tmp_path, command):
    folders = "--train", draw(tmp_path / "train", 4, 3), "--test", draw(tmp_path / "test", 2, 3)
    (tmp_path / "test" / "class00").rename(tmp_path / "test" / "zebra")  # every label would mean another class
    with pytest.raises(ValueError, match="class"):
        command(tmp_path / "n.csv", "sweep", *folders, "--name", "n", "--epochs", 1, "--seeds", 1)


# ------------------------------------------------------------------------------------------ the header
def test_the_header_repeats_the_command_without_where_your_files_are(tmp_path, command, photographs):
    _, header = command(tmp_path / "noise.csv", *photographs, "--images", 8, "--seeds", 1)
    assert header["command"] == (
        "python -m attn_lessons.train sweep --train train --test test --name 'Noise, small' --epochs 1 "
        "--reduction 16 --images 8 --seeds 1 --threads 1 --out noise.csv"
    )
    assert str(tmp_path) not in json.dumps(header)


def test_the_header_hides_paths_after_an_equals_sign(tmp_path, monkeypatch):
    arguments = [*map(str, GLYPHS[:3]), "--seeds=1", "--threads=1", f"--out={tmp_path / 'glyphs.csv'}"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    train.main(arguments)
    assert str(tmp_path) not in (tmp_path / "glyphs.json").read_text()


def test_the_header_holds_the_arguments_that_main_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--something-else"])
    train.main([*map(str, GLYPHS[:3]), "--threads", "1", "--seeds", "1", "--out", str(tmp_path / "glyphs.csv")])
    command = json.loads((tmp_path / "glyphs.json").read_text())["command"]
    assert command == "python -m attn_lessons.train sweep --data key --threads 1 --seeds 1 --out glyphs.csv"


def test_a_misspelt_mechanism_leaves_a_recording_as_it_was(tmp_path, command):
    _, header = command(tmp_path / "glyphs.csv", *GLYPHS[:3], "--seeds", 1)
    with pytest.raises(ValueError, match="'sse'"):
        command(tmp_path / "glyphs.csv", *GLYPHS[:3], "--attention", "sse", "--seeds", 1)
    assert json.loads((tmp_path / "glyphs.json").read_text()) == header


@pytest.mark.parametrize(("words", "says"), [(["--images", 12], "images 8"), (["--epochs", 2], "epochs 1")])
def test_rows_of_two_recipes_do_not_get_into_one_recording(words, says, tmp_path, command):
    out = tmp_path / "glyphs.csv"
    command(out, *GLYPHS[:3], "--seeds", 1)
    before = out.read_bytes(), out.with_suffix(".json").read_bytes()
    with pytest.raises(ValueError, match=rf"glyphs\.csv was recorded with {says}"):
        command(out, *GLYPHS[:3], "--seeds", 2, *words)
    assert (out.read_bytes(), out.with_suffix(".json").read_bytes()) == before


def test_all_images_and_some_of_them_are_two_recordings(tmp_path, command, photographs):
    out, words = tmp_path / "photos.csv", [*photographs, "--seeds", 1]
    command(out, *words)
    with pytest.raises(ValueError, match=r"photos\.csv was recorded with images None, and this one has 5"):
        command(out, *words, "--images", 5)


def test_other_images_of_the_same_name_are_another_recording(tmp_path, command, photographs):
    out, words = tmp_path / "photos.csv", [*photographs, "--seeds", 1]
    command(out, *words)
    path = tmp_path / "train" / "class00" / "0.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(ValueError, match=r"photos\.csv was recorded with training images '12 of Noise, small"):
        command(out, *words, "--attention", "none", "se", "eca")


@pytest.mark.parametrize("part", ["settings", "recipe"])
def test_rows_of_unknown_making_are_not_continued(part, tmp_path, command):
    out = tmp_path / "glyphs.csv"
    command(out, *GLYPHS[:3], "--seeds", 1)
    path = out.with_suffix(".json")
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != part}))
    with pytest.raises(ValueError, match=r"glyphs\.csv was recorded without a word about \w+, and this one has"):
        command(out, *GLYPHS[:3], "--seeds", 2)


def test_a_name_in_any_script_is_found_again(tmp_path, command, photographs):
    words = [word if word != "Noise, small" else "Rauschen, 32×32 · ノイズ" for word in photographs]
    first, _ = command(tmp_path / "photos.csv", *words, "--seeds", 1)
    again, _ = command(tmp_path / "photos.csv", *words, "--seeds", 1)
    assert first == again and again[0]["data"] == "Rauschen, 32×32 · ノイズ"


def test_more_images_than_there_are_is_refused(tmp_path, photographs):
    with pytest.raises(ValueError, match=r"--images 13: there are only 12 to train on"):
        train.main([*map(str, photographs), "--images", "13", "--out", str(tmp_path / "x.csv")])
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("name", ["glyphworld_gates", "glyphworld_global", "glyphworld_lookup"])
def test_the_recordings_of_the_course_can_be_continued(name, monkeypatch):
    monkeypatch.undo()  # the real recipes
    _, recorded_as = recorded(name)
    for command in recorded_as["command"].split(" && "):
        _, settings = command_line.parse(shlex.split(command)[3:])
        about = {"recipe": settings.recipe(settings.images).in_words(), "settings": settings.alike()}
        recording.must_be_made_alike(Path(__file__).parents[1] / settings.out, about)


def test_a_word_is_an_option_too():
    options = {"attention": "deformable", "position": "table", "norm": True}
    assert networks.read_variant("deformable:position=table,norm=True") == options


def test_from_a_shell_a_mistake_is_one_sentence(tmp_path):
    words = [
        sys.executable,
        "-m",
        "attn_lessons.train",
        "sweep",
        "--data",
        "key",
        "--attention",
        "sse",
        "--out",
        tmp_path / "x.csv",
    ]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 1 and done.stderr.startswith("attn_lessons.train: attention='sse' is not known")
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sweep"],
        ["sweep", "--data", "riddle", "--out", "x.csv"],
        ["sweep", "--data", "key", "cifar10", "--out", "x.csv"],
    ],
)
def test_a_wrong_command_line_writes_nothing(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        train.main(words)
    assert "usage:" in capsys.readouterr().err and not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------ VGG, and single runs
def test_a_sweep_over_vgg(tmp_path, command, photographs):
    small = "--network", "vgg11_bn", "--width", 0.0625, "--blocks", 3, 5, "--reduction", 2
    variants = "--attention", "none", "cbam", "linear:num_heads=2", "linformer:num_heads=2,landmarks=4"
    words = "sweep", *photographs[1:-2], *small, *variants, "--seeds", 1
    rows, header = command(tmp_path / "noise.csv", *words)
    assert [row["variant"] for row in rows] == list(variants[1:])
    assert "none cbam linear:num_heads=2 linformer:num_heads=2,landmarks=4" in header["command"]  # as it was typed
    assert header["recipe"]["label_smoothing"] == 0.1 and header["recipe"]["augment"] == "shift_mirror_and_cut"
    parameters = [int(row["parameters"]) for row in rows]
    assert len(set(parameters)) == 4 and min(parameters) == parameters[0]


def test_a_run_keeps_everything_and_its_weights_open_again(tmp_path, capsys, monkeypatch):
    weights = tmp_path / "results" / "networks" / "key_se.safetensors"
    words = ["run", "--data", "key", "--attention", "se", "--reduction", "8", "--folder", str(tmp_path / "run")]
    train.main([*words, "--threads", "1", "--weights", str(weights)])
    assert "GlyphWorld key" in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"batches.csv", "epochs.csv", "last.pt", "last.safetensors", "predictions.csv"}
    monkeypatch.setattr("attn_lessons.results.FOLDERS", [tmp_path / "results"])
    network, about = trained("key_se")
    test = sets.puzzle("key", 1, 0).test
    assert evaluate(network, test)["accuracy"] == pytest.approx(about["test_accuracy"], abs=1e-4)
    assert len(weights.with_suffix(".csv").read_text().splitlines()) == 2
    assert about["arguments"]["reduction"] == 8 and about["recipe"]["epochs"] == 1 and not network.training
    assert str(tmp_path) not in about["command"]
    with pytest.raises(FileNotFoundError, match="no trained network 'key_eca'; there are: key_se"):
        trained("key_eca")


def test_a_run_on_images_of_yours_with_vgg(tmp_path, photographs):
    options = "--network", "vgg11_bn", "--width", "0.0625", "--attention", "eca", "--threads", "1"
    train.main(["run", *map(str, photographs[1:-2]), *options, "--folder", str(tmp_path / "run")])
    assert len((tmp_path / "run" / "batches.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(
    "words", [[], ["--data", "key", "--train", "a", "--test", "b"], ["--data", "key", "--train", "a"], ["--test", "a"]]
)
def test_a_run_without_images_is_refused(words, capsys, tmp_path):
    with pytest.raises(SystemExit):
        train.main(["run", *words, "--folder", str(tmp_path / "run")])
    assert "either --data, or --train and, if you have one, --test" in capsys.readouterr().err


def test_a_folder_in_use_is_refused(tmp_path):
    words = ["run", "--data", "key", "--threads", "1", "--folder", str(tmp_path / "run")]
    with alone_in(tmp_path / "run"), pytest.raises(ValueError, match=r"run' is in use, another process"):
        train.main(words)
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("rate", ["nan", "-1", "0"])
@pytest.mark.parametrize("kind", [("run", "--folder"), ("sweep", "--out")])
def test_a_learning_rate_is_refused_before_any_image_is_read(rate, kind, tmp_path):
    words = [kind[0], "--train", "nowhere", "--test", "nowhere", "--learning-rate", rate, kind[1], str(tmp_path / "x")]
    with pytest.raises(ValueError, match=r"^learning_rate="):
        train.main(words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--width", "0.5"], ["--blocks", "5"]])
def test_what_only_a_vgg_has_is_refused_for_others(words, capsys, tmp_path):
    with pytest.raises(SystemExit):
        train.main(["run", "--data", "key", *words, "--folder", str(tmp_path / "run")])
    assert "--width and --blocks are of a VGG, and this is a glyph_net" in capsys.readouterr().err
