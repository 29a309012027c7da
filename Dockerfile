# The command line, the REST API and the page of crnet, on the CPU. docs/serve.md says how to run it as a Space.
#
#   docker build --tag crnet .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --publish 127.0.0.1:7860:7860 \
#     --volume "$PWD/runs/demo:/srv/run:ro" crnet
#   docker run --rm --volume "$PWD:/data" crnet predict /data/runs/demo /data/talk.mp4
#
# On x86, PyTorch's default wheel includes several GB of CUDA. To leave them out, build with
# --build-arg TORCH_INDEX_URL=... and the address that pytorch.org names for CPU wheels.
FROM python:3.11-slim

ARG TORCH_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

WORKDIR /opt/crnet
COPY constraints.txt ./
RUN pip install --constraint constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src ./src
RUN pip install --constraint constraints.txt ".[all]"

RUN useradd --create-home --uid 10001 crnet
USER 10001
WORKDIR /home/crnet
# With a read-only file system, /tmp is the only place to write.
ENV PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["crnet"]
CMD ["serve", "/srv/run", "--host", "0.0.0.0"]
