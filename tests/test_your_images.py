"""Images of yours, from a folder to a network that answers: run, predict, explain, report, export, Python."""

import json
import re
import shutil
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights, resnet18

from attn_lessons import train
from attn_lessons.attention import MECHANISMS
from attn_lessons.datasets import image_folder
from attn_lessons.insight import classify
from attn_lessons.insight.explanation import explained
from attn_lessons.models import build_network, load_matching, trained
from attn_lessons.models.weights import weights_and_about
from attn_lessons.train import networks, run
from attn_lessons.train.command import from_shell, parse
from attn_lessons.train.report import per_class
from attn_lessons.training import evaluate, save_weights

COLOURS = {"fire": (200, 60, 40), "sea": (40, 80, 200), "wood": (60, 160, 60)}


def photograph(path: Path, name: str, i: int, size: tuple[int, int] = (20, 16)) -> Path:
    """A noisy picture, most of it in the colour of its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([len(name), i]).normal(0, 30, (size[1], size[0], 3))
    Image.fromarray((COLOURS[name] + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def pets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("yours") / "places"
    for name in COLOURS:
        for i in range(20):
            photograph(folder / name / f"{i}.png", name, i)
    return folder


WORDS = ("--size", "16", "--attention", "cbam", "--epochs", "3", "--learning-rate", "0.001", "--threads", "1")


@pytest.fixture(scope="module")
def finished(pets, tmp_path_factory) -> Path:
    """The folder of a run that has ended, and nothing of what it was made of."""
    folder = tmp_path_factory.mktemp("runs") / "places"
    train.main(["run", "--train", str(pets), *WORDS, "--folder", str(folder)])
    return folder


# ------------------------------------------------------------------------------------------ run
def test_a_run_says_first_what_will_happen_and_a_line_per_epoch(pets, tmp_path, capsys):
    train.main(["run", "--train", str(pets), *WORDS, "--folder", str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert said.index("3 epochs of 6 steps with 8 images: 18") < said.index("epoch 1/3")
    for line in (
        "small_cnn, attention cbam",
        "places of 16×16: 48 to train on, 12 to choose the epoch by",
        "3: fire, sea, wood, 16 images each",
        "adam, learning rate 0.001, plateau",
        "epoch 3/3  train",
    ):
        assert line in said
    assert "% of 12 validation images right after epoch " in said and ", which these images have chosen." in said


def test_what_is_held_out_is_a_fifth_of_every_class_and_the_same_for_every_seed(pets, finished, tmp_path):
    train.main(["run", "--train", str(pets), *WORDS, "--seed", "5", "--folder", str(tmp_path / "run")])
    one, other = (weights_and_about(folder)[1]["run"] for folder in (finished, tmp_path / "run"))
    assert one["validation images"] == other["validation images"]
    assert pd.read_csv(finished / "predictions.csv").label.value_counts().to_dict() == dict.fromkeys(COLOURS, 4)


def test_a_batch_fits_the_number_of_images_and_the_learning_rate_the_batch(pets, tmp_path):
    words = ["--size", "32", "--network", "vgg11_bn", "--width", "0.03125", "--epochs", "1", "--threads", "1"]
    train.main(["run", "--train", str(pets), *words, "--folder", str(tmp_path / "run")])
    about = weights_and_about(tmp_path / "run")[1]["run"]
    assert about["batch_size"] == 8 and about["learning_rate"] == pytest.approx(0.1 * 8 / 512)
    assert len(pd.read_csv(tmp_path / "run" / "batches.csv")) == 6


def test_a_validation_set_may_be_a_folder(pets, finished, tmp_path):
    for name in COLOURS:
        photograph(tmp_path / "other" / name / "1.png", name, 99)
    words = ["run", "--train", str(pets), "--validation", str(tmp_path / "other"), *WORDS]
    train.main([*words, "--folder", str(tmp_path / "run")])
    assert len(pd.read_csv(tmp_path / "run" / "predictions.csv")) == 3


def test_the_test_set_is_measured_and_chooses_nothing(pets, tmp_path):
    for name in COLOURS:
        photograph(tmp_path / "test" / name / "1.png", name, 99)
    words = ["run", "--train", str(pets), "--test", str(tmp_path / "test"), *WORDS]
    train.main([*words, "--folder", str(tmp_path / "run")])
    assert not (tmp_path / "run" / "best.safetensors").exists()
    train.main([*words, "--validation", "0.3", "--folder", str(tmp_path / "both")])
    answers = pd.read_csv(tmp_path / "both" / "predictions.csv").set.value_counts()
    assert answers.to_dict() == {"validation": 18, "test": 3}
    train.main(["report", str(tmp_path / "both")])
    assert pd.read_csv(tmp_path / "both" / "report" / "classes.csv").images.sum() == 3


# ------------------------------------------------------------------------------------------ refused, and early
def refused(words: list, says: str) -> None:
    with pytest.raises((ValueError, OSError, ImportError), match=says) as raised:
        train.main([str(word) for word in words])
    assert "\n" not in str(raised.value)


def no_images_are_read(monkeypatch):
    monkeypatch.setattr("attn_lessons.train.sets.image_folder", lambda *_: pytest.fail("images were read"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--attention", "sse"], "attention='sse' is not known"),
        (["--attention", "se:ratio=4"], "ratio=4 is no option of attention='se'"),
        (["--size", "20"], "image_size=20 is not a multiple of 8"),
        (["--network", "vgg11", "--size", "16"], "VGG takes images .*at least 32"),
        (["--test", "nowhere"], "neither a folder nor a zip at nowhere"),
        (["--validation", "nowhere"], "neither a folder nor a zip at nowhere"),
        (["--init", "nowhere.safetensors"], r"no weights at nowhere\.safetensors"),
        (["--learning-rate", "1000"], "learning_rate=1000.0 is not a number of at least 1e-12 and below 100"),
        (["--precision", "fp12"], "precision='fp12' is not known"),
    ],
)
def test_what_can_be_checked_first_is_checked_first(words, says, pets, tmp_path, monkeypatch):
    no_images_are_read(monkeypatch)
    refused(["run", "--train", pets, "--folder", tmp_path / "run", "--threads", "1", *words], says)
    assert not list(tmp_path.iterdir())


def test_weights_that_could_not_be_written_are_found_before_training(pets, tmp_path, monkeypatch, capsys):
    no_images_are_read(monkeypatch)
    (tmp_path / "old.safetensors").write_bytes(b"dear")
    (tmp_path / "table.csv").write_bytes(b"dear")
    words = ["run", "--train", pets, *WORDS, "--folder", tmp_path / "run", "--weights"]
    refused([*words, tmp_path / "old.safetensors"], r"old\.safetensors exists already: name another")
    refused([*words, tmp_path / "table.safetensors"], r"table\.csv exists already: name another")
    refused([*words, tmp_path / "old.safetensors" / "x.safetensors"], "old.safetensors")
    assert (tmp_path / "old.safetensors").read_bytes() == b"dear"
    with pytest.raises(SystemExit):
        train.main([*map(str, words), "x.pt"])
    assert "must end in .safetensors" in capsys.readouterr().err


def test_a_file_for_a_folder_and_a_batch_of_more_images_than_there_are(pets, tmp_path):
    (tmp_path / "file").write_text("dear")
    refused(["run", "--train", pets, *WORDS, "--folder", tmp_path / "file"], "file is a file: name a folder")
    words = ["run", "--train", pets, *WORDS, "--folder", tmp_path / "run", "--batch-size", 100]
    refused(words, "--batch-size 100: there are only 48 images to train on")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_class_and_the_same_images_twice_are_refused(pets, tmp_path):
    photograph(tmp_path / "one" / "sea" / "1.png", "sea", 1)
    photograph(tmp_path / "one" / "sea" / "2.png", "sea", 2)
    common = [*WORDS, "--folder", tmp_path / "run"]
    refused(["run", "--train", tmp_path / "one", *common], "a single class, 'sea': there is nothing to tell apart")
    refused(["run", "--train", pets, "--test", pets, *common], "all test images are among those to train on")
    photograph(tmp_path / "two" / "fire" / "1.png", "fire", 1)
    photograph(tmp_path / "two" / "sea" / "1.png", "sea", 1)
    refused(["run", "--train", tmp_path / "two", *common], "class 'fire' has a single image")
    assert not (tmp_path / "run").exists()


def test_images_in_both_sets_are_said(pets, tmp_path, capsys):
    for name in COLOURS:
        photograph(tmp_path / "test" / name / "1.png", name, 99 if name == "sea" else 3)
    words = ["run", "--train", str(pets), "--test", str(tmp_path / "test"), *WORDS]
    train.main([*words, "--folder", str(tmp_path / "run")])
    assert "2 of the 3 test images are to train on as well: they flatter." in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ a file stands alone
def test_a_run_stands_alone(finished, pets):
    network, about = trained(finished)
    assert not network.training and network.about is about
    assert about["classes"] == list(COLOURS) and about["size"] == [16, 16] and about["dataset"] == "places"
    assert (about["mean"], about["std"]) == (0.5, 0.25) and about["network"] == "SmallCNN"
    assert about["arguments"]["attention"] == "cbam" and about["command"].startswith("python -m attn_lessons.train run")
    assert {"versions", "recipe", "seed", "hardware", "date", "validation_accuracy"} <= set(about)
    _, about_last = trained(finished / "last.safetensors")
    assert about_last["epoch"] == 3 and about["epoch"] <= 3
    assert evaluate(network, image_folder(pets, 16))["accuracy"] > 0.5


def test_the_weights_asked_for_are_those_that_were_chosen(pets, tmp_path):
    file = tmp_path / "kept" / "places.safetensors"
    words = ["run", "--train", str(pets), *WORDS, "--folder", str(tmp_path / "run"), "--weights", str(file)]
    train.main(words)
    (one, about), (other, _) = trained(file), trained(tmp_path / "run")
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    assert about["epoch"] == pd.read_csv(file.with_suffix(".csv")).validation_accuracy.idxmax() + 1


@pytest.mark.parametrize("where", [0.5, 0.99])
def test_damage_is_named_as_damage(where, finished, tmp_path):
    data = bytearray((finished / "best.safetensors").read_bytes())
    data[int(where * len(data))] ^= 0xFF
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.safetensors is damaged"):
        trained(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(data[:1000])
    with pytest.raises(ValueError, match=r"x\.safetensors is damaged, or no safetensors file"):
        trained(tmp_path / "x.safetensors")


def test_a_file_that_says_nothing_of_its_network_loads_into_one(finished, tmp_path):
    network, _ = trained(finished)
    save_file(network.state_dict(), tmp_path / "x.safetensors")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="does not say how its network is built: build it, and say load_matching"):
        trained(tmp_path / "x.safetensors")
    for name in ("x.safetensors", "x.pt"):
        assert len(load_matching(trained(finished)[0], tmp_path / name)["loaded"]) == len(network.state_dict())


# ------------------------------------------------------------------------------------------ networks and first weights
def header_of(words: list, folder: Path) -> dict:
    train.main([*map(str, words), "--epochs", "1", "--threads", "1", "--folder", str(folder)])
    return weights_and_about(folder)[1]


RESNET = ("--network", "resnet18", "--size", "32", "--images", "8")


def test_any_network_of_torchvision_with_attention_where_papers_put_it(pets, tmp_path):
    about = header_of(["run", "--train", pets, *RESNET, "--attention", "se:reduction=8"], tmp_path / "run")
    (place,) = about["attached"]
    assert place["after"] == [f"layer{i}.{j}.bn2" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert (place["mechanism"], place["reduction"], place["start"]) == ("se", 8, "identity")
    network, _ = trained(tmp_path / "run")
    assert network.layer4[1].bn2.attention.mechanism.reduce.out_features == 64
    photo = photograph(tmp_path / "new.png", "sea", 60)
    assert len(classify(network, photo)) == 3


def test_after_and_start_are_handed_on(pets, tmp_path):
    words = ["run", "--train", pets, *RESNET, "--attention", "eca", "--after", "layer1", "--start", "own"]
    (place,) = header_of(words, tmp_path / "run")["attached"]
    assert (place["after"], place["start"]) == (["layer1"], "own")


def test_after_is_for_networks_of_the_course_too_and_for_a_vgg_start(pets, tmp_path):
    words = ["run", "--train", pets, "--images", "8", "--size", "16", "--attention", "eca", "--after", "blocks.2.relu"]
    about = header_of(words, tmp_path / "one")
    assert about["arguments"]["attention"] == "none" and about["attached"][0]["after"] == ["blocks.2.relu"]
    vgg = ["--network", "vgg11_bn", "--width", "0.03125", "--attention", "eca", "--start", "identity", "--blocks", "5"]
    about = header_of(["run", "--train", pets, "--images", "8", "--size", "32", *vgg], tmp_path / "two")
    assert about["arguments"]["start"] == "identity" and "attached" not in about


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "regnet_x_400mf", "shufflenet_v2_x0_5", "convnext_tiny"])
def test_other_networks_of_torchvision_are_tried_out_without_numbers(name, tmp_path):
    """A RegNet needs some to be built at all."""
    _, settings = parse(["run", "--train", "x", "--folder", str(tmp_path), "--network", name, "--size", "64"])
    networks.try_out("none", settings)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--network", "resnet81"], "none of the course's and none of torchvision's; similar are resnet18"),
        (["--start", "own"], "--start is of attention that is attached: say --after which module of small_cnn"),
        (["--width", "1"], "--width and --blocks are of a VGG, and this is a small_cnn"),
        (["--init", "imagenet"], "nobody has trained a small_cnn on ImageNet"),
        (["--data", "key"], "either --data, or --train"),
        (["--validation", "1.5"], "'1.5' is not a fraction between 0 and 1, nor a folder"),
    ],
)
def test_options_that_do_not_go_together_come_with_the_usage(words, says, pets, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["run", "--train", str(pets), "--folder", str(tmp_path / "run"), *words])
    assert says in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["resnet18", "--attention", "se", "--after", "layer9"], "after='layer9' is no module of this ResNet"),
        (["vit_b_16", "--attention", "se"], "cannot run on image=.3, 32, 32.: Wrong image height! Expected 224"),
        (["vit_b_16"], "vit_b_16 cannot run on images of 32×32 .Wrong image height.*choose another --size"),
        (["resnet18", "--attention", "deep"], "attention='deep' is not known"),
    ],
)
def test_what_a_network_of_torchvision_cannot_do_is_refused_first(words, says, pets, tmp_path, monkeypatch):
    no_images_are_read(monkeypatch)
    refused(["run", "--train", pets, "--folder", tmp_path / "run", "--size", 32, "--network", *words], says)
    assert not list(tmp_path.iterdir())


def test_imagenet_weights_bring_their_mean_and_sd_and_what_is_new_is_said(pets, tmp_path, monkeypatch, capsys):
    with torch.device("cpu"):
        torch.manual_seed(3)
        pretrained = resnet18().state_dict()
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", lambda *_, **__: pretrained)
    networks.first_weights.cache_clear()
    words = ["run", "--train", pets, *RESNET, "--attention", "eca", "--init", "imagenet", "--learning-rate", "1e-9"]
    about = header_of(words, tmp_path / "run")
    assert about["mean"] == [0.485, 0.456, 0.406] and about["std"] == [0.229, 0.224, 0.225]
    assert re.search(
        r"begins   with ResNet18_Weights.IMAGENET1K_V1 \w{8}; new: fc.weight, fc.bias, ", capsys.readouterr().out
    )
    network, _ = trained(tmp_path / "run")
    torch.testing.assert_close(network.layer2[0].conv1.weight, pretrained["layer2.0.conv1.weight"], atol=1e-6, rtol=0)
    seen = []
    network.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    photo = photograph(tmp_path / "new.png", "sea", 60, (32, 32))
    classify(network, photo)
    by_hand = ResNet18_Weights.IMAGENET1K_V1.transforms(crop_size=32, resize_size=32)(Image.open(photo))
    torch.testing.assert_close(seen[0][0].contiguous(), by_hand, atol=1e-5, rtol=0)


def test_weights_that_cannot_be_fetched_are_one_sentence(pets, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", offline)
    networks.first_weights.cache_clear()
    words = ["run", "--train", pets, "--folder", tmp_path / "run", *RESNET, "--init", "imagenet"]
    refused(words, r"ResNet18_Weights\.IMAGENET1K_V1 cannot be fetched .*: put https.*pth into ")


def test_a_finished_run_goes_on_in_another_folder(pets, finished, tmp_path):
    words = ["run", "--train", pets, *WORDS]
    refused([*words, "--epochs", 5, "--folder", finished], "holds a run of 3 epochs, and this one has 5.*--init")
    train.main([*map(str, words), "--init", str(finished), "--folder", str(tmp_path / "more")])
    first = trained(finished)[1]
    assert trained(tmp_path / "more")[1]["init"] == f"{finished.name} {first['checksum']:08x}"
    one, other = (pd.read_csv(folder / "epochs.csv").train_loss.iloc[0] for folder in (finished, tmp_path / "more"))
    assert other < one
    refused([*words, "--folder", tmp_path / "more", "--init", finished / "last.safetensors"], "holds a run with init")


def test_weights_of_another_network_are_refused_before_images_are_read(pets, finished, tmp_path, monkeypatch):
    no_images_are_read(monkeypatch)
    words = ["run", "--train", pets, "--folder", tmp_path / "run", *RESNET, "--init", finished]
    refused(words, "No weight has the name and shape")


# ------------------------------------------------------------------------------------------ predict
def test_two_lines_of_python(finished, tmp_path):
    photo = photograph(tmp_path / "new.jpg", "sea", 77, (300, 200))
    network = trained(finished)
    answer = classify(network, photo)
    assert answer.index[0] == "sea" and answer.sum() == pytest.approx(1) and answer.is_monotonic_decreasing
    assert classify(network[0], photo, top=1).index.tolist() == ["sea"]
    with pytest.raises(FileNotFoundError, match="no photograph at nowhere"):
        classify(network, "nowhere.jpg")


def test_predict_writes_lines_and_a_table(finished, tmp_path, capsys):
    for name in COLOURS:
        photograph(tmp_path / "new" / f"{name}.png", name, 50)
    (tmp_path / "new" / "phone.heic").write_bytes(b"")
    words = ["predict", str(finished), str(tmp_path / "new"), "--top", "2", "--out", str(tmp_path / "answers.csv")]
    train.main(words)
    table = pd.read_csv(tmp_path / "answers.csv")
    assert list(table) == ["file", "rank", "class", "probability"] and table["rank"].tolist() == [1, 2] * 3
    firsts = table[table["rank"] == 1]
    assert [Path(file).stem for file in firsts.file] == firsts["class"].tolist() == list(COLOURS)
    said = capsys.readouterr().out
    assert len([line for line in said.splitlines() if ".png  " in line and "%" in line]) == 3
    assert "new: 4 files, 3 read, 1 skipped: 1 .heic." in said
    refused(words, r"answers\.csv exists already: name another with --out")


def test_a_photograph_that_cannot_be_read_is_said_and_the_others_are_answered(finished, tmp_path, capsys):
    good, bad = photograph(tmp_path / "good.png", "sea", 50), tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    refused(["predict", finished, bad, good], "1 of 2 photographs could not be read: see above")
    said = capsys.readouterr()
    assert "bad.png is not an image that can be read" in said.err and "good.png  sea" in said.out
    bad.write_text("no image")
    refused(["predict", finished, bad], "could not be read")
    assert (
        "bad.png is not an image that can be read (it is of no kind that Pillow reads here)" in capsys.readouterr().err
    )
    refused(["predict", finished, tmp_path / "nowhere.png"], "no photograph and no folder at")
    refused(["predict", tmp_path / "nowhere", good], "there are no weights at .*nowhere")
    refused(["predict", "key_nothing", good], "no trained network 'key_nothing'; there are: ")


# ------------------------------------------------------------------------------------------ explain
def described(file: Path) -> str:
    with Image.open(file) as image:
        return image.text["Description"]


def test_explain_draws_each_photograph_and_overwrites_none(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = photograph(tmp_path / "new.png", "wood", 50, (90, 60))
    train.main(["explain", str(finished), str(photo)])
    said = described(tmp_path / "explained" / "new.png")
    assert "Grad-CAM of its class over it, " in said and "spatial gates" in said
    refused(["explain", finished, photo], r"new\.png exists already: name another with --out")


@pytest.mark.parametrize(
    ("name", "gates"), [("glyphworld_key_se", "gates of the channels"), ("glyphworld_key_none", "no gates")]
)
def test_networks_of_the_course_explain_photographs_too(name, gates, tmp_path):
    photo = photograph(tmp_path / "new.png", "wood", 50, (64, 64))
    network, _ = trained(name)
    assert gates in explained(network, photo)[1]


# ------------------------------------------------------------------------------------------ report
def test_a_report_has_pictures_and_tables(finished, pets, capsys):
    train.main(["report", str(finished)])
    names = ["classes.csv", "classes.png", "confusion.csv", "confusion.png", "curves.png", "mistakes.csv"]
    assert sorted(path.name for path in (finished / "report").iterdir()) == names
    confused = pd.read_csv(finished / "report" / "confusion.csv", index_col=0)
    classes = pd.read_csv(finished / "report" / "classes.csv", index_col=0)
    assert confused.to_numpy().sum() == 12 and confused.sum(axis=1).tolist() == [4, 4, 4]
    assert sum(confused.loc[name, name] for name in COLOURS) == classes.right.sum()
    mistakes = pd.read_csv(finished / "report" / "mistakes.csv")
    assert len(mistakes) == 12 - classes.right.sum() and mistakes.probability.is_monotonic_decreasing
    assert all(
        (pets / file).exists() and file.startswith(f"{label}/")
        for file, label in zip(mistakes.file, mistakes.label, strict=True)
    )
    assert "of 12 validation images right" in capsys.readouterr().out


def test_per_class_by_hand():
    confused = pd.DataFrame([[8, 2, 0], [0, 0, 0], [1, 3, 6]], index=list("abc"), columns=list("abc"))
    table = per_class(confused)
    assert table.index.tolist() == ["c", "a"] and table.taken_for.tolist() == ["b", "b"]
    assert table.loc["a", ["images", "right", "accuracy"]].tolist() == [10, 8, 0.8]
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx([0.4902, 0.9433], abs=1e-4)  # Wilson's


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("epochs.csv", lambda text: "", "No columns"),
        ("epochs.csv", lambda text: text[:-30], "a row is not whole"),
        ("epochs.csv", lambda text: "x,y\n1,2\n", "has no column 'epoch'"),
        ("epochs.csv", lambda text: text.replace("\n2,", "\n5,"), "its epochs are 1, 5, 3"),
        ("predictions.csv", lambda text: text.splitlines()[0], "a row is not whole"),
    ],
)
def test_a_damaged_log_is_named_and_the_run_writes_it_anew(name, damage, says, pets, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    whole = (folder / name).read_text()
    (folder / name).write_text(damage(whole))
    refused(["report", folder], f"{name} is damaged.*({says}).*call the run again")
    train.main(["run", "--train", str(pets), *WORDS, "--folder", str(folder)])
    assert (folder / name).read_text() == whole
    (folder / name).unlink()
    refused(["report", folder], f"there is no .*{name}")


# ------------------------------------------------------------------------------------------ export
def test_without_the_packages_that_write_onnx_one_sentence(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    refused(["export", finished, "--out", tmp_path / "x.onnx"], r"pip install \"attn-lessons\[export\]\"")


def test_an_exported_network_answers_as_torch_does(finished, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    file = tmp_path / "places.onnx"
    train.main(["export", str(finished), "--out", str(file)])
    assert "of torch's" in capsys.readouterr().out
    about = {entry.key: json.loads(entry.value) for entry in onnx.load(file).metadata_props}
    assert about["classes"] == list(COLOURS) and about["size"] == [16, 16]
    photo = photograph(tmp_path / "new.png", "wood", 50, (16, 16))
    pixels = np.asarray(Image.open(photo), np.float32).transpose(2, 0, 1)[None] / 255
    (logits,) = onnxruntime.InferenceSession(file).run(None, {"images": pixels.repeat(5, 0)})
    answer = classify(trained(finished), photo)
    assert logits.shape == (5, 3)
    torch.testing.assert_close(torch.from_numpy(logits[0]).softmax(0)[2].item(), answer["wood"], rtol=1e-4, atol=1e-5)


def test_every_mechanism_can_be_exported(tmp_path, capsys):
    """All of them, one after the other, in one network."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    place = {"after": ["blocks.2.relu"], "start": "own", "image": [3, 16, 16]}
    torch.manual_seed(0)
    places = [place | {"mechanism": name} for name in MECHANISMS]
    network = build_network("SmallCNN", {"num_classes": 3, "image_size": 16}, places)
    assert len(list(network.blocks[2].relu.children())) == len(MECHANISMS) - 1  # all but "none"
    network.about |= {"classes": list(COLOURS), "size": [16, 16]}
    save_weights(network, tmp_path / "x.safetensors", {})
    train.main(["export", str(tmp_path / "x.safetensors"), "--out", str(tmp_path / "x.onnx")])
    assert "its logits are within " in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ from a shell
def test_ctrl_c_ends_with_130_and_a_sentence(pets, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt("Training was stopped.")

    monkeypatch.setattr(run, "fit", stop)
    words = ["run", "--train", str(pets), *WORDS, "--folder", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["train", *words])
    with pytest.raises(SystemExit) as raised:
        from_shell()
    assert raised.value.code == 130 and capsys.readouterr().err == "attn_lessons.train: Training was stopped.\n"


@pytest.mark.parametrize(
    "kind", [FloatingPointError, Image.DecompressionBombError, PermissionError, torch.cuda.OutOfMemoryError]
)
def test_what_goes_wrong_is_one_sentence(kind, pets, tmp_path, monkeypatch):
    def fail(*_):
        raise kind("This went wrong.")

    monkeypatch.setattr(run, "fit", fail)
    monkeypatch.setattr(sys, "argv", ["train", "run", "--train", str(pets), *WORDS, "--folder", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as raised:
        from_shell()
    assert raised.value.code == "attn_lessons.train: This went wrong."  # and so 1, and the sentence on stderr
