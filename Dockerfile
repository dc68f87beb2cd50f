# One image for each process of Retinue, and none holds more than its process needs: the ground floor, its own code and
# what deploy/locks/<part>.lock pins.
#   docker build --target capability --build-arg PART=calendar .    runs as: workers calendar
#   docker build --target workflows .                               runs as: workers workflows
#   docker build --target api .                                     runs as: api
#   docker build --target accounts .                                runs as: accounts
#   docker build --target offline .                                 runs as: offline
ARG BASE=python:3.11-slim-bookworm
# Where packages are installed: the same Python in the same place, with pip and strip. Nothing but files is taken from it.
ARG BUILDER=python:3.11-bookworm
ARG PART=calendar

FROM ${BASE} AS ground
# The time, in seconds, that all files have which a build makes.
ARG SOURCE_DATE_EPOCH=315532800
LABEL org.opencontainers.image.title="Retinue" \
      org.opencontainers.image.description="A durable personal assistant made of MicroAgents" \
      org.opencontainers.image.licenses="Apache-2.0"

# The numbers are fixed: volumes and `runAsUser` rely on them. New volumes at /data and /blobs take their owner from here.
# Written by hand, as `useradd` notes the day.
RUN echo "retinue:x:10001:" >> /etc/group \
    && echo "retinue:x:10001:10001::/data:/usr/sbin/nologin" >> /etc/passwd \
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

# Below, each process has two stages. The first prepares its files: packages, code, compiled. The second copies them, owned by root, so
# that the process cannot change its own code, and builds the worker without starting it: a package that is missing in the
# lock is found here, not in production. .dockerignore says what can be copied at all.
FROM ${BUILDER} AS installer
ARG SOURCE_DATE_EPOCH=315532800
ENV SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH \
    PYTHONHASHSEED=0
RUN python -m venv --without-pip /opt/retinue
COPY deploy/image_files.py /tools/

# What all have.
FROM ${BUILDER} AS common
COPY LICENSE /app/
COPY deploy/__init__.py deploy/healthcheck.py deploy/sbom.py /app/deploy/

# What other rooms may know of the capabilities: their contracts.
FROM ${BUILDER} AS contracts
COPY activities /activities
RUN find /activities -type f ! -name contract.py ! -name __init__.py -delete

FROM installer AS capability-files
ARG PART
COPY deploy/locks/${PART}.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip python -P /tools/image_files.py packages "/locks/${PART}.lock"
COPY --from=common /app /app
COPY retinue /app/retinue
COPY workers /app/workers
COPY activities/__init__.py /app/activities/
COPY activities/${PART} /app/activities/${PART}
RUN PYTHONPATH=/app PYTHONPYCACHEPREFIX=/imported /opt/retinue/bin/python -P -m workers "${PART}" --check \
    && python -P /tools/image_files.py code

FROM ground AS capability
ARG PART
COPY --from=capability-files /opt/retinue /opt/retinue
COPY --from=capability-files /app /app
RUN python -P -m deploy.sbom --write "${PART}" && python -P -m workers "${PART}" --check
USER 10001:10001

FROM installer AS workflows-files
COPY deploy/locks/workflows.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip python -P /tools/image_files.py packages "/locks/workflows.lock"
COPY --from=common /app /app
COPY retinue /app/retinue
COPY workers /app/workers
COPY workflows /app/workflows
COPY --from=contracts /activities /app/activities
RUN PYTHONPATH=/app PYTHONPYCACHEPREFIX=/imported /opt/retinue/bin/python -P -m workers workflows --check \
    && python -P /tools/image_files.py code

FROM ground AS workflows
COPY --from=workflows-files /opt/retinue /opt/retinue
COPY --from=workflows-files /app /app
RUN python -P -m deploy.sbom --write workflows && python -P -m workers workflows --check
USER 10001:10001
CMD ["workers", "workflows"]

FROM installer AS offline-files
COPY deploy/locks/offline.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip python -P /tools/image_files.py packages "/locks/offline.lock"
COPY --from=common /app /app
COPY offline /app/offline
RUN PYTHONPATH=/app PYTHONPYCACHEPREFIX=/imported /opt/retinue/bin/python -P -c "import offline.app" \
    && python -P /tools/image_files.py code

FROM ground AS offline
COPY --from=offline-files /opt/retinue /opt/retinue
COPY --from=offline-files /app /app
RUN python -P -m deploy.sbom --write offline && python -P -c "import offline.app"
USER 10001:10001
EXPOSE 8089
CMD ["offline", "--host", "0.0.0.0", "--port", "8089"]

FROM installer AS accounts-files
COPY deploy/locks/accounts.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip python -P /tools/image_files.py packages "/locks/accounts.lock"
COPY --from=common /app /app
COPY retinue /app/retinue
COPY accounts /app/accounts
RUN PYTHONPATH=/app PYTHONPYCACHEPREFIX=/imported /opt/retinue/bin/python -P -c "import accounts.app" \
    && python -P /tools/image_files.py code

FROM ground AS accounts
COPY --from=accounts-files /opt/retinue /opt/retinue
COPY --from=accounts-files /app /app
RUN python -P -m deploy.sbom --write accounts && python -P -c "import accounts.app"
USER 10001:10001
EXPOSE 8010
CMD ["accounts"]

FROM installer AS api-files
COPY deploy/locks/api.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip python -P /tools/image_files.py packages "/locks/api.lock"
COPY --from=common /app /app
COPY retinue /app/retinue
COPY workflows /app/workflows
COPY --from=contracts /activities /app/activities
COPY api /app/api
COPY console /app/console
RUN PYTHONPATH=/app PYTHONPYCACHEPREFIX=/imported /opt/retinue/bin/python -P -c "import api.app" \
    && python -P /tools/image_files.py code

FROM ground AS api
COPY --from=api-files /opt/retinue /opt/retinue
COPY --from=api-files /app /app
RUN python -P -m deploy.sbom --write api && python -P -c "import api.app"
USER 10001:10001
EXPOSE 8000
CMD ["api"]
