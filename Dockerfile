# One image for the command line, flows and workers. Build: docker build -t terraweft .
# The command runs as a user without rights beyond /data.
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

FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --uid 10001 terraweft \
 && install -d -o terraweft -g terraweft /data
COPY --from=build /opt/terraweft /opt/terraweft
ENV PATH=/opt/terraweft/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1
USER terraweft
WORKDIR /data
ENTRYPOINT ["terraweft"]
CMD ["--help"]
