# tap-redivis as an image, from a wheel built before; docs/docker.md says how to use it.
#   python -m pip wheel --no-deps --wheel-dir dist .
#   docker build --tag tap-redivis .
FROM python:3.13-slim

WORKDIR /install
COPY constraints.txt dist/tap_redivis-0.1.0-py3-none-any.whl ./
RUN python -m pip install --no-cache-dir --root-user-action=ignore --constraint constraints.txt ./tap_redivis-0.1.0-py3-none-any.whl

# A number, so that an orchestrator can see that it is not root. Any other will do too: nothing is in its home.
RUN useradd --no-create-home --uid 10001 tap
USER 10001
WORKDIR /data
ENTRYPOINT ["tap-redivis"]
