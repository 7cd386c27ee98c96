# Serves registered models over HTTP; docs/docker.md has the commands. Nothing secret goes in: token and tracking
# server are given to `docker run`.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    FUSELINE_ALLOW_PATHS=0
WORKDIR /app
RUN useradd --uid 10001 --create-home fuseline \
    && mkdir --mode=1777 artifacts .fuseline

# The lock that the tests run with. What a server never imports goes again in the same layer: 1.3 GB, most of it triton.
ARG LOCK=requirements.lock
COPY ${LOCK} requirements.lock
RUN pip install --no-cache-dir --require-hashes -r requirements.lock \
    && pip uninstall --yes --root-user-action=ignore triton mypy playwright pre-commit pytest ruff schemathesis

COPY params.yaml ./
COPY stages stages

USER fuseline
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=6s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
CMD ["python", "-m", "stages.serve", "--host", "0.0.0.0", "--port", "8000"]
