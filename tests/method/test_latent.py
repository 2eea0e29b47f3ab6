import torch

from lwgan_dist.method.latent import mask_to_rank, one_hot_code, thermometer_code


def test_mask_is_the_projection_on_the_first_axes():
    z = torch.arange(1.0, 7.0).view(2, 3)
    masked = mask_to_rank(z, torch.tensor([1, 2]))
    assert masked.tolist() == [[1.0, 0.0, 0.0], [4.0, 5.0, 0.0]]
    assert mask_to_rank(masked, torch.tensor([1, 2])).tolist() == masked.tolist()


def test_the_largest_rank_masks_nothing():
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mask_to_rank(z, torch.tensor(3)), z)


def test_codes_of_one_rank_and_of_a_row_each_agree():
    ranks = torch.tensor([1, 2, 3])
    assert one_hot_code(ranks, 3, torch.float32).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert thermometer_code(ranks, 3, torch.float32).tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    for rank in (1, 2, 3):
        for code in (one_hot_code, thermometer_code):
            one = code(torch.tensor(rank), 3, torch.float32)
            assert torch.equal(one, code(ranks, 3, torch.float32)[rank - 1])
