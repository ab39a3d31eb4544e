"""What pytest leaves alone where Triton, which is for Linux, is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("triton") else ["src/glcm_mae/texture/fused_cuda.py"]
