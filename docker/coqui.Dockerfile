# The synthesizer on Coqui TTS, for the voices of docs/voices.md; needs an NVIDIA GPU to be quick, runs without one.
#   docker build -f docker/coqui.Dockerfile -t parley-synthesizer-coqui .
# No weights inside: the pack in the volume /models brings its voice. ChatTTS (AGPL) is not part of it.

FROM python:3.11-slim AS libraries
WORKDIR /opt/parley
COPY docker/requirements.py pyproject.toml constraints-coqui.txt ./
RUN python requirements.py coqui > requirements.txt \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints-coqui.txt -r requirements.txt

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PARLEY_HOST=0.0.0.0
# espeak-ng: phones for the VITS models that were trained on them.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends espeak-ng \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 parley \
    && install -d -o parley -g parley /models
COPY --from=libraries /opt/venv /opt/venv
WORKDIR /opt/parley
COPY LICENSE docker/health.py ./
COPY models models
COPY app app
USER 10001
VOLUME /models
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s CMD ["python", "health.py"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["synthesizer"]
