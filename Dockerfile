# One image for each process of Retinue, and none holds more than its process needs: the ground floor, its own code and
# what deploy/locks/<part>.lock pins.
#   docker build --target capability --build-arg PART=calendar .    runs as: workers calendar
#   docker build --target workflows .                               runs as: workers workflows
#   docker build --target api .                                     runs as: api
#   docker build --target accounts .                                runs as: accounts
#   docker build --target offline .                                 runs as: offline
ARG BASE=python:3.11-slim-bookworm
ARG PART=calendar

FROM ${BASE} AS ground
LABEL org.opencontainers.image.title="Retinue" \
      org.opencontainers.image.description="A durable personal assistant made of MicroAgents" \
      org.opencontainers.image.licenses="Apache-2.0"

# The numbers are fixed: volumes and `runAsUser` rely on them. New volumes at /data and /blobs take their owner from here.
RUN groupadd --gid 10001 retinue \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin retinue \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data /blobs

# -P below keeps the working directory off the import path; PYTHONPATH alone says where the rooms are.
ENV PATH=/opt/retinue/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RETINUE_DATA_DIR=/data \
    RETINUE_LIVENESS_FILE=/tmp/alive \
    RETINUE_HOST=0.0.0.0 \
    RETINUE_PORT=8000
WORKDIR /app
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-P", "-m", "deploy.healthcheck"]
ENTRYPOINT ["python", "-P", "-m"]
# Owned by root: the process cannot change its own code. .dockerignore says what can be copied at all.
COPY LICENSE /app/
COPY deploy/__init__.py deploy/healthcheck.py /app/deploy/

# Installs what a lock pins: hashes checked, wheels only, so that no package's code runs while building.
FROM ${BASE} AS installer
RUN python -m venv --without-pip /opt/retinue
COPY deploy/locks /locks

FROM installer AS capability-packages
ARG PART
RUN python -m pip --python /opt/retinue/bin/python install --no-cache-dir --disable-pip-version-check \
       --require-hashes --no-deps --only-binary :all: -r "/locks/${PART}.lock"

FROM installer AS workflows-packages
RUN python -m pip --python /opt/retinue/bin/python install --no-cache-dir --disable-pip-version-check \
       --require-hashes --no-deps --only-binary :all: -r /locks/workflows.lock

FROM installer AS api-packages
RUN python -m pip --python /opt/retinue/bin/python install --no-cache-dir --disable-pip-version-check \
       --require-hashes --no-deps --only-binary :all: -r /locks/api.lock

FROM installer AS accounts-packages
RUN python -m pip --python /opt/retinue/bin/python install --no-cache-dir --disable-pip-version-check \
       --require-hashes --no-deps --only-binary :all: -r /locks/accounts.lock

FROM installer AS offline-packages
RUN python -m pip --python /opt/retinue/bin/python install --no-cache-dir --disable-pip-version-check \
       --require-hashes --no-deps --only-binary :all: -r /locks/offline.lock

# What other rooms may know of the capabilities: their contracts.
FROM ${BASE} AS contracts
COPY activities /activities
RUN find /activities -type f ! -name contract.py ! -name __init__.py -delete

FROM ground AS capability
ARG PART
COPY --from=capability-packages /opt/retinue /opt/retinue
COPY retinue /app/retinue
COPY workers /app/workers
COPY activities/__init__.py /app/activities/
COPY activities/${PART} /app/activities/${PART}
# Builds the worker without starting it: a package that is missing in the lock is found here, not in production.
RUN python -m compileall -q /app && python -P -m workers "${PART}" --check
USER 10001:10001

FROM ground AS workflows
COPY --from=workflows-packages /opt/retinue /opt/retinue
COPY retinue /app/retinue
COPY workers /app/workers
COPY workflows /app/workflows
COPY --from=contracts /activities /app/activities
RUN python -m compileall -q /app && python -P -m workers workflows --check
USER 10001:10001
CMD ["workers", "workflows"]

FROM ground AS offline
COPY --from=offline-packages /opt/retinue /opt/retinue
COPY offline /app/offline
RUN python -m compileall -q /app && python -P -c "import offline.app"
USER 10001:10001
EXPOSE 8089
CMD ["offline", "--host", "0.0.0.0", "--port", "8089"]

FROM ground AS accounts
COPY --from=accounts-packages /opt/retinue /opt/retinue
COPY retinue /app/retinue
COPY accounts /app/accounts
RUN python -m compileall -q /app && python -P -c "import accounts.app"
USER 10001:10001
EXPOSE 8010
CMD ["accounts"]

FROM ground AS api
COPY --from=api-packages /opt/retinue /opt/retinue
COPY retinue /app/retinue
COPY workflows /app/workflows
COPY --from=contracts /activities /app/activities
COPY api /app/api
COPY console /app/console
RUN python -m compileall -q /app && python -P -c "import api.app"
USER 10001:10001
EXPOSE 8000
CMD ["api"]
