#!/usr/bin/env bash
# The peers of bench/p10_coregistration.py in an environment of their own: AROSICS over Debian's GDAL, OpenCV and
# scikit-image. Written to build/peers/registration; does nothing where that is there already.
set -euo pipefail
cd "$(dirname "$0")/../.."
PEER=build/peers/registration
if [ -e "$PEER/.installed" ]; then exit 0; fi
if ! /usr/bin/python3 -c "from osgeo import gdal" 2>/dev/null; then
  as_root=""; if [ "$(id -u)" -ne 0 ]; then as_root="sudo"; fi
  $as_root apt-get update -qq
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-gdal python3-venv >/dev/null
fi
mkdir -p build/peers
/usr/bin/python3 -m venv --clear --system-site-packages "$PEER"
# Debian's GDAL bindings are built against numpy 1, and are older than AROSICS' own list asks for (they do): so its three
# packages come without their lists, and what they import by name.
"$PEER/bin/pip" install --quiet --disable-pip-version-check --no-deps arosics==1.13.2 geoarray py-tools-ds
"$PEER/bin/pip" install --quiet --disable-pip-version-check "numpy<2" "opencv-python-headless<4.12" "scikit-image<0.26" \
  scipy pandas geopandas shapely pyproj rasterio dill joblib matplotlib geojson plotly cmocean tqdm packaging six numba \
  pyfftw spectral folium cartopy
"$PEER/bin/python" -c "import arosics, cv2, skimage; print('arosics', arosics.__version__, 'opencv', cv2.__version__, 'scikit-image', skimage.__version__)"
touch "$PEER/.installed"
