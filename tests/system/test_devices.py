"""What a device lacks, told in one line."""

import pytest

from nanokimi.config import ConfigError
from nanokimi.system.devices import explain_lack

# As torch says it.
SAID = {
    "aten::histc": NotImplementedError(
        "The operator 'aten::histc' is not currently implemented for the MPS device. If you want this op to be "
        "considered for addition\nplease comment"
    ),
    "float64": TypeError(
        "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
    ),
    "ComplexDouble": TypeError(
        "Trying to convert ComplexDouble to the MPS backend but it does not have support for that dtype."
    ),
    "BFloat16": TypeError(
        "Trying to convert BFloat16 to the MPS backend but it does not have support for that dtype."
    ),
}


def test_what_apples_gpu_lacks_is_named():
    for name, error in SAID.items():
        with pytest.raises(ConfigError) as told, explain_lack("mps"):
            raise error
        assert str(told.value) == f"device=mps: this torch has no {name} there; use device=cpu"


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), TypeError("float64 is no text")])
def test_any_other_error_stays_what_it_is(error):
    with pytest.raises(type(error)) as told, explain_lack("mps"):
        raise error
    assert told.value is error


def test_elsewhere_nothing_is_changed():
    for error in SAID.values():
        with pytest.raises(type(error)) as told, explain_lack("cpu"):
            raise error
        assert told.value is error
