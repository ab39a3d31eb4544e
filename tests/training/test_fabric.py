"""What the machine does not have is the user's to mend, in one sentence."""

import pytest

from glcm_mae.errors import UserError
from glcm_mae.settings import HardwareSettings
from glcm_mae.training.fabric import launch


@pytest.mark.parametrize("accelerator", ["tpu", "abacus"])  # the one's library is not installed
def test_hardware_that_is_not_there_is_refused(accelerator: str) -> None:
    with pytest.raises(UserError, match="hardware asks for what this machine does not have"):
        launch(HardwareSettings(accelerator))
