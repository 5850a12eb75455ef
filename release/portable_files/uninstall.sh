#!/bin/sh
# `zsofs uninstall [--purge]` of the portable build: removes what install.sh has installed for this user.
set -eu

say() {
    printf 'zsofs: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

case ${1-} in
--purge) purge=yes ;;
*) purge='' ;;
esac
[ "${HOME-}" ] || die "HOME is not set, so the installation directory is unknown"
opt=$HOME/.local/opt/zsofs
link=$HOME/.local/bin/zsofs
data=${XDG_DATA_HOME:-$HOME/.local/share}
configs=${XDG_CONFIG_HOME:-$HOME/.config}
[ -d "$opt" ] || die "nothing is installed in $opt"

list='zsofs service list --user'
remove='zsofs service remove --user'
for unit in "$configs"/systemd/user/zsofs*.service; do # mounts, watches, and the web page
    [ -f "$unit" ] && grep -qF "$link" "$unit" || continue
    case $unit in
    */zsofs-web.service) die "the service of the web page is still installed; remove it with: $remove --web" ;;
    *) die "zsofs services are still installed; list them with: $list; remove each with: $remove NAME" ;;
    esac
done
for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" 2>/dev/null) in
    "$opt"/*) die "mounts are still running; list them with: zsofs status; unmount each with: zsofs umount MOUNTPOINT" ;;
    esac
done

if [ -d "$opt/current/share" ]; then
    (cd "$opt/current/share" && find . -type f) | while IFS= read -r name; do
        name=${name#./}
        case $(readlink -- "$data/$name" 2>/dev/null) in
        "$opt"/*) rm -f "$data/$name" ;;
        esac
    done
    # Directories that are empty now; those of other programs are not.
    (cd "$opt/current/share" && find . -depth -type d) | while IFS= read -r name; do
        rmdir "$data/${name#./}" 2>/dev/null || :
    done
fi
case $(readlink -- "$link" 2>/dev/null) in
"$opt"/*) rm -f "$link" ;;
esac
rm -rf "$opt"
rmdir "$HOME/.local/opt" 2>/dev/null || :
say "removed: $link and $opt"

set -- "$configs/zsofs" "${XDG_CACHE_HOME:-$HOME/.cache}/zsofs" "${XDG_STATE_HOME:-$HOME/.local/state}/zsofs"
stays=''
for place in "$@"; do
    [ -e "$place" ] || continue
    if [ "$purge" ]; then
        rm -rf "$place"
        say "removed: $place"
    else
        stays="$stays '$place'"
    fi
done
[ -z "$stays" ] || say "configs, logs and caches were kept; remove them with: rm -r$stays"
