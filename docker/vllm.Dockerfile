# The language worker on vLLM: Parley's worker in an environment of its own, on top of vLLM's stock image.
#   docker build -f docker/vllm.Dockerfile -t parley-language-vllm .
# The worker starts vLLM with the image's own Python, gives it the packs' adapters, and ends with it; docs/vllm.md.

FROM vllm/vllm-openai:v0.32.0
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PARLEY_HOST=0.0.0.0 \
    PARLEY_ENGINE=vllm \
    PARLEY_VLLM_PYTHON=/usr/bin/python3
WORKDIR /opt/parley
COPY docker/requirements.py pyproject.toml constraints.txt ./
# PocketSphinx is a recognizer, and has no wheel for this image's Python.
RUN /usr/bin/python3 requirements.py > requirements.txt \
    && sed -i '/pocketsphinx/d' requirements.txt \
    && /usr/bin/python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt -r requirements.txt \
    && useradd --create-home --uid 10001 parley \
    && install -d -o parley -g parley /models
COPY LICENSE docker/health.py ./
COPY models models
COPY app app
USER 10001
VOLUME /models
EXPOSE 8000
# Loading a model of 15 GB and compiling its graphs takes minutes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s CMD ["python", "health.py"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["language"]
