FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/pykvd \
 && /opt/pykvd/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.12-slim
RUN useradd --system --home-dir /var/lib/pykvd --create-home pykvd
COPY --from=build /opt/pykvd /opt/pykvd
ENV PATH=/opt/pykvd/bin:$PATH PYTHONUNBUFFERED=1
USER pykvd
WORKDIR /var/lib/pykvd
VOLUME /var/lib/pykvd
EXPOSE 2379 2380
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["pykvctl", "--endpoints", "http://127.0.0.1:2379", "endpoint", "health"]
# Flags and not variables: an option that comes both ways is refused, so these would be in the way.
CMD ["pykvd", "--data-dir", "/var/lib/pykvd/default.etcd", \
     "--listen-client-urls", "http://0.0.0.0:2379", \
     "--advertise-client-urls", "http://127.0.0.1:2379"]
