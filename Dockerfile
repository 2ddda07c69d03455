# The lab in a container, on one of two bases:
#
#   docker build -t nanokimi .
#   docker build -t nanokimi --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 --build-arg TORCH=cuda .
#   docker run --rm -p 127.0.0.1:8888:8888 -v nanokimi:/srv/lab/nanokimi/out nanokimi    # JupyterLab prints an address
#   docker run --rm nanokimi make bench PROFILE=smoke                                     # any other command
#
# TORCH=cpu takes torch from the index of its CPU builds, TORCH=cuda from PyPI, whose build brings CUDA along.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}
ARG TORCH=cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# What a base lacks: the slim Debian a make, the Ubuntu of CUDA a Python, both the compiler that compiled steps need.
# hadolint ignore=DL3008
RUN apt-get update -q \
  && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends g++ make \
  && { command -v python3 || apt-get install -y -q --no-install-recommends python3-dev python3-venv; } \
  && rm -rf /var/lib/apt/lists/*

# Notebooks run whatever stands in them, so nobody here is root.
RUN useradd --create-home --home-dir /srv/lab lab && install -d -o lab -g lab /srv/lab/nanokimi /srv/lab/nanokimi/out
# hadolint ignore=DL3066
USER lab
WORKDIR /srv/lab/nanokimi
COPY --chown=lab:lab . .
RUN .ci/install "${TORCH}"

ENV PATH=/srv/lab/nanokimi/.venv/bin:$PATH
EXPOSE 8888
# Inside a container 127.0.0.1 would be reached by nobody; the port is published to this machine alone, above.
CMD ["python", "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=0.0.0.0", "--notebook-dir=.", "--LabApp.default_url=/lab/tree/notebooks"]
