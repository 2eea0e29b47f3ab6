import pytest
import torch

from lwgan_dist.method import mmd
from lwgan_dist.method.mmd import SCALES, mmd_squared


def rows(n, columns, seed):
    return torch.randn(n, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kernel(a, b, q):
    d = (a.unsqueeze(1) - b).square().sum(2)
    return sum(2 * q * s / (2 * q * s + d) for s in SCALES)


def direct(a, z, q):
    n, m = len(a), len(z)
    off_a, off_z = 1 - torch.eye(n, dtype=a.dtype), 1 - torch.eye(m, dtype=a.dtype)
    within = (kernel(a, a, q) * off_a).sum() / (n * (n - 1)) + (kernel(z, z, q) * off_z).sum() / (m * (m - 1))
    return within - 2 * kernel(a, z, q).mean()


@pytest.mark.parametrize(("n", "m", "block"), [(9, 9, 1 << 15), (9, 9, 1), (40, 13, 100), (2, 2, 1 << 15)])
def test_blocks_do_not_change_value_or_gradient(monkeypatch, n, m, block):
    monkeypatch.setattr(mmd, "_BLOCK_ELEMENTS", block)
    a, z = rows(n, 3, 0).requires_grad_(), rows(m, 3, 1)
    torch.testing.assert_close(mmd_squared(a, z, 3), direct(a, z, 3), rtol=1e-12, atol=1e-12)
    (ours,) = torch.autograd.grad(mmd_squared(a, z, 3), a)
    (reference,) = torch.autograd.grad(direct(a, z, 3), a)
    torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-13)


def test_mmd_of_identical_samples_is_the_closed_form_and_not_zero():
    z = rows(11, 2, 3)
    off = kernel(z, z, 2)[~torch.eye(11, dtype=torch.bool)].mean()
    expected = 2 * (off - len(SCALES)) / 11
    torch.testing.assert_close(mmd_squared(z, z, 2), expected, rtol=1e-12, atol=1e-12)


def test_mmd_tells_a_shifted_sample():
    a, z = rows(300, 2, 4), rows(300, 2, 5)
    assert abs(mmd_squared(a, z, 2)) < 0.03
    assert mmd_squared(a + 2.0, z, 2) > 0.5


def test_mmd_passes_gradcheck():
    a, z = rows(5, 3, 6).requires_grad_(), rows(5, 3, 7)
    assert torch.autograd.gradcheck(lambda a: mmd_squared(a, z, 3), (a,))
