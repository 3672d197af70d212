"""The scores as the organisers write them, step by step and pair by pair: for small arrays only."""

import numpy as np
import torch
from PIL import Image

CAMERA = np.array(
    [[1591.1095, 0, 945.64465, 0], [0, 1591.1095, 722.8234, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
)


def rays(h, w):
    """25LPCVC_Evaluations Track 3: (3, h * w), a grid in ij order, torch's inverse and matmul."""
    x, y = torch.meshgrid(torch.arange(w), torch.arange(h), indexing="ij")
    pixels = torch.stack((x, y)).view(2, -1)
    pixels = torch.cat((pixels, torch.ones(1, h * w)))
    inverse = torch.from_numpy(CAMERA.astype(np.float32)).inverse()
    return (inverse[:3, :3] @ pixels).numpy()


def nearest(points, others):
    """The distance from each point to the nearest other, float32, in the extension's order."""
    found = np.zeros(len(points), np.float32)
    for j, point in enumerate(points):
        dx, dy, dz = (others - point).T
        d = (dx * dx + dy * dy) + dz * dz
        # The extension takes the first and then what is less, which nothing is than a NaN.
        found[j] = d[0] if np.isnan(d[0]) else np.fmin.reduce(d)
    return np.sqrt(found)


def shares(points, others):
    p = (torch.from_numpy(nearest(points, others)) < 0.1).float().mean()
    r = (torch.from_numpy(nearest(others, points)) < 0.1).float().mean()
    return p, r


def f_score(p, r):
    if p < 1e-3 and r < 1e-3:
        return p
    return 2 * p * r / (p + r)


def depth(prediction, truth, confidence):
    """abs_rel, sq_rel, rmse, rmse_log, a1, a2, a3, F, P and R of one image."""
    pred = prediction.copy()[0, 0]
    height, width = pred.shape
    gt = truth.astype(np.float32) / 1000.0
    conf = confidence
    if gt.shape != pred.shape:
        gt = np.array(Image.fromarray(gt).resize((width, height), Image.NEAREST))
        conf = np.array(Image.fromarray(conf).resize((width, height), Image.NEAREST))
    gt[gt == 0] = 1e-5
    pred[pred == 0] = 1e-5
    pred = np.median(gt) / np.median(pred) * pred
    g, p = gt[conf >= 1], pred[conf >= 1]
    thresh = np.maximum(g / p, p / g)
    mask = (conf == 2 if (conf == 2).any() else conf == 1).ravel()
    lines = rays(height, width)
    clouds = [np.ascontiguousarray((lines * d.ravel())[:, mask].T) for d in (pred, gt)]
    precision, recall = shares(*clouds)
    return (
        np.mean(np.abs(g - p) / g),
        np.mean(((g - p) ** 2) / g),
        np.sqrt(((g - p) ** 2).mean()),
        np.sqrt(((np.log(g) - np.log(p)) ** 2).mean()),
        (thresh < 1.25).mean(),
        (thresh < 1.25**2).mean(),
        (thresh < 1.25**3).mean(),
        *(float(100 * share) for share in (f_score(precision, recall), precision, recall)),
    )


def iou(prediction, truth):
    """25LPCVC_Evaluations Track 2."""
    mask = (prediction > 0.5).astype(np.uint8)
    both, either = (mask & truth).sum(), (mask | truth).sum()
    return (both / (either + 1e-6)).item()


def similarities(images, texts):
    """The evaluator's normalisation, then scikit-learn's, then one product."""
    sides = []
    for rows in (images, texts):
        once = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        sides.append(once / np.sqrt(np.einsum("ij,ij->i", once, once))[:, None])
    return sides[0] @ sides[1].T


def recall_at_10(images, texts, truth, text_ids):
    """26LPCVC Track 1, evaluate_track1."""
    ids = np.asarray(text_ids).astype(np.int16)
    similar = similarities(images, texts)
    recalls = []
    for i, wanted in enumerate(truth):
        top = np.argsort(-similar[i])[:10]
        found = {int(ids[index]) for index in top}
        recalls.append(len(found & set(wanted)) / len(wanted))
    return np.mean(recalls), recalls


def official_recall(images, texts, truth, text_ids):
    """The same as the evaluator's loop has it: over the images, whatever the lists hold."""
    ids = np.asarray(text_ids, int).astype(np.int16).tolist()
    similar = similarities(images, texts)
    recalls = []
    for i in range(len(images)):
        wanted = truth[i]
        near = [ids[index] for index in np.argsort(-similar[i])[:10]]
        recalls.append(len(set(near) & set(wanted)) / len(wanted))
    return np.mean(recalls)


def class_iou(logits, truth):
    """qai-hub-models: upsample, take the class, count; percentages of 19 classes."""
    full = torch.nn.functional.interpolate(
        torch.from_numpy(logits), truth.shape, mode="bilinear", align_corners=False
    )
    found = full.argmax(1)[0].numpy()
    shares = []
    for number in range(19):
        a, b = (found == number) & (truth < 19), truth == number
        union = (a | b).sum()
        shares.append(100 * (a & b).sum() / union if union else np.nan)
    return shares
