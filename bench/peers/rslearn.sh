#!/usr/bin/env bash
# rslearn, a peer of bench/p0_main_job.py, in an environment of its own: build/peers/rslearn. It comes without its own list
# of dependencies (torchvision would want another torch): what it imports is here, the rest is the project's environment.
set -euo pipefail
cd "$(dirname "$0")/../.."
PEER=build/peers/rslearn
if [ -e "$PEER/.installed" ]; then exit 0; fi
mkdir -p build/peers
PYTHON="$1"
"$PYTHON" -m venv --clear "$PEER"
"$PYTHON" -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$("$PEER/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/project.pth"
"$PEER/bin/pip" install --quiet --disable-pip-version-check --no-deps rslearn==0.1.19 planetary-computer==1.0.0 \
  pytimeparse==1.1.10 universal-pathlib==0.3.10 pathlib-abc==0.5.2 jsonargparse==4.53.0 lightning==2.6.6 \
  lightning-utilities==0.15.3 pytorch-lightning==2.6.6 torchmetrics==1.9.0 fiona==1.10.1 soilgrids==0.1.5 \
  class-registry==2.1.2 typeshed_client==2.14.0 importlib-resources==7.1.0 einops==0.8.2
"$PEER/bin/python" -c "import rslearn.main, rslearn.data_sources.planetary_computer"
touch "$PEER/.installed"
