import pytest
import torch
from tiny import mlp_networks

from lwgan_dist.method.objective import gradient_penalties, input_gradient, mix, reconstruction_errors


def test_penalty_of_a_linear_critic_is_exact():
    slope = torch.tensor([3.0, -4.0], dtype=torch.float64)
    x = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradient = input_gradient(lambda v: v @ slope, x)
    torch.testing.assert_close(gradient_penalties(gradient), torch.full((7,), 16.0, dtype=torch.float64))


def test_reconstruction_error_is_the_norm_of_the_flattened_row():
    x = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    assert reconstruction_errors(x, torch.zeros_like(x)).tolist() == [5.0]


def test_gradient_of_a_perfect_reconstruction_is_zero_and_not_nan():
    x = torch.ones(3, 2, requires_grad=True)
    reconstruction_errors(x, torch.ones(3, 2)).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0]] * 3


def test_mixed_points_lie_on_the_segment():
    u, v = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 0.0]])
    assert mix(torch.tensor([[0.0]]), u, v).tolist() == v.tolist()
    assert mix(torch.tensor([[1.0]]), u, v).tolist() == u.tolist()
    assert mix(torch.tensor([[0.25]]), u, v).tolist() == [[4.0, 0.5]]


def test_mixed_images_lie_on_the_segment_of_their_own_row():
    u, v = torch.rand(3, 2, 4, 5), torch.rand(3, 2, 4, 5)
    alpha = torch.tensor([[0.0], [1.0], [0.25]])
    mixed = mix(alpha, u, v)
    torch.testing.assert_close(mixed, torch.stack([v[0], u[1], 0.25 * u[2] + 0.75 * v[2]]))
    torch.testing.assert_close(mixed.flatten(1), mix(alpha, u.flatten(1), v.flatten(1)), rtol=0, atol=0)


@pytest.fixture
def critic():
    return mlp_networks(3, 4, 3, "silu", seed=1, precision="float64").critic


def rows(n, columns, seed=0):
    return torch.randn(n, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ranks", [torch.tensor(2), torch.tensor([1, 4, 2, 2, 3])])
def test_closed_form_input_gradient_equals_automatic_differentiation(critic, ranks):
    x = rows(5, 3)
    torch.testing.assert_close(
        critic.input_gradient(x, ranks), input_gradient(lambda v: critic(v, ranks), x), rtol=1e-12, atol=1e-14
    )


def test_closed_form_penalty_has_the_parameter_gradients_of_double_differentiation(critic):
    x, ranks = rows(6, 3), torch.tensor(3)
    parameters = list(critic.parameters())
    closed = gradient_penalties(critic.input_gradient(x, ranks)).mean()
    double = gradient_penalties(input_gradient(lambda v: critic(v, ranks), x)).mean()
    for ours, reference in zip(
        torch.autograd.grad(closed, parameters, allow_unused=True),
        torch.autograd.grad(double, parameters, allow_unused=True),
        strict=True,
    ):
        if ours is None or reference is None:  # biases and codes move no activity, almost everywhere
            assert all(g is None or not g.any() for g in (ours, reference))
        else:
            torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-14)


def test_penalty_of_a_smooth_critic_passes_gradgradcheck():
    weight = rows(4, 3, 1).requires_grad_()

    def penalty(x):
        return gradient_penalties(input_gradient(lambda v: torch.tanh(v @ weight.T).sum(1), x))

    x = rows(3, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: reconstruction_errors(x, 2 * x.sin()), (x,))
    assert torch.autograd.gradcheck(penalty, (x,))
    assert torch.autograd.gradgradcheck(penalty, (x,))
