"""Evaluation of a segmentor: figures, predictions, drawings, sliding windows, test-time augmentation."""

import pickle

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmtrtvit.apis import evaluate, load_config
from mmtrtvit.checkpoint import load_checkpoint, read_checkpoint
from mmtrtvit.datasets.toy import CLASSES
from mmtrtvit.errors import CheckpointError

SCOPE = 'mmseg'


def predictions(path):
    return [sample['pred_sem_seg']['data'][0].numpy() for sample in pickle.loads(path.read_bytes())]


@pytest.fixture
def run(toy_seg, tmp_path):
    """Evaluate the small segmentor: figures, and label maps by image."""

    def evaluated(**options):
        out = tmp_path / 'found.pkl'
        metrics = evaluate(
            toy_seg.config, str(toy_seg.checkpoint), work_dir=str(tmp_path / 'work'), out=str(out), **options
        )
        return metrics, predictions(out)

    return evaluated


@pytest.fixture(scope='module')
def model(toy_seg):
    init_default_scope(SCOPE)
    network = MODELS.build(load_config(toy_seg.config).model)
    load_checkpoint(network, toy_seg.checkpoint)
    return network.eval()


def normalized(image, model):
    """A BGR image as the network gets it."""
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    return (rgb - model.data_preprocessor.mean) / model.data_preprocessor.std


def scores_of(inputs, model):
    return model.encode_decode(inputs, [dict(img_shape=inputs.shape[2:])])


def padded_scores_of(inputs, model):
    """The scores of an image that is padded at its right and at its bottom, to multiples of 32."""
    height, width = inputs.shape[2:]
    padded = torch.nn.functional.pad(inputs, (0, -width % 32, 0, -height % 32))
    return scores_of(padded, model)[..., :height, :width]


def test_figures_are_those_of_the_label_maps(run, toy_seg, capfd):
    metrics, found = run()
    counts = np.zeros((len(CLASSES) + 1,) * 2)
    for path, labels in zip(toy_seg.images, found, strict=True):
        truth = cv2.imread(str(toy_seg.data / 'annotations' / 'validation' / f'{path.stem}.png'), cv2.IMREAD_UNCHANGED)
        assert labels.shape == truth.shape and labels.dtype == np.uint8
        np.add.at(counts, (truth[truth > 0].astype(int) - 1, labels[truth > 0]), 1)
    assert (counts.sum(0) > 0).sum() >= 3, 'a network that predicts one class shows little'
    right, truths, union = np.diag(counts), counts.sum(1), counts.sum(0) + counts.sum(1) - np.diag(counts)
    assert metrics['aAcc'] == pytest.approx(100 * right.sum() / truths.sum(), abs=0.01)
    with np.errstate(invalid='ignore'):
        assert metrics['mAcc'] == pytest.approx(100 * np.nanmean(right / truths), abs=0.01)
        assert metrics['mIoU'] == pytest.approx(100 * np.nanmean(right / union), abs=0.01)
    printed = capfd.readouterr().out
    assert all(f' {name} ' in printed for name in CLASSES) and 'mIoU' in printed


def test_predictions_are_without_the_scores_of_pixels(run, tmp_path):
    run()
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())
    assert all(set(sample) & {'seg_logits', 'gt_sem_seg'} == set() for sample in found)
    assert all('img_path' in sample for sample in found)


@pytest.mark.parametrize('absolute', [False, True])
def test_predictions_are_drawn_beside_the_truth(run, toy_seg, tmp_path, absolute):
    run(show_dir=str(tmp_path / 'shown') if absolute else 'shown')
    drawn = {path.stem: path for path in tmp_path.glob('shown/*.png' if absolute else 'work/*/shown/*.png')}
    assert set(drawn) == {path.stem for path in toy_seg.images}
    assert all(cv2.imread(str(path)).shape[1] > 1000 for path in drawn.values())


# --- sliding windows ----------------------------------------------------------------------------------------------


def test_the_variant_slides():
    config = load_config('configs/semfpn_trtvit_b_ade20k.py', variants=['slide'])
    assert config.model.test_cfg == dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
    assert config.model.test_cfg.crop_size == config.crop_size


def test_a_window_that_covers_the_image_gives_the_same(run):
    whole, slide = run(), run(variants=['slide'])
    assert whole[0] == pytest.approx(slide[0], abs=0.01)
    for ours, theirs in zip(whole[1], slide[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('size', [(128, 192), (70, 161), (64, 64), (40, 100)])
def test_overlapping_windows_are_averaged(model, size):
    window, stride = 64, 43
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    total, count = np.zeros((1, len(CLASSES) + 1, *size)), np.zeros(size)

    def starts(length):
        # each window begins a stride after the one before it, until the last one would leave the image
        found = [0]
        while found[-1] + window < length:
            found.append(min(found[-1] + stride, length - window))
        return found

    with torch.no_grad():
        for top in starts(size[0]):
            for left in starts(size[1]):
                place = np.s_[..., top : top + window, left : left + window]
                total[place] += scores_of(image[place], model).numpy()
                count[place] += 1
        model.test_cfg = type(model.test_cfg)(mode='slide', crop_size=(window, window), stride=(stride, stride))
        try:
            found = model.inference(image, [dict(ori_shape=size, img_shape=size)])
        finally:
            model.test_cfg = type(model.test_cfg)(mode='whole')
        whole = model.inference(image, [dict(ori_shape=size, img_shape=size)])
    np.testing.assert_allclose(found.numpy(), total / count, atol=1e-5)
    if max(size) > window:
        assert count.max() > 1 and not np.allclose(found, whole, atol=1e-3)
    else:
        np.testing.assert_allclose(found, whole, atol=1e-6)


# --- test-time augmentation ----------------------------------------------------------------------------------------


def test_augmentation_averages_probabilities(run, toy_seg, model):
    sides = (96, 128, 160)
    _, found = run(tta=True)
    _, plain = run()
    for path, merged in zip(toy_seg.images, found, strict=True):
        image = cv2.imread(str(path))
        total = 0
        with torch.no_grad():
            for side in sides:
                resized = mmcv.imrescale(image, (side, side))
                for flipped in (False, True):
                    scores = padded_scores_of(normalized(resized[:, ::-1] if flipped else resized, model), model)
                    scores = scores.flip(3) if flipped else scores
                    scores = torch.nn.functional.interpolate(scores, image.shape[:2], mode='bilinear')
                    total = total + scores[0].softmax(0) / (2 * len(sides))
        best = total.topk(2, dim=0).values
        # where two classes are as probable as each other, rounding decides
        clear = (best[0] - best[1] > 1e-4).numpy()
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(merged[clear], total.argmax(0).numpy()[clear])
    assert any((ours != theirs).mean() > 0.01 for ours, theirs in zip(found, plain, strict=True))


def test_logits_that_are_not_finite_are_refused(toy_seg, tmp_path):
    """They would become a label map of the wrong classes. mmseg calls its heads in a way that hooks do not see."""
    weights = dict(read_checkpoint(toy_seg.checkpoint)['state_dict'])
    weights['decode_head.conv_seg.weight'] = torch.full_like(weights['decode_head.conv_seg.weight'], 3e38)
    torch.save(dict(state_dict=weights), tmp_path / 'broken.pth')
    with pytest.raises(CheckpointError, match=r'infinite or not a number \(in decode_head\)'):
        evaluate(toy_seg.config, str(tmp_path / 'broken.pth'), work_dir=str(tmp_path / 'work'))
