#!/usr/bin/env bash
# litdata and mosaicml-streaming, peers of bench/p5_reading.py, in an environment of their own: build/peers/loaders. Without
# their own lists of dependencies (torchvision would want another torch): what they import is here, torch and NumPy are the
# project's. mosaicml-streaming imports torchvision and transformers for what is not used here: empty
# stand-ins serve.
set -euo pipefail
cd "$(dirname "$0")/../.."
PEER=build/peers/loaders
if [ -e "$PEER/.installed" ]; then exit 0; fi
mkdir -p build/peers
PYTHON="$1"
"$PYTHON" -m venv --clear "$PEER"
SITE=$("$PEER/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
"$PYTHON" -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$SITE/project.pth"
"$PEER/bin/pip" install --quiet --disable-pip-version-check --no-deps litdata==0.2.76 mosaicml-streaming==0.13.0 lightning-utilities \
  catalogue omegaconf antlr4-python3-runtime==4.9.3 xxhash zstd python-snappy cramjam Brotli
mkdir -p "$SITE/torchvision/transforms"
cat > "$SITE/torchvision/__init__.py" <<'STUB'
"""Stand-in: streaming.vision is imported and not used."""
STUB
cat > "$SITE/torchvision/transforms/__init__.py" <<'STUB'
"""Stand-in."""
STUB
cat > "$SITE/torchvision/transforms/functional.py" <<'STUB'
"""Stand-in."""
to_tensor = None
STUB
mkdir -p "$SITE/torchvision/datasets"
cat > "$SITE/torchvision/datasets/__init__.py" <<'STUB'
"""Stand-in."""
class VisionDataset: ...
class CIFAR10: ...
STUB
mkdir -p "$SITE/transformers/models/auto"
touch "$SITE/transformers/models/__init__.py" "$SITE/transformers/models/auto/__init__.py"
echo 'class AutoTokenizer: ...' > "$SITE/transformers/models/auto/tokenization_auto.py"
echo '"""Stand-in: names of batch types that are not used."""' > "$SITE/transformers/__init__.py"
echo 'class BatchFeature(dict): ...' > "$SITE/transformers/feature_extraction_utils.py"
echo 'class BatchEncoding(dict): ...' > "$SITE/transformers/tokenization_utils_base.py"
"$PEER/bin/python" -c "import litdata, streaming"
touch "$PEER/.installed"
