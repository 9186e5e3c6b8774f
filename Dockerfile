# tap-redivis as an image, from a wheel built before:
#   python -m pip wheel --no-deps --wheel-dir dist .
#   docker build --tag tap-redivis .
#   docker run --rm --env REDIVIS_API_TOKEN --volume "$PWD:/home/tap:ro" tap-redivis --config config.json
FROM python:3.13-slim

WORKDIR /install
COPY constraints.txt dist/*.whl ./
RUN python -m pip install --no-cache-dir --root-user-action=ignore --constraint constraints.txt ./*.whl

# A number, so that an orchestrator can see that it is not root.
RUN useradd --create-home --uid 10001 tap
USER 10001
WORKDIR /home/tap
ENTRYPOINT ["tap-redivis"]
