"""A trained network of units as a PyTorch module: equal values, parameters that train, a file that PyTorch reads."""

import numpy as np
import pytest

from tests.export.networks import CASES, close, images_of, network_of
from varpro.errors import ConfigError

torch = pytest.importorskip("torch")
from varpro.adapters.torch import network as module_of  # noqa: E402
from varpro.adapters.torch.network import save_program  # noqa: E402


@pytest.mark.parametrize("name", CASES)
def test_a_module_agrees_with_the_model(name):
    network, images = network_of(name), images_of(name)
    module = module_of(network)
    for pixels in (torch.tensor(images), torch.tensor(images / 255.0, dtype=torch.float32)):
        close(module(pixels).detach().numpy(), network.scores(images))
        close(module.probabilities(pixels).detach().numpy(), network.predict_proba(images))


@pytest.mark.parametrize("name", ["quadratic in colour", "convolutional, mix", "local-bilinear"])
def test_its_parameters_can_be_trained_further(name):
    module, pixels = module_of(network_of(name)), torch.tensor(images_of(name))
    labels = torch.arange(len(pixels)) % 3
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        losses.append(torch.nn.functional.cross_entropy(module(pixels), labels))
        losses[-1].backward()
        assert all(parameter.grad is not None for parameter in module.parameters())
        optimiser.step()
    assert losses[-1] < losses[0]
    again = module_of(network_of(name))
    again.load_state_dict(module.state_dict())
    torch.testing.assert_close(again(pixels), module(pixels))


def test_a_program_is_read_by_pytorch_alone_for_any_number_of_images(tmp_path):
    network, images = network_of("convolutional"), images_of("convolutional")
    save_program(module_of(network), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    pixels = torch.tensor(images / 255.0, dtype=torch.float32)
    close(program(pixels).detach().numpy(), network.scores(images))
    assert program(pixels[:1]).shape == (1, 3)


def test_a_network_without_calibration_has_no_probabilities():
    from dataclasses import replace

    module = module_of(replace(network_of("quadratic"), calibration=None))
    with pytest.raises(ConfigError, match=r"data\.validation"):
        module.probabilities(torch.tensor(images_of("quadratic")))


def test_a_layered_network_is_a_module_already():
    with pytest.raises(ConfigError, match="network of PyTorch layers"):
        module_of(np.empty(0))
