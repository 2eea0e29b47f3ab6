#!/usr/bin/env bash
# What `ray up` runs on every node: lwgan-dist with the versions of constraints.txt, in ~/venv. It may
# run again at any time; a change of the code or of this file makes `ray up` do so.
set -euo pipefail
cd "$(dirname "$0")/../.."

chmod 700 ~/.ray
chmod 600 ~/.ray/auth_token

if ! python3 -c 'import ensurepip' 2>/dev/null; then
  cloud-init status --wait >/dev/null || true # it holds the lock of apt while it updates a fresh machine
  sudo apt-get -o DPkg::Lock::Timeout=300 update -qq
  sudo DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qq -y python3-venv
fi
[[ -x ~/venv/bin/python ]] || python3 -m venv ~/venv

# torch first, to choose its build: with CUDA where there is a GPU, else without its gigabytes.
torch=(--constraint constraints.txt torch)
command -v nvidia-smi >/dev/null || torch=(--index-url https://download.pytorch.org/whl/cpu --no-deps "${torch[@]}")
~/venv/bin/python -m pip install --quiet "${torch[@]}"
~/venv/bin/python -m pip install --quiet --constraint constraints.txt '.[classical]'

# For `ray attach`, `ray exec` and `ray submit`.
# shellcheck disable=SC2016 # expanded there
line='export PATH="$HOME/venv/bin:$PATH" RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0'
grep -qxF "$line" ~/.bashrc || printf '%s\n' "$line" >>~/.bashrc
