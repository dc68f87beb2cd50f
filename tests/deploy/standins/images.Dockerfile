# Stand-ins for the images that the stack pulls, under their names.
ARG TOOLS
FROM ${TOOLS} AS postgres
ENV PATH=/usr/lib/postgresql/15/bin:$PATH \
    PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]

FROM ${TOOLS} AS admin-tools
USER 1000

FROM ${TOOLS} AS server
USER 1000
VOLUME /standin
ENTRYPOINT ["server-entrypoint"]

FROM ${TOOLS} AS ui
USER 1000
ENTRYPOINT ["ui-entrypoint"]
