# The selected model as a server, without TensorFlow: docs/deploy.md. `dvc repro` comes first, which makes exports/.
#   docker build --tag classifier . && docker run --publish 8000:8000 --read-only classifier
FROM python:3.13-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
COPY requirements-serve.txt .
RUN pip install --no-cache-dir --no-deps --only-binary :all: --requirement requirements-serve.txt \
    && python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
COPY LICENSE params.yaml ./
COPY stages stages
COPY commands commands
COPY exports model
USER 65534:65534
EXPOSE 8000
HEALTHCHECK --start-period=10s --interval=10s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# as a list, so that the server itself gets the signal to stop
ENTRYPOINT ["python", "-m", "commands.serve", "--model", "model", "--host", "0.0.0.0"]
