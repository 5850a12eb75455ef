#!/bin/sh
# Installs the portable build of zsofs in this directory for this user; `zsofs uninstall` removes it.
set -eu
umask 022
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
build='@BUILD@'
glibc='@GLIBC@'
machine='@MACHINE@'
size=@SIZE@

say() {
    printf 'zsofs: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# write COMMAND...: runs what writes below $opt; cp reports each file, of which the first is the reason.
write() {
    reason=$("$@" 2>&1) || {
        reason=$(printf '%s\n' "$reason" | head -n 1)
        die "$opt cannot be written: $reason"
    }
}

system="$(uname -s) on $(uname -m)"
[ "$system" = "Linux on $machine" ] ||
    die "this build is for Linux on $machine, and this system is $system"
# "glibc 2.36"; systems with another C library have no such variable.
found=$(getconf GNU_LIBC_VERSION 2>/dev/null) || found=''
found=${found#glibc }
[ "$found" ] || die "this build needs glibc $glibc or newer, and this system has another C library"
oldest=$(printf '%s\n' "$found" "$glibc" | sort -V | head -n 1)
[ "$oldest" = "$glibc" ] ||
    die "this build needs glibc $glibc or newer, and this system has $found"
[ "${HOME-}" ] || die "HOME is not set, so the installation directory is unknown"

opt=$HOME/.local/opt/zsofs
link=$HOME/.local/bin/zsofs
data=${XDG_DATA_HOME:-$HOME/.local/share}
if [ -e "$link" ] || [ -h "$link" ]; then
    case $(readlink -- "$link") in
    "$opt"/*) ;;
    *) die "$link exists and was not created by this program; remove it first" ;;
    esac
fi

say "installing zsofs $build in $opt ($size MB)"
write mkdir -p "$opt" "${link%/*}"
new=$opt/$build
unfinished=$opt/unfinished.$$
trap 'rm -rf "$unfinished"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
write mkdir "$unfinished"
write cp -R "$here/." "$unfinished/"
if ! "$unfinished/zsofs" --version >/dev/null; then
    die "the program does not run from $opt; if its file system is mounted with noexec, nothing can run there"
fi
if [ -e "$new" ]; then # the same build again; a mount may use it
    mv "$new" "$opt/replaced.$$"
fi
mv "$unfinished" "$new"
sync "$new" 2>/dev/null || sync
trap - EXIT
ln -s "$build" "$opt/current.$$"
mv -Tf "$opt/current.$$" "$opt/current"
ln -s "$opt/current/zsofs" "$link.$$"
mv -f "$link.$$" "$link"

# link_all DIRECTORY: links to what the build has below share, where man and shells look for it.
(cd "$new/share" && find . -type f) | while IFS= read -r name; do
    name=${name#./}
    case $(readlink -- "$data/$name" 2>/dev/null) in
    "$opt"/*) ;;
    *) if [ -e "$data/$name" ] || [ -h "$data/$name" ]; then continue; fi ;;
    esac
    mkdir -p "$data/${name%/*}"
    ln -sfn "$opt/current/share/$name" "$data/$name"
done

# in_use DIRECTORY: whether a program in it runs, such as a mount.
in_use() {
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2>/dev/null) in
        "$1"/*) return 0 ;;
        esac
    done
    return 1
}

running=''
for old in "$opt"/*; do
    case $old in
    "$new" | "$opt/current") ;;
    *) if in_use "$old"; then running=yes; else rm -rf "$old"; fi ;;
    esac
done

say "installed: $link"
[ -z "$running" ] ||
    say "mounts still run the previous version; restart services with: systemctl --user restart 'zsofs@*' 'zsofs-*', and mount the others again"
command -v fusermount3 >/dev/null ||
    say "fusermount3 is missing, without which nothing can be mounted; install the package fuse3"
case ":$PATH:" in
*":${link%/*}:"*) ;;
*) say "${link%/*} is not on your PATH; run this, and add it to ~/.bashrc unless a new login does so: export PATH=\"${link%/*}:\$PATH\"" ;;
esac
