#!/usr/bin/env bash
# async-tiff for bench/p1_reading.py, in an environment of its own: build/peers/reading. Does nothing where it is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
PEER=build/peers/reading
if [ -e "$PEER/.installed" ]; then exit 0; fi
mkdir -p build/peers
python3 -m venv --clear "$PEER"
"$PEER/bin/pip" install --quiet --disable-pip-version-check async-tiff==0.7.2 numpy==2.4.6 obstore==0.12.1
touch "$PEER/.installed"
