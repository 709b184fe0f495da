"""Image folders and zips: the images that are there, in sorted order, or one sentence about what is wrong."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from attn_lessons.datasets import image_folder
from attn_lessons.datasets.image_file import endings, read_image


def save(path: Path, level: int = 0, mode: str = "RGB", size: tuple[int, int] = (6, 6)) -> None:
    """An image of random levels; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    Image.fromarray(
        np.random.default_rng(level).integers(0, 256, shape, np.uint8), mode if mode == "RGBA" else None
    ).save(path)


@pytest.fixture
def pets(tmp_path) -> Path:
    for i, name in enumerate(["dog/2.png", "dog/10.png", "cat/b.jpg", "cat/a.PNG", "owl/x/deep.png"]):
        save(tmp_path / "pets" / name, i)
    (tmp_path / "pets" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / "dog" / "._2.png").write_text("what a Mac leaves behind")
    return tmp_path / "pets"


def zipped(folder: Path, under: str = "") -> Path:
    """`folder` as a zip, members in reverse order, inside `under`."""
    target = folder.parent / "pets.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, under + file.relative_to(folder).as_posix())
    return target


def test_reads_what_torchvision_reads(pets):
    (pets / "dog" / "._2.png").unlink()  # torchvision would try to read it
    ours, theirs = image_folder(pets, 6), ImageFolder(pets)
    assert ours.name == "pets" and ours.classes == tuple(theirs.classes) == ("cat", "dog", "owl")
    assert ours.labels.tolist() == theirs.targets == [0, 0, 1, 1, 2]
    expected = np.stack([np.asarray(image) for image, _ in theirs]).transpose(0, 3, 1, 2)
    assert ours.images.dtype == torch.uint8 and ours.images.is_contiguous()
    assert torch.equal(ours.images, torch.from_numpy(expected))
    assert ours.masks == {} and [Path(path) for path, _ in theirs.samples] == [pets / name for name in ours.files]
    assert ours[1:3].files == ours.files[1:3] and ours[ours.labels == 2].files == ("owl/x/deep.png",)


@pytest.mark.parametrize("under", ["", "test/", "some/where/"])
def test_zip_and_folder_are_equal(pets, under):
    a, b = image_folder(pets, 6), image_folder(zipped(pets, under), 6)
    assert a.classes == b.classes
    assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


def test_a_single_class(tmp_path):
    save(tmp_path / "cats" / "tabby" / "1.png")
    assert image_folder(tmp_path / "cats", 6).classes == ("tabby",)


@pytest.mark.parametrize(("mode", "ending"), [("L", "png"), ("L", "jpg"), ("RGBA", "png")])
def test_other_modes_become_rgb(tmp_path, mode, ending):
    save(tmp_path / "a" / "b" / f"1.{ending}", mode=mode)
    images = image_folder(tmp_path / "a", 6).images
    assert images.shape == (1, 3, 6, 6)
    if mode == "L":
        assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


def test_16_bit_greys_keep_their_order(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    greys = np.array(6 * [[0, 255, 256, 4000, 40_000, 65_535]], np.uint16)
    Image.fromarray(greys).save(tmp_path / "a" / "b" / "1.png")
    (tmp_path / "a" / "b" / "2.pgm").write_bytes(b"P5 6 6 65535\n" + greys.astype(">u2").tobytes())
    assert image_folder(tmp_path / "a", 6).images[:, 0, 0].tolist() == 2 * [[0, 0, 1, 15, 156, 255]]


def array(path: Path, levels: np.ndarray, **options) -> np.ndarray:
    """`levels` as a file, read back: (H, W, 3)."""
    Image.fromarray(levels).save(path, **options)
    return read_image(path.read_bytes()).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phone_s_photograph_stands_upright(orientation, tmp_path):
    """A red corner, top left in the upright image, wherever the camera has put it."""
    upright = np.zeros((8, 12, 3), np.uint8)
    upright[:4, :4, 0] = 255
    turns = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes each
    as_taken = Image.fromarray(upright)
    if (turn := turns[orientation]) is not None:
        as_taken = as_taken.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (array(tmp_path / "1.png", np.asarray(as_taken), exif=exif) == upright).all()


def test_12_bits_in_a_16_bit_file_are_not_nearly_black(tmp_path):
    levels = np.array([[0, 1000, 2048, 4095]], np.uint16)
    assert array(tmp_path / "1.png", levels)[0, :, 0].tolist() == [0, 62, 128, 255]


def test_floats_from_0_to_1_are_scaled_and_others_refused_by_name(tmp_path):
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    path = tmp_path / "pets" / "cat" / "1.tif"
    assert array(path, np.array([[0, 0.5, 1]], np.float32))[0, :, 1].tolist() == [0, 127, 255]
    for levels, said in (
        (np.array([[0, 3000.5]], np.float32), "from 0 to 3000.5"),
        (np.array([[np.nan]], np.float32), "nan"),
    ):
        Image.fromarray(levels).save(path)
        with pytest.raises(ValueError, match=rf"cat/1\.tif in .*pets is not an .*{said}.*: scale them to 0 to 1"):
            image_folder(tmp_path / "pets", 6)


def test_transparent_pixels_show_the_background_and_not_the_hidden_colour(tmp_path):
    levels = np.zeros((1, 3, 4), np.uint8)
    levels[0, :, 0], levels[0, :, 3] = 200, [0, 255, 51]  # hidden, opaque, a fifth
    assert array(tmp_path / "1.png", levels)[0].tolist() == [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
    grey = Image.fromarray(np.array([[0, 9]], np.uint8))
    grey.save(tmp_path / "2.png", transparency=0)
    assert read_image((tmp_path / "2.png").read_bytes())[0].tolist() == [[255, 9]]


def test_of_a_film_the_first_image(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "1.gif", save_all=True, append_images=frames[1:])
    assert read_image((tmp_path / "1.gif").read_bytes())[:, 0, 0].tolist() == [255, 0, 0]


def test_a_large_jpeg_is_what_it_is_when_decoded_in_full(tmp_path):
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (480, 1))] * 3, 2)).save(tmp_path / "1.jpg", quality=95)
    data = (tmp_path / "1.jpg").read_bytes()
    full = Image.open(tmp_path / "1.jpg").resize((32, 24), Image.Resampling.BILINEAR)
    small = read_image(data, (24, 32)).permute(1, 2, 0).numpy().astype(int)
    assert abs(small - np.asarray(full, int)).max() <= 2


@pytest.mark.parametrize("ending", ["gif", "jfif", "webp", "avif", "tiff", "bmp"])
def test_what_pillow_reads_is_read(ending, tmp_path):
    if f".{ending}" not in endings():
        pytest.skip("this Pillow does not")
    save(tmp_path / "pets" / "cat" / f"1.{ending}")
    assert len(image_folder(tmp_path / "pets", 6)) == 1


def test_files_are_counted_and_what_is_skipped_is_said(pets, capsys):
    image_folder(zipped(pets), 6)
    assert "pets.zip: 6 files, 5 read, 1 skipped: 1 .txt." in capsys.readouterr().out
    (pets / "owl" / "phone.heic").write_bytes(b"Pillow alone does not read it")
    (pets / "dog" / "LICENSE").write_text("no image either")
    (pets / "cat" / "b.jpg").rename(pets / "cat" / "b")
    (pets / "wolf").mkdir()
    assert len(image_folder(pets, 6)) == 5
    said = capsys.readouterr().out
    assert "pets: 8 files, 5 read, 3 skipped: " in said and "1 .heic" in said and "1 without ending" in said
    assert "pets: no image in wolf: not a class." in said


def test_a_folder_that_is_a_link_is_a_class_and_a_loop_is_none(pets, tmp_path):
    (pets / "owl").rename(tmp_path / "elsewhere")
    try:
        (pets / "owl").symlink_to(tmp_path / "elsewhere")
        (pets / "dog" / "loop").symlink_to(pets)
    except OSError:
        pytest.skip("no links here")
    images = image_folder(pets, 6)
    assert images.classes == ("cat", "dog", "owl") and len(images) == 5


def test_a_decompression_bomb_is_named(pets, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"in .*pets is not an image that can be read \(.*decompression bomb"):
        image_folder(pets, 6)


def test_sizes(pets):
    save(pets / "owl" / "tall.png", size=(6, 9))
    assert image_folder(pets, size=8).images.shape == (6, 3, 8, 8)
    with pytest.raises(ValueError, match="size=0 is not a whole number of at least 1"):
        image_folder(pets, size=0)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' is neither a folder nor a zip"):
        image_folder(tmp_path / "nowhere", 6)
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(FileNotFoundError, match="text' is neither a folder nor a zip"):
        image_folder(tmp_path / "text", 6)


def test_no_images(tmp_path):
    (tmp_path / "empty" / "class").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"empty holds no images: expected class/name"):
        image_folder(tmp_path / "empty", 6)


def test_images_outside_class_folders(pets):
    save(pets / "m.png")
    with pytest.raises(ValueError, match=r"m\.png in .*pets lies in no class folder"):
        image_folder(pets, 6)


def test_two_sets_side_by_side(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / "both" / split / "cat" / "1.png")
    with pytest.raises(ValueError, match="both holds test and train, not classes: read each of them on its own, both/train for"):
        image_folder(tmp_path / "both", 6)


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("keep", [0, 60])
def test_names_a_broken_file(pets, as_zip, keep):
    broken = pets / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"dog/2\.png in .*pets.* is not an image that can be read"):
        image_folder(zipped(pets) if as_zip else pets, 6)
