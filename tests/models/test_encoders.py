"""Every encoder turns features into a sequence, says which places are real, learns, and mirrors as it says."""

import pytest
import torch
import torchvision

from stages.base.errors import InputError
from stages.models.adapters import LORA
from stages.models.encoders import ENCODERS
from stages.models.encoders.audio import augment, normalise
from stages.models.encoders.backbone import USUAL, Backbone
from stages.models.encoders.base import Encoded, EncoderSize, FeatureSpec

SIZE = EncoderSize(dim=16, layers=2, attention_heads=4, dropout=0.1)
NUM_WORDS = 11
WORDS, SPEECH, TOKENS, VECTOR = (
    FeatureSpec((7,), NUM_WORDS),
    FeatureSpec((50, 20)),
    FeatureSpec((7, 24)),
    FeatureSpec((24,)),
)
IMAGES = [FeatureSpec((64, 64, 3)), FeatureSpec((32, 32, 3)), FeatureSpec((100, 90, 3))]
VIDEOS = [FeatureSpec((6, 32, 32, 3)), FeatureSpec((6, 9, 24)), FeatureSpec((6, 24))]
FIELDS = [FeatureSpec((5, 11), cardinalities=(0, 4, 3, 0, 2)), FeatureSpec((2, 3), cardinalities=(0, 0))]
SPECS = {
    ("image", "cnn"): IMAGES,
    ("image", "vit"): IMAGES,
    ("image", "torchvision"): [IMAGES[0], IMAGES[2]],
    ("image", "projection"): [FeatureSpec((49, 24)), VECTOR],
    ("text", "projection"): [TOKENS, VECTOR],
    ("audio", "cnn"): [SPEECH, FeatureSpec((9, 8))],
    ("audio", "gru"): [SPEECH, FeatureSpec((9, 8))],
    ("audio", "cnn_gru"): [SPEECH, FeatureSpec((9, 8))],
    ("audio", "projection"): [VECTOR],
    **{("video", name): VIDEOS for name in ENCODERS["video"]},
    **{("fields", name): FIELDS for name in ENCODERS["fields"]},
}
CASES = [
    pytest.param(modality, name, spec, id=f"{modality}-{name}-{'x'.join(map(str, spec.shape))}")
    for modality, encoders in ENCODERS.items()
    for name in encoders
    for spec in SPECS.get((modality, name), [WORDS])
]
EVERY_CASE = pytest.mark.parametrize(("modality", "name", "spec"), CASES)
WORD_ENCODERS = [name for name in ENCODERS["text"] if name != "projection"]


def build(modality, name, spec, seed=0):
    torch.manual_seed(seed)
    return ENCODERS[modality][name](spec, SIZE)


def named(backbone, **changes):
    return USUAL.model_copy(update={"backbone": backbone, **changes})


def features(spec, batch=4):
    generator = torch.Generator().manual_seed(1)
    if spec.num_words:
        words = torch.randint(1, spec.num_words, (batch, *spec.shape), dtype=torch.int32, generator=generator)
        for row in range(batch):
            words[row, len(words[row]) - row :] = 0  # row 0 is full
        return words
    if spec.cardinalities:
        rows = torch.randn(batch, *spec.shape, generator=generator)
        rows[..., 0] = torch.eye(spec.shape[0]).repeat(batch, 1)[:batch]  # a cell of each sample is missing
        counts = torch.tensor(spec.cardinalities).clamp_min(1)
        rows[..., 1] = torch.arange(batch).unsqueeze(1) % counts
        return rows * (1 - rows[..., :1]) + torch.eye(1, spec.shape[1])[0] * rows[..., :1]
    if spec in VIDEOS:
        clips = torch.randint(1, 256, (batch, *spec.shape), generator=generator)
        for row in range(batch):
            clips[row, spec.shape[0] - row :] = 0  # row 0 is full
        return clips.to(torch.uint8) if len(spec.shape) == 4 else (clips / 64).half()
    if len(spec.shape) == 3:
        return torch.randint(0, 256, (batch, *spec.shape), dtype=torch.uint8, generator=generator)
    return torch.randn(batch, *spec.shape, generator=generator).half()


@EVERY_CASE
def test_the_sequence_has_the_dim_and_every_parameter_learns(modality, name, spec):
    encoder, x = build(modality, name, spec), features(spec)
    sequence = encoder(x)
    real = encoder.real(x, sequence.shape[1])
    assert sequence.shape == (4, sequence.shape[1], SIZE.dim) and sequence.dtype == torch.float32
    assert real.shape == sequence.shape[:2] and real.dtype == torch.bool and Encoded(sequence, real).present_B.all()
    (sequence * torch.randn(sequence.shape) * real.unsqueeze(-1)).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


@EVERY_CASE
def test_the_same_seed_gives_the_same_training_step(modality, name, spec):
    runs = []
    for _ in range(2):
        encoder = build(modality, name, spec)
        sequence = encoder(features(spec))
        sequence.square().sum().backward()
        runs.append([sequence, *(p.grad for p in encoder.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@EVERY_CASE
def test_saved_weights_give_the_same_encoder_back(modality, name, spec):
    encoder, other = build(modality, name, spec), build(modality, name, spec, seed=9)
    encoder(features(spec))  # so that batch norms have seen something
    encoder.eval(), other.eval()
    assert not torch.equal(other(features(spec)), encoder(features(spec)))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(features(spec)), encoder(features(spec)))


@EVERY_CASE
def test_a_sample_does_not_see_the_others_of_its_batch(modality, name, spec):
    encoder, x = build(modality, name, spec).eval(), features(spec)
    torch.testing.assert_close(encoder(x[2:3]), encoder(x)[2:3], atol=1e-5, rtol=1e-5)


@EVERY_CASE
def test_bfloat16_comes_near_to_float32(modality, name, spec):
    encoder, x = build(modality, name, spec), features(spec)
    encoder.eval()
    with torch.autocast("cpu", torch.bfloat16):
        sequence = encoder(x)
    assert (sequence.float() - encoder(x)).abs().mean() < 0.05
    sequence.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@EVERY_CASE
def test_mirrored_twice_is_the_same(modality, name, spec):
    encoder, x = build(modality, name, spec), features(spec)
    assert torch.equal(encoder.mirror(encoder.mirror(x)), x)
    without_sides = modality not in ("image", "video") or spec in (VECTOR, VIDEOS[2])
    assert torch.equal(encoder.mirror(x), x) == without_sides


@pytest.mark.parametrize("name", ["cnn", "vit", "torchvision"])
def test_pixels_are_mirrored_left_to_right(name):
    image = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    image[0, 3, 0] = 255
    assert build("image", name, IMAGES[0]).mirror(image).nonzero()[:, 1:3].tolist() == [[3, 63]] * 3


def test_the_projection_mirrors_rows_of_cells():
    encoder = build("image", "projection", FeatureSpec((4, 2)))
    cells = torch.arange(8).view(1, 4, 2)
    assert encoder.mirror(cells)[0, :, 0].tolist() == [2, 0, 6, 4]


@pytest.mark.parametrize(("name", "size_px"), [("cnn", 64), ("vit", 64), ("cnn", 32), ("vit", 32), ("vit", 100)])
def test_pixels_end_as_eight_by_eight_cells(name, size_px):
    spec = FeatureSpec((size_px, size_px, 3))
    assert build("image", name, spec)(features(spec)).shape[1] == 64


@pytest.mark.parametrize("name", WORD_ENCODERS)
def test_more_padding_changes_nothing(name):
    encoder, words = build("text", name, WORDS).eval(), features(WORDS)[2:]  # of 5 and 4 words
    long, short = encoder(words), encoder(words[:, :5])
    real = encoder.real(words, long.shape[1])
    assert real.sum().item() == (2 if name == "bag" else 9)
    short_real = encoder.real(words[:, :5], short.shape[1])
    torch.testing.assert_close(long[real], short[short_real])


@pytest.mark.parametrize("name", WORD_ENCODERS)
def test_a_missing_text_is_not_real_and_finite(name):
    encoder, words = build("text", name, WORDS), features(WORDS)
    words[1] = 0
    sequence = encoder(words)
    assert Encoded(sequence, encoder.real(words, sequence.shape[1])).present_B.tolist() == [True, False, True, True]
    sequence.square().sum().backward()
    assert sequence.isfinite().all() and all(p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("name", WORD_ENCODERS)
def test_all_but_the_bag_know_the_order_of_words(name):
    encoder, words = build("text", name, WORDS).eval(), torch.tensor([[1, 2, 3], [3, 2, 1]])
    first, last = encoder(words).mean(1)
    assert torch.allclose(first, last, atol=1e-6) == (name == "bag")


def test_the_projection_takes_rows_of_zeros_for_padding():
    encoder, x = build("text", "projection", TOKENS), features(TOKENS)
    x[1, 4:] = 0
    x[2] = 0
    assert encoder.real(x, 7).sum(1).tolist() == [7, 4, 0, 7]
    assert encoder(x).isfinite().all()
    pooled = features(VECTOR)
    pooled[2] = 0
    assert build("text", "projection", VECTOR).real(pooled, 1).tolist() == [[True], [True], [False], [True]]


@pytest.mark.parametrize(
    ("name", "frames", "places"),
    [
        *(("cnn", 50, 7), ("cnn", 9, 2)),
        *((name, frames, places) for name in ("gru", "cnn_gru") for frames, places in ((50, 25), (9, 5))),
    ],
)
def test_sound_keeps_its_time_in_coarser_steps(name, frames, places):
    spec = FeatureSpec((frames, 20))
    assert build("audio", name, spec)(features(spec)).shape[1] == places


@pytest.mark.parametrize("name", ["cnn", "gru", "cnn_gru"])
def test_loudness_and_silence_do_no_harm(name):
    encoder, x = build("audio", name, SPEECH).eval(), features(SPEECH).float()
    torch.testing.assert_close(encoder(2 * x + 3), encoder(x), atol=1e-4, rtol=1e-4)
    assert encoder(torch.zeros_like(x)).isfinite().all()


def test_the_padding_has_no_part_in_how_a_recording_is_normalised():
    x = features(SPEECH).float()
    padded = torch.cat([x, torch.full((4, 30, 20), -13.8125)], dim=1)
    found = normalise(padded)
    torch.testing.assert_close(found[:, :50], normalise(x))
    torch.testing.assert_close(found[:, :50].mean((1, 2)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, :50].std((1, 2), correction=0), torch.ones(4), atol=1e-4, rtol=0)
    assert found[:, 50:].eq(0).all()


@pytest.mark.parametrize("name", ["cnn", "gru", "cnn_gru"])
def test_sound_is_augmented_in_training_alone(name):
    encoder, x = build("audio", name, SPEECH), features(SPEECH)
    assert not torch.equal(encoder.prepare(x), encoder.prepare(x))
    encoder.eval()
    assert torch.equal(encoder.prepare(x), encoder.prepare(x))


def test_augmenting_shifts_and_masks_within_its_bounds():
    torch.manual_seed(0)
    frames, bands = 85, 20
    unmoved = augment(torch.arange(1.0, frames + 1).view(1, -1, 1).expand(50, -1, bands), max_shift=0.0)
    kept = unmoved > 0
    assert unmoved[kept].equal(torch.arange(1.0, frames + 1).view(1, -1, 1).expand(50, -1, bands)[kept])
    x = torch.arange(1.0, frames + 1).view(1, -1, 1).expand(400, -1, bands)
    augmented = augment(x)
    lost_frames, lost_bands = (augmented == 0).all(2).sum(1), (augmented == 0).all(1).sum(1)
    assert lost_frames.unique().tolist() == list(range(11))  # 85 / 8 = 10.6
    assert lost_bands.unique().tolist() == list(range(4))  # 20 / 6 = 3.3
    assert ((augmented == 0).sum((1, 2)) == lost_frames * bands + lost_bands * (frames - lost_frames)).all()
    moved = (augmented - x)[:, 30:50][augmented[:, 30:50] != 0]
    assert moved.unique().tolist() == list(range(-8, 9))  # 85 / 10 = 8.5


@pytest.mark.parametrize("backbone", ["resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "mobilenet_v3_small"])
def test_a_backbone_s_own_weights_give_its_own_grid(backbone):
    torch.manual_seed(2)
    model = torchvision.models.get_model(backbone, weights=None).eval()
    encoder = Backbone(IMAGES[0], SIZE, named(backbone)).eval()
    seen = {}
    last = [name for name, _ in encoder.trunk.named_children()][-1]
    model.get_submodule(last).register_forward_hook(lambda part, inputs, output: seen.update(grid=output))
    encoder.load_weights(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    model(x)
    torch.testing.assert_close(encoder.trunk(x), seen["grid"], atol=1e-4, rtol=1e-4)


def test_a_backbone_s_batch_norms_follow_training_and_rest_in_evaluation():
    encoder, x = build("image", "torchvision", IMAGES[0]), features(IMAGES[0])
    assert not any(value.any() for name, value in encoder.state_dict().items() if name.endswith("num_batches_tracked"))
    encoder(x)
    before = {name: value.clone() for name, value in encoder.state_dict().items() if "running_mean" in name}
    assert before and all(value.any() for value in before.values())
    encoder.eval()(x)
    assert all(torch.equal(encoder.state_dict()[name], value) for name, value in before.items())


def test_frozen_batch_norms_keep_the_statistics_of_the_weights_and_still_learn():
    encoder = Backbone(IMAGES[0], SIZE, named("resnet18", batch_norms="frozen"))  # as built, and as `train` leaves it
    before = {name: value.clone() for name, value in encoder.trunk.named_buffers()}
    encoder(features(IMAGES[0])).square().sum().backward()
    encoder.eval().train()(features(IMAGES[0]))
    assert encoder.training and all(torch.equal(value, before[name]) for name, value in encoder.trunk.named_buffers())
    assert encoder.trunk.bn1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v3_small"])
@pytest.mark.parametrize("train", ["frozen", "lora", "last_layers", "all"])
def test_of_a_backbone_learns_what_was_asked_for(backbone, train):
    pytest.importorskip("peft", reason="needs the extra `huggingface`")
    weights = torchvision.models.get_model(backbone, weights=None).state_dict()
    torch.manual_seed(0)
    encoder = Backbone(IMAGES[0], SIZE, named(backbone, train=train, last_layers=1))
    encoder.load_weights(weights)
    before = {name: value.clone() for name, value in encoder.trunk.state_dict().items()}
    optimizer = torch.optim.SGD(encoder.parameters(), 0.1)
    for _ in range(2):  # LoRA's first step moves one of its two matrices alone
        encoder.train()(features(IMAGES[0])).square().sum().backward()
        optimizer.step()
    moved = {name for name, value in encoder.trunk.state_dict().items() if not torch.equal(value, before[name])}
    if train == "frozen":
        assert not moved and not encoder.pretrained_weights()
    elif train == "lora":
        assert moved and all(LORA in name for name in moved) and not encoder.pretrained_weights()
    elif train == "last_layers":
        last = {"resnet18": "layer4.1.", "mobilenet_v3_small": "features.12."}[backbone]
        assert moved and all(name.startswith(last) for name in moved)
    else:
        assert {name for name, _ in encoder.trunk.named_parameters()} <= moved
    assert encoder.project.weight.grad.abs().sum() > 0


def test_a_backbone_with_lora_begins_as_the_backbone_itself():
    pytest.importorskip("peft", reason="needs the extra `huggingface`")
    weights = torchvision.models.get_model("resnet18", weights=None).state_dict()
    trunks = []
    for train in ("all", "lora"):
        encoder = Backbone(IMAGES[0], SIZE, named("resnet18", train=train)).eval()
        encoder.load_weights(weights)
        trunks.append(encoder.trunk)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(trunks[1](x), trunks[0](x))
    for part in trunks[1].modules():
        if hasattr(part, "merge"):
            torch.nn.init.normal_(part.lora_B["default"].weight, std=0.1)
    expected = trunks[1](x)
    assert not torch.allclose(expected, trunks[0](x))
    for part in trunks[1].modules():
        if hasattr(part, "merge"):
            part.merge()
    torch.testing.assert_close(trunks[1](x), expected, atol=1e-4, rtol=1e-3)


def test_a_backbone_that_cannot_be_used_says_why():
    with pytest.raises(InputError, match=r"backbone 'resnet19' is unknown; expected one of alexnet, .*resnet18"):
        Backbone(IMAGES[0], SIZE, named("resnet19"))
    with pytest.raises(InputError, match="resnet18 has 10 layers, fewer than last_layers: 11"):
        Backbone(IMAGES[0], SIZE, named("resnet18", train="last_layers", last_layers=11))
    with pytest.raises(InputError, match="'vit_b_16' is no chain of grids; use encoder vit"):
        Backbone(IMAGES[0], SIZE, named("vit_b_16"))
    with pytest.raises(InputError, match="images of 32 x 32 px are too small for backbone alexnet"):
        Backbone(IMAGES[1], SIZE, named("alexnet"))
    encoder = Backbone(IMAGES[0], SIZE, named("mobilenet_v3_small"))
    state = torchvision.models.get_model("mobilenet_v3_small", weights=None).state_dict()
    with pytest.raises(InputError, match="mobilenet_v3_small: 1 of .* missing, the first is features.0.0.weight"):
        encoder.load_weights({name: value for name, value in state.items() if name != "features.0.0.weight"})
    with pytest.raises(InputError, match="size mismatch for features.0.0.weight"):
        encoder.load_weights(state | {"features.0.0.weight": torch.zeros(1)})


OVER_TIME = pytest.mark.parametrize("name", ENCODERS["video"])
EACH_KIND = pytest.mark.parametrize("spec", VIDEOS, ids=["pixels", "cells", "pooled"])


@OVER_TIME
@EACH_KIND
def test_the_mean_of_a_video_sees_no_order_and_the_others_do(name, spec):
    encoder, x = build("video", name, spec).eval(), features(spec)[:1]
    pooled, of_turned = encoder(x).mean(1), encoder(x.flip(1)).mean(1)
    assert torch.allclose(pooled, of_turned, atol=1e-5) == (name == "mean")


@OVER_TIME
@EACH_KIND
def test_frames_that_are_not_there_have_no_influence_and_a_video_that_is_missing_is_finite(name, spec):
    encoder, x = build("video", name, spec).eval(), features(spec)[:2].clone()
    x[0, 2:] = 0
    x[1, :] = 0
    sequence = encoder(x)
    assert encoder.real(x, sequence.shape[1]).sum(1).tolist() == [1 if name == "mean" else 2, 0]
    assert sequence.isfinite().all()
    assert encoder.train()(x[1:]).isfinite().all()


@OVER_TIME
def test_a_single_frame_may_stand_anywhere(name):
    spec = VIDEOS[2]
    encoder, x = build("video", name, spec).eval(), torch.zeros(2, *spec.shape)
    x[0, 0] = x[1, 3] = features(spec)[0, 0]
    (first, later), real = encoder(x), encoder.real(x, encoder(x).shape[1])
    assert real.sum(1).tolist() == [1, 1]
    if name in ("mean", "gru"):  # the others see where it stands
        torch.testing.assert_close(first[real[0]], later[real[1]])


@pytest.mark.parametrize("name", list(ENCODERS["fields"]))
def test_a_missing_cell_an_unknown_category_and_zero_are_three_cases(name):
    encoder = build("fields", name, FIELDS[0]).eval()
    rows = torch.zeros(4, *FIELDS[0].shape)
    rows[1, 1, 0] = 1
    rows[2, 1, 1] = 2
    rows[3, 0, 2] = 1.5
    with torch.no_grad():
        encoder.categories.weight[encoder.starts[1]] = 0.3  # what training would make of it
    found = encoder(rows).flatten(1)
    assert all(not torch.allclose(found[i], found[j], atol=1e-3) for i in range(4) for j in range(i))


def test_a_category_has_a_vector_of_its_own_in_each_field():
    encoder = build("fields", "transformer", FIELDS[0])
    assert encoder.starts == [0, 0, 4, 7, 7] and encoder.categories.num_embeddings == 9
