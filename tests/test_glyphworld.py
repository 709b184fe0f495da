"""GlyphWorld: the same bytes everywhere, masks that tell the truth, and no shortcut to the label."""

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2_contingency, chisquare
from torch import nn

from attn_lessons.datasets import CEILINGS, PUZZLES, ImageSet, Scene, glyphworld, normalise, puzzles, scene
from attn_lessons.datasets.scene import CHIP, COLORS, GLYPHS, SHAPES, SKY, STAR, WHITE, Draw, depth, glyph_sprites, grid

NAMES = tuple(PUZZLES)
RARE = 1e-3  # chance tests are at 99.9 % confidence; the seeds are fixed, so what passes once passes for ever

SHA256 = {  # of images, labels, target, cue and distractors of 20 images with seed 0
    ("key", False): "f17ce14b8d078c56bdbaa9502467dc78ce05aa03d29398617372f5c22acac9d6",
    ("key", True): "871d05c9ac6104c4a39abc6654db185c1c2840b0e87257b2fade43da4b6360fd",
    ("frames", False): "a1a0e001c2eb67f509ad2512914c5dee5582891cab0b42fe3ca097fb0d321f9a",
    ("frames", True): "8cc0c633fb69953c4f8443a2a653151133337ad80c798b31bce3a61527f8000b",
    ("board", False): "6793fe0698993a35ea569919bd4390be87bc2cb3a4fdfa1f95fe79751717af7c",
    ("board", True): "2e4bc18185b0623598ddb8903b1e2cbfe5db8ad8109cc53819fb945d7f2d00cd",
    ("lookup", False): "081d903a05192e4266e883e9bc2fcd91ba7ead15d7e9211ab9e018916ed4d9e7",
    ("lookup", True): "2ba930d191e26a945ce63c9051a45ab17fb8a7c9c2b069f3ae557b14c4f51029",
}


def tensors(dataset: ImageSet) -> list[torch.Tensor]:
    return [dataset.images, dataset.labels, *(dataset.masks[role] for role in ("target", "cue", "distractors"))]


@pytest.fixture(scope="module", params=NAMES)
def many(request) -> tuple[str, ImageSet]:
    """The name of a puzzle and 2000 images of it, for all tests that look at what is usual."""
    return request.param, glyphworld(request.param, 2000, seed=6)


def same(a: ImageSet, b: ImageSet) -> bool:
    return all(torch.equal(one, other) for one, other in zip(tensors(a), tensors(b), strict=True))


# ------------------------------------------------------------------------------------------ bytes
@pytest.mark.parametrize(("name", "swap_cue"), SHA256)
def test_same_bytes_on_every_machine(name, swap_cue):
    bytes_ = b"".join(t.numpy().tobytes() for t in tensors(glyphworld(name, 20, seed=0, swap_cue=swap_cue)))
    assert hashlib.sha256(bytes_).hexdigest() == SHA256[name, swap_cue]


@pytest.mark.parametrize("name", NAMES)
def test_neither_count_nor_chunks_change_an_image(name, monkeypatch):
    dataset = glyphworld(name, 20, seed=4)
    monkeypatch.setattr(puzzles, "CHUNK", 7)
    assert same(dataset, glyphworld(name, 20, seed=4))
    assert same(dataset[:5], glyphworld(name, 5, seed=4))
    assert same(dataset, glyphworld(PUZZLES[name], 20, seed=4))  # the function is as good as its name


@pytest.mark.parametrize("name", NAMES)
def test_seeds_share_nothing(name):
    a, b = (glyphworld(name, 400, seed=seed) for seed in (0, 1))
    assert chi2_contingency(crosstab(a.labels, b.labels)).pvalue > RARE
    grain = torch.stack([dataset.images[:, 0, 0].float().diff(dim=1).flatten() for dataset in (a, b)])  # row 0 is empty
    assert abs(torch.corrcoef(grain)[0, 1]) < 0.03  # 4 standard deviations are 0.025


def test_puzzles_share_nothing():
    labels = [glyphworld(name, 2000).labels for name in NAMES]
    for i in range(len(NAMES)):
        for j in range(i):
            assert chi2_contingency(crosstab(labels[i], labels[j])).pvalue > RARE


def test_no_sample_lies_so_near_an_edge_that_rounding_could_decide():
    x, y = grid(17, 17)
    margins = [
        abs(scene.rounded_box(*grid(31, 31), 31, 31, 4)).min(),
        abs(scene.rounded_box(*grid(31, 31), 29, 29, 3)).min(),
    ]
    margins += [
        abs(scene.rounded_box(*grid(11, 11), 11, 11, 2)).min(),
        abs(scene.rounded_box(*grid(13, 5), 4, 13, 1.5)).min(),
    ]
    for radius in (5.6, 6.1, 6.6):
        for angle in np.deg2rad((-20, -10, 0, 10, 20)):
            c, s = np.cos(angle) / radius, np.sin(angle) / radius
            margins += [abs(depth(shape, x * c + y * s, y * c - x * s)).min() for shape in range(len(SHAPES))]
    assert min(margins) > 1e-9  # rounding in float64 is a million times smaller


def test_draw_is_uniform():
    draw = Draw([0], 0, 6000)
    for low, high in ((0, 3), (-5, 6), (8, 56)):
        values = draw.integers(low, high, 2).ravel()
        assert values.min() == low and values.max() == high - 1
        assert chisquare(np.bincount(values - low)).pvalue > RARE
    orders = draw.shuffled(3) @ (9, 3, 1)
    assert len(np.unique(orders)) == 6 and chisquare(np.unique(orders, return_counts=True)[1]).pvalue > RARE
    assert chisquare(np.bincount(draw.bytes(16).ravel(), minlength=256)).pvalue > RARE


# ------------------------------------------------------------------------------------------ what an image holds
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 3])
def test_shapes_and_types(name, n):
    dataset = glyphworld(name, n)
    assert dataset.name == f"GlyphWorld {name}" and len(dataset) == n
    assert dataset.images.shape == (n, 3, 64, 64) and dataset.images.dtype == torch.uint8
    assert dataset.labels.shape == (n,) and dataset.labels.dtype == torch.int64
    assert dataset.classes == SHAPES[: 3 if name == "board" else 4]
    assert set(dataset.masks) == {"target", "cue", "distractors"}
    assert all(mask.shape == (n, 64, 64) and mask.dtype == torch.bool for mask in dataset.masks.values())


def test_masks_are_disjoint_and_where_something_is(many):
    name, dataset = many
    empty = Scene(Draw([6, *name.encode()], 0, 2000)).pixels.reshape(dataset.images.shape)
    change = dataset.images.short() - torch.from_numpy(empty).short()
    masks = torch.stack(list(dataset.masks.values()))
    assert masks.sum(0, dtype=torch.uint8).max() == 1 and masks.sum((2, 3)).min() > 40
    assert (change * ~masks.any(0)[:, None]).max() == 0  # outside, shadows: never brighter
    for mask in masks:
        seen = (change.abs().amax(1) * mask).sum((1, 2)) / mask.sum((1, 2))
        assert seen.min() > 20  # levels


@pytest.mark.parametrize("name", NAMES)
def test_the_target_has_the_shape_that_the_label_names(name):
    dataset = glyphworld(name, 200, seed=3)
    outlines = [{cropped(sprite[1] > 0).tobytes() for sprite in sprites} for sprites in glyph_sprites(**GLYPHS)]
    targets = dataset.masks["target"].numpy().copy()
    if name == "frames":
        targets[:, :, 32:] = False  # one of the two
    for target, label in zip(targets, dataset.labels.tolist(), strict=True):
        found = [shape for shape in range(len(SHAPES)) if cropped(target).tobytes() in outlines[shape]]
        assert found == [label]


def cropped(mask: np.ndarray) -> np.ndarray:
    """A mask within its bounding box, in a frame of fixed size, so that its bytes can be compared."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(box, ((0, 64 - box.shape[0]), (0, 64 - box.shape[1])))


# ------------------------------------------------------------------------------------------ the swapped cue
@pytest.mark.parametrize("name", NAMES)
def test_swapped_cue_names_another_shape_and_changes_nothing_else(name):
    before, after = glyphworld(name, 500, seed=5), glyphworld(name, 500, seed=5, swap_cue=True)
    cues = before.masks["cue"] | after.masks["cue"]
    changed = (before.images != after.images).any(1)
    assert not (changed & ~cues).any()
    assert changed.any((1, 2)).all()
    assert (before.labels != after.labels).all()
    assert not (after.masks["target"] & ~before.masks["distractors"]).any()
    glyphs = [dataset.masks["target"] | dataset.masks["distractors"] for dataset in (before, after)]
    assert torch.equal(*glyphs)
    if name in ("key", "lookup"):  # recoloured, not moved
        assert torch.equal(before.masks["cue"], after.masks["cue"])


# ------------------------------------------------------------------------------------------ balance
def crosstab(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    table = np.zeros((int(a.max()) + 1, int(b.max()) + 1), int)
    np.add.at(table, (a.numpy(), b.numpy()), 1)
    return table


def test_labels_and_decoys_are_balanced(many):
    name, dataset = many
    swapped = glyphworld(name, 2000, seed=6, swap_cue=True)
    assert chisquare(dataset.labels.bincount()).pvalue > RARE
    both = crosstab(dataset.labels, swapped.labels)  # the swapped label is the shape of a distractor
    assert chisquare(both[~np.eye(len(both), dtype=bool)]).pvalue > RARE


def test_the_cue_alone_tells_nothing(many):
    dataset = many[1]
    for seen in what_the_cue_shows(*many):
        values, seen = seen.unique(return_inverse=True)
        assert len(values) > 1
        assert chi2_contingency(crosstab(seen, dataset.labels)).pvalue > RARE


def what_the_cue_shows(name: str, dataset: ImageSet) -> list[torch.Tensor]:
    """Everything one could read off the cue, each as whole numbers (n,)."""
    cue = dataset.masks["cue"]
    color = (dataset.images * cue[:, None]).sum((2, 3)) / cue.sum((1, 2))[:, None]  # (n, 3)
    rows, columns = cue.any(2).float(), cue.any(1).float()  # (n, 64)
    middle = torch.stack([rows @ torch.arange(64.0) / rows.sum(1), columns @ torch.arange(64.0) / columns.sum(1)])
    if name == "key":
        return [torch.cdist(color, torch.from_numpy(puzzles.CHIP_COLORS).float()).argmin(1)]
    if name == "frames":
        return [(cue[:, :32, :31].sum((1, 2)) > 20).long()]
    if name == "board":
        row, column = (cue[:, :, 3].float().argmax(1) - 14) // 17, (cue[:, 3].float().argmax(1) - 14) // 17
        return [3 * row + column]
    brightest, darkest = color.argmax(1), color.argmin(1)
    return [3 * brightest + darkest, (middle[0] // 16 * 4 + middle[1] // 16).long()]


# ------------------------------------------------------------------------------------------ no shortcut
def fraction_right(scores: torch.Tensor, labels: torch.Tensor) -> float:
    return (scores.argmax(1) == labels).float().mean().item()


def four_deviations(fraction: float, n: int) -> float:
    return 4 * (fraction * (1 - fraction) / n) ** 0.5


def test_a_bag_of_patches_stays_at_the_ceiling(many):
    """A network that adds up what it sees in patches of 7×7 pixels, as GlyphNet does, in less time."""
    torch.manual_seed(0)
    name, test = many
    train, fast = glyphworld(name, 1920, seed=10), torch.channels_last
    patches = [
        nn.Conv2d(3, 48, 7, 4, 3, bias=False),
        nn.Conv2d(48, 48, 1, bias=False),
        nn.Conv2d(48, 48, 1, bias=False),
    ]
    layers = [layer for conv in patches for layer in (conv, nn.BatchNorm2d(48), nn.ReLU())]
    position_logits = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(48), nn.Linear(48, len(train.classes))]
    net = nn.Sequential(*layers, *position_logits).to(memory_format=fast)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, 4 * 30, pct_start=0.25)
    images = normalise(train.images).contiguous(memory_format=fast)
    for _ in range(4):
        for batch in torch.randperm(1920).split(64):
            loss = F.cross_entropy(net(images[batch]), train.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        accuracy = fraction_right(net.eval()(normalise(test.images).contiguous(memory_format=fast)), test.labels)
    ceiling, chance = CEILINGS[name], 1 / len(train.classes)
    assert accuracy < ceiling + four_deviations(ceiling, 2000)
    if ceiling > chance:
        assert accuracy > chance + four_deviations(chance, 2000)  # it did learn the shapes


class Witness(Scene):
    """A scene that writes down what a perfect local detector would see: each thing with its colour and its position."""

    sign = 5  # a sixth kind, beside the five shapes: chip, tick or frame
    kind = sign
    written: list[np.ndarray]

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.position_logits = np.zeros(
            (self.n, 6, 7 + 16), np.float32
        )  # kind; nearest of 7 colours, or one of 16 squares
        self.written.append(self.position_logits.reshape(self.n, -1))

    def glyph(self, shape, *arguments, **options):
        self.kind = shape
        super().glyph(shape, *arguments, **options)
        self.kind = self.sign

    def stamp(self, sprite, color, position, candidate=None):
        away = ((np.broadcast_to(color, (self.n, 3))[:, None] - COLORS) ** 2).sum(2)  # (n, 7)
        row, column = np.broadcast_to(position, (self.n, 2)).T // 16
        self.position_logits[np.arange(self.n), self.kind, away.argmin(1)] += 1
        self.position_logits[np.arange(self.n), self.kind, 7 + 4 * row + column] += 1
        super().stamp(sprite, color, position, candidate)


@pytest.mark.parametrize("name", NAMES)
def test_perfect_local_votes_stay_at_the_ceiling(name, monkeypatch):
    """The best sum of votes of perfect detectors, by logistic regression: how well a network sees does not matter."""
    monkeypatch.setattr(puzzles, "Scene", Witness)
    monkeypatch.setattr(Witness, "written", [], raising=False)
    labels = glyphworld(name, 5000, seed=12).labels
    seen = torch.from_numpy(np.concatenate(Witness.written))
    weight = torch.zeros(seen.shape[1], int(labels.max()) + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=40)

    def loss():
        optimizer.zero_grad()
        value = F.cross_entropy(seen[:3000] @ weight, labels[:3000]) + 1e-3 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    accuracy, ceiling = fraction_right(seen[3000:] @ weight, labels[3000:]), CEILINGS[name]
    assert abs(accuracy - ceiling) < four_deviations(ceiling, 2000)


# ------------------------------------------------------------------------------------------ a puzzle of one's own
def above(scene: Scene):
    """Two glyphs, and a star right above the one to read."""
    shapes = scene.draw.shuffled(4)[:, :2]
    named = scene.choose(shapes)
    for k in range(2):
        scene.glyph(shapes[:, k], scene.tint(SKY), (44, 18 + 28 * k), candidate=k)
    scene.glyph(STAR, WHITE, np.stack([np.full(scene.n, 20), 18 + 28 * named], 1))
    return shapes, named


def test_a_puzzle_of_ones_own(monkeypatch):
    monkeypatch.setitem(PUZZLES, "above", above)
    dataset, swapped = glyphworld("above", 300), glyphworld(above, 300, swap_cue=True)
    assert dataset.name == "GlyphWorld above" and swapped.name == "GlyphWorld above, cue swapped"
    assert same(dataset, glyphworld(above, 300))
    assert (dataset.labels != swapped.labels).all()
    cues = dataset.masks["cue"] | swapped.masks["cue"]  # with the star's shadow
    assert not ((dataset.images != swapped.images).any(1) & ~cues).any()


# ------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("keys", 5), ValueError, r"puzzle='keys' is not known: choose one of 'key', 'frames', 'board', 'lookup'\."),
        (("key", 0), ValueError, r"n=0 is not a whole number of at least 1\."),
        (("key", 2.0), TypeError, r"n=2\.0 is not a whole number of at least 1\."),
        (("key", 5, "0"), TypeError, r"seed='0' is not a whole number of at least 0\."),
        (("key", 5, True), TypeError, r"seed=True is not a whole number"),
        (("key", 5, -1), ValueError, r"seed=-1 is not a whole number of at least 0\."),
    ],
)
def test_says_what_is_wrong(arguments, error, words):
    with pytest.raises(error, match=words):
        glyphworld(*arguments)


def test_refuses_to_draw_outside():
    scene = Scene(Draw([0], 0, 2))
    with pytest.raises(ValueError, match="inside the image: rows 8 to 55, columns 8 to 55"):
        scene.glyph(STAR, WHITE, (7, 30))


def test_refuses_to_swap_between_equal_shapes():
    scene = Scene(Draw([0], 0, 2), swap_cue=True)
    with pytest.raises(ValueError, match="at least two shapes"):
        scene.choose(np.zeros((2, 3), int))


# ------------------------------------------------------------------------------------------ the set itself
def test_image_set_chooses():
    dataset = glyphworld("key", 10)
    assert same(dataset[torch.tensor([3, 1])], dataset[1:4:2][torch.tensor([1, 0])])
    assert same(dataset[torch.arange(10) < 4], dataset[:4])
    assert same(dataset.to("cpu"), dataset)
    assert repr(dataset[:4]) == "ImageSet('GlyphWorld key': 4 images of 64×64, 4 classes)"
    for which in (3, "target", torch.tensor(3)):
        with pytest.raises(TypeError, match="does not choose a set"):
            dataset[which]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": torch.zeros(5, 3, 8, 8)}, TypeError, "images must be a torch.uint8 tensor .* is torch.float32"),
        ({"images": torch.zeros(5, 8, 8).byte()}, ValueError, r"\(any, 3, any, any\); this one has shape \(5, 8, 8\)"),
        ({"images": [1]}, TypeError, "images must be .* this is list"),
        ({"labels": torch.zeros(4).long()}, ValueError, r"labels must be .* shape \(5,\); this one has shape \(4,\)"),
        ({"labels": torch.full((5,), 2)}, ValueError, "labels go from 2 to 2; with 2 classes they must lie in 0 to 1"),
        ({"masks": {"cue": torch.zeros(5, 8, 9).bool()}}, ValueError, r"masks\['cue'\] must be .* shape \(5, 8, 8\)"),
    ],
)
def test_image_set_says_what_is_wrong(change, error, words):
    good = {"images": torch.zeros(5, 3, 8, 8).byte(), "labels": torch.zeros(5).long(), "classes": ("a", "b")}
    with pytest.raises(error, match=words):
        ImageSet("noise", **{**good, **change})


# ------------------------------------------------------------------------------------------ puzzles of one's own
def own(candidates=True, cue=True, covers=False, chance=False):
    """A puzzle that forgets something."""

    def mine(scene):
        shapes = scene.draw.shuffled(4)[:, :2]
        named = scene.choose(shapes)
        for k in range(2):
            left = np.random.randint(12, 22) if chance else 18
            scene.glyph(shapes[:, k], COLORS[k], (44, left + 28 * k), candidate=k if candidates else None)
        if cue:
            row = 44 if covers else 20
            for _ in range(1 + 3 * covers):
                scene.stamp(CHIP, WHITE, np.stack([np.full(scene.n, row), 18 + 28 * named], 1))
        return shapes, named

    return mine


@pytest.mark.parametrize(
    ("forgets", "told"),
    [
        ({"candidates": False}, "no candidate 0: say candidate=0"),
        ({"cue": False}, "no cue"),
        ({"covers": True}, "covers more than half of its target in image"),
        ({"chance": True}, "take all chance from scene.draw"),
    ],
)
def test_an_own_puzzle_hears_what_it_forgets(forgets, told):
    assert len(glyphworld(own(), 5)) == 5
    with pytest.raises(ValueError, match=told):
        glyphworld(own(**forgets), 5)
