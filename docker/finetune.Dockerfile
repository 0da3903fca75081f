# Training: the recipes of finetune/ with what they need; results in the volume /opt/parley/runs.
#   docker build -f docker/finetune.Dockerfile -t parley-finetune .
#   docker run --gpus all -v runs:/opt/parley/runs parley-finetune finetune.starter.recognizer

FROM python:3.11-slim AS libraries
WORKDIR /opt/parley
COPY docker/requirements.py pyproject.toml constraints.txt ./
RUN python requirements.py train > requirements.txt \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt -r requirements.txt

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# The synthetic voices that the starter's recipes learn from.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
    espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts sox \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 parley
COPY --from=libraries /opt/venv /opt/venv
WORKDIR /opt/parley
COPY --chown=parley:parley models models
COPY LICENSE ./
COPY app app
COPY finetune finetune
RUN install -d -o parley -g parley /opt/parley/runs
USER 10001
VOLUME /opt/parley/runs
# Nothing listens here: the process is well as long as it runs.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m"]
CMD ["finetune.starter.recognizer"]
