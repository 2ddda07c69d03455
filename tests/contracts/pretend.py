"""A machine with one CUDA device of the newest kind, pretended: for counting what a program would ask of it.

`use` changes torch for the rest of the process, so only a process of its own calls it.
"""

import ctypes
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
_TORCH = Path(importlib.util.find_spec("torch").submodule_search_locations[0])


def build(folder: Path) -> Path:
    """Compile the pretended device into `folder`: some seconds."""
    target = folder / f"pretended{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = [_TORCH / "include", _TORCH / "include/torch/csrc/api/include", sysconfig.get_path("include")]
    subprocess.run(
        [COMPILER, "-std=c++20", "-O0", "-shared", "-fPIC", *(f"-I{path}" for path in include),
         str(Path(__file__).with_name("pretend.cpp")), "-o", str(target)],
        check=True, timeout=300,
    )  # fmt: skip
    return target


def use(library: Path) -> None:
    """Let torch see the device. It must not have been imported before."""
    assert "torch" not in sys.modules
    for name in ("libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(_TORCH / "lib" / name), ctypes.RTLD_GLOBAL)
    spec = importlib.util.spec_from_file_location("pretended", library)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    import torch
    import torch.amp.autocast_mode as autocast_mode
    import torch.nn.utils.clip_grad as clip_grad

    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_capability = lambda *_: (9, 0)
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    autocast_mode.amp_definitely_not_available = lambda: False
    clip_grad._has_foreach_support = lambda *_: True  # it asks for real tensors
    torch.Tensor.pin_memory = lambda tensor: tensor
    torch.autograd.set_multithreading_enabled(
        False
    )  # else each device has a thread, which would look for a driver
    _add_kernels(torch)


def _add_kernels(torch) -> None:
    """What torch asks a build with CUDA for, with results that have the right shapes."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("silu_backward", lambda grad, x: torch.empty_like(x), "CUDA")
    library.impl(
        "_fused_rms_norm",
        lambda x, shape, w, eps: (torch.empty_like(x), x.new_empty(*x.shape[:-1], 1)),
        "CUDA",
    )
    library.impl(
        "_fused_rms_norm_backward",
        lambda grad, x, shape, rstd, w, mask: (torch.empty_like(x), torch.empty_like(w)),
        "CUDA",
    )
    library.impl("_foreach_norm.Scalar", lambda ts, *_, **__: [t.new_empty(()) for t in ts], "CUDA")
    for name in (
        "_foreach_mul_.Scalar",
        "_foreach_mul_.Tensor",
        "_foreach_add_.List",
        "_foreach_lerp_.Scalar",
    ):
        library.impl(name, lambda *_, **__: None, "CUDA")
    library.impl("_foreach_lerp.Scalar", lambda ts, *_: [torch.empty_like(t) for t in ts], "CUDA")
    _add_kernels.kept = library  # its kernels are gone when it is

    def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        """The kernel that torch's own choice would take on a card with both."""
        assert q.dtype == k.dtype == v.dtype and attn_mask is None
        if q.dtype == torch.bfloat16 and q.shape[-1] == v.shape[-1]:
            return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, is_causal, scale=scale)[0]
        return torch.ops.aten._scaled_dot_product_efficient_attention(
            q, k, v, None, True, 0.0, is_causal, scale=scale
        )[0]

    torch.nn.functional.scaled_dot_product_attention = attention
