ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY . .
# The environment leaves out pip, which nobody needs any more once it is copied.
RUN python -m venv --without-pip /opt/pykvd \
 && pip --python /opt/pykvd install --no-cache-dir --only-binary :all: --constraint constraints.txt .

FROM ${BASE}
# A number, as only of a number is it known before the start that it is not root.
RUN groupadd --gid 2379 pykvd \
 && useradd --uid 2379 --gid 2379 --no-create-home --home-dir /var/lib/pykvd --shell /usr/sbin/nologin pykvd \
 && install --directory --owner 2379 --group 2379 --mode 700 /var/lib/pykvd
COPY --from=build /opt/pykvd /opt/pykvd
ENV PATH=/opt/pykvd/bin:$PATH PYTHONUNBUFFERED=1
USER 2379:2379
WORKDIR /var/lib/pykvd
VOLUME /var/lib/pykvd
EXPOSE 2379 2380
# Other endpoints, and certificates, are given in ETCDCTL_ENDPOINTS and its like.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["pykvctl", "endpoint", "health"]
# Flags and not variables: an option that comes both ways is refused, so these would be in the way.
CMD ["pykvd", "--data-dir", "/var/lib/pykvd/default.etcd", \
     "--listen-client-urls", "http://0.0.0.0:2379", \
     "--advertise-client-urls", "http://127.0.0.1:2379"]
