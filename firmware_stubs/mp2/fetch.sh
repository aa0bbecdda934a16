#!/bin/sh
# Kernel and busybox of the emulated MP2 board, from Debian's arm64 packages: about 22 MB.
# apt works on lists of its own in a temporary folder: needs no root, and leaves the system as it is.
#
#     fetch.sh [FOLDER]     default: $EDGEAI_MP2, or emulated-mp2 in edgeai's cache
set -eu

target=${1:-${EDGEAI_MP2:-${EDGEAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgeai}/emulated-mp2}}
for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || { echo "fetch.sh: $tool is missing: this needs a Debian system" >&2; exit 5; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root" "$target"
cd "$work"

arm64() {
    tool=$1
    shift
    "$tool" -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User= \
        -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$work/cache" "$@"
}

arm64 apt-get -qq update
kernel=$(arm64 apt-cache depends linux-image-cloud-arm64 | sed -n 's/.*Depends: \(linux-image-[^: ]*\).*/\1/p' | head -n 1)
[ -n "$kernel" ] || { echo "fetch.sh: these package sources hold no arm64 kernel" >&2; exit 5; }
arm64 apt-get -qq download "$kernel" busybox-static
for package in ./*.deb; do
    dpkg-deb -x "$package" root
done
# beside, then renamed: a killed download leaves nothing half there
for file in root/boot/vmlinuz-*; do cp "$file" "$target/.vmlinuz.part"; done
busybox=root/bin/busybox
[ -f "$busybox" ] || busybox=root/usr/bin/busybox
cp "$busybox" "$target/.busybox.part"
mv "$target/.vmlinuz.part" "$target/vmlinuz"
mv "$target/.busybox.part" "$target/busybox"
echo "$target: $kernel and busybox"
