# One image for API and workers. For GPUs: docker build --build-arg EXTRAS=[cuda] -t auditor:cuda .
# CUDA and cuDNN come as Python packages; the driver (580 or newer) comes from the host.
ARG PYTHON=3.13.7

FROM python:${PYTHON}-slim-trixie AS build
ARG EXTRAS=
WORKDIR /build
RUN python -m venv /opt/auditor
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY auditor auditor
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/auditor/bin/pip install --constraint requirements.lock ".${EXTRAS}"

FROM python:${PYTHON}-slim-trixie
COPY --from=build /opt/auditor /opt/auditor
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp auditor \
    && install --directory --owner auditor --group auditor --mode 0700 /data
ENV PATH=/opt/auditor/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AUDITOR_DATA=/data \
    AUDITOR_HOST=0.0.0.0 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER auditor
WORKDIR /tmp
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["auditor"]
CMD ["serve"]
