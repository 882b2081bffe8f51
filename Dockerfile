# One image for the web service (the default command), `migrate` and `sync_gists`:
#   docker run IMAGE                                   serve the API on port 3000
#   docker run IMAGE python manage.py sync_gists       run one sync
# The base image is not pinned to a digest: the build prints the digest it used, and Dependabot proposes newer versions.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
# hadolint ignore=DL3008  # Debian removes old package versions; the base image pins the release.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential default-libmysqlclient-dev pkg-config \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /build
COPY requirements-build.txt requirements.txt ./
# As in the Makefile: every file has a hash, and the build of mysqlclient downloads nothing.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_REQUIRE_HASHES=1
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install -r requirements-build.txt \
    && /opt/venv/bin/pip install --no-build-isolation -r requirements.txt \
    && /opt/venv/bin/pip uninstall --yes --quiet setuptools pip

FROM python:${PYTHON_VERSION}-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libmariadb3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin gisttracker
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LISTEN_HOST=0.0.0.0 \
    LOG_FORMAT=json
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY manage.py ./
COPY gisttracker ./gisttracker
COPY people ./people
COPY sync ./sync
RUN python manage.py collectstatic --no-input --verbosity 0 \
    && python -m compileall -q gisttracker people sync
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gisttracker" \
    org.opencontainers.image.description="Turns the public gists of GitHub users into Pipedrive activities" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="MIT"
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('LISTEN_PORT') or os.environ.get('PORT') or 3000}/readyz\", timeout=2)"]
CMD ["gunicorn", "-c", "python:gisttracker.web.gunicorn", "gisttracker.web.asgi"]
