# One image for the command line, flows and workers, and two small ones for the stack of docker-compose.yml.
#   docker build --target terraweft -t terraweft:0.1.0 .
# Commands run as a user without rights beyond /data.
FROM python:3.11-slim-bookworm AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --uid 10001 terraweft \
 && install -d -o terraweft -g terraweft /data
ENV PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1
USER terraweft
WORKDIR /data

FROM python:3.11-slim-bookworm AS build
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY captioners /src/captioners
COPY chips /src/chips
COPY flows /src/flows
COPY labelers /src/labelers
COPY recipes /src/recipes
COPY reference /src/reference
COPY reports /src/reports
COPY sandbox /src/sandbox
COPY schemas /src/schemas
COPY shards /src/shards
COPY sources /src/sources
COPY terraweft /src/terraweft
RUN python -m venv /opt/terraweft \
 && /opt/terraweft/bin/pip install --no-cache-dir -c /src/constraints.txt '/src[build,serve]'

FROM python:3.11-slim-bookworm AS build-stac
COPY tests/integration/stac_server_requirements.txt /src/requirements.txt
RUN python -m venv /opt/stac && /opt/stac/bin/pip install --no-cache-dir -r /src/requirements.txt

FROM python:3.11-slim-bookworm AS build-s3
COPY constraints.txt /src/
RUN python -m venv /opt/s3 && /opt/s3/bin/pip install --no-cache-dir -c /src/constraints.txt 'moto[server]'

FROM base AS stac
COPY --from=build-stac /opt/stac /opt/stac
ENV PATH=/opt/stac/bin:$PATH

FROM base AS s3
COPY --from=build-s3 /opt/s3 /opt/s3
ENV PATH=/opt/s3/bin:$PATH

FROM base AS terraweft
COPY --from=build /opt/terraweft /opt/terraweft
ENV PATH=/opt/terraweft/bin:$PATH
CMD ["terraweft", "--help"]
