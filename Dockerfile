# One image for every process of Retinue; the argument chooses the role:
#   docker run retinue api
#   docker run retinue workers workflows
#   docker run retinue workers calendar
ARG BASE=python:3.11-slim-bookworm

# Installs what deploy/requirements.lock pins: hashes checked, wheels only, so that no package's code runs while building.
FROM ${BASE} AS packages
COPY deploy/requirements.lock /requirements.lock
RUN python -m venv --without-pip /opt/retinue \
    && python -m pip --python /opt/retinue/bin/python install --no-cache-dir --disable-pip-version-check \
       --require-hashes --no-deps --only-binary :all: -r /requirements.lock

FROM ${BASE}
LABEL org.opencontainers.image.title="Retinue" \
      org.opencontainers.image.description="A durable personal assistant made of MicroAgents" \
      org.opencontainers.image.licenses="Apache-2.0"

# The numbers are fixed: volumes and `runAsUser` rely on them. New volumes at /data and /blobs take their owner from here.
RUN groupadd --gid 10001 retinue \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin retinue \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data /blobs

COPY --from=packages /opt/retinue /opt/retinue
# Owned by root: the process cannot change its own code. .dockerignore says what is copied.
COPY . /app

# -P below keeps the working directory off the import path; PYTHONPATH alone says where the rooms are.
ENV PATH=/opt/retinue/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RETINUE_DATA_DIR=/data \
    RETINUE_HOST=0.0.0.0 \
    RETINUE_PORT=8000
RUN python -m compileall -q /app

WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-P", "-m", "deploy.healthcheck"]
ENTRYPOINT ["python", "-P", "-m"]
CMD ["api"]
