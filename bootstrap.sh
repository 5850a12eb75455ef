#!/bin/sh
# Installs what zsofs needs, builds it once in .venv beside this file, and runs it.
# `./bootstrap.sh help` says what it can do.
set -eu
unset CDPATH

# ---- What has to be there, and the Debian packages it comes in ---------------------------------

mount_libraries='fuse3 liblz4 libzstd libdeflate liblzma' # as pkg-config calls them
mount_packages='python3 python3-venv python3-dev gcc libc6-dev pkg-config
    fuse3 libfuse3-dev liblz4-dev libzstd-dev libdeflate-dev liblzma-dev'

test_programs='isoinfo 7z xorriso cmp rsync strace losetup mkfs.ext4 systemd-analyze unshare
    mkfs.xfs mkfs.exfat mount.exfat-fuse git fincore mandoc groff zsh fish'
test_packages='genisoimage p7zip-full xorriso diffutils rsync strace mount e2fsprogs systemd
    xfsprogs exfatprogs exfat-fuse git util-linux util-linux-extra mandoc groff-base zsh fish'

system_programs='qemu-system-x86_64 smbd smbclient ip fio debootstrap systemd-nspawn nsenter zstd
    lintian dpkg-deb dpkg-shlibdeps strip xz pipx'
system_packages='qemu-system-x86 samba smbclient iproute2 fio debootstrap systemd-container util-linux
    zstd lintian dpkg dpkg-dev binutils xz-utils pipx'

deb_programs='dpkg-deb dpkg-shlibdeps strip xz'
deb_packages='dpkg dpkg-dev binutils xz-utils'

bench_programs='squashfuse_ll mksquashfs fio smbd smbclient tc'
bench_packages='squashfuse squashfs-tools fio samba smbclient iproute2'

# The same as mount_packages for those who have no apt-get.
packages_elsewhere() {
    # shellcheck source=/dev/null
    case " $(. /etc/os-release 2>/dev/null && echo "${ID-} ${ID_LIKE-}") " in
    *' fedora '* | *' rhel '*)
        echo 'dnf install python3 python3-devel gcc pkgconf-pkg-config' \
            'fuse3 fuse3-devel lz4-devel libzstd-devel libdeflate-devel xz-devel'
        ;;
    *' arch '*)
        echo 'pacman -S python gcc pkgconf fuse3 lz4 zstd libdeflate xz'
        ;;
    *' alpine '*)
        echo 'apk add python3 python3-dev gcc musl-dev linux-headers pkgconf' \
            'fuse3 fuse3-dev lz4-dev zstd-dev libdeflate-dev xz-dev'
        ;;
    *suse*)
        echo 'zypper install python311 python311-devel gcc pkg-config' \
            'fuse3 fuse3-devel liblz4-devel libzstd-devel libdeflate-devel xz-devel'
        ;;
    *)
        echo 'Python 3.11 or newer with its venv module and C headers, a C compiler, pkg-config,' \
            'fuse3, and the development files of libfuse3, liblz4, libzstd, libdeflate and liblzma'
        ;;
    esac
}

# ---- Words -------------------------------------------------------------------------------------

usage() {
    cat <<'END'
Installs what zsofs needs (once), builds it in .venv beside this file (once), and runs it.

  ./bootstrap.sh mount ~/zso ~/iso     show the discs in ~/zso as .iso files in ~/iso
  ./bootstrap.sh mount --demo          mount a small sample disc, in ~/zsofs-demo
  ./bootstrap.sh umount ~/iso          take the mount down
  ./bootstrap.sh install               put zsofs on the PATH, independent of this folder:
                                       for everyone as root, else for you alone
  ./bootstrap.sh uninstall             remove that again
  ./bootstrap.sh test [ARGUMENTS]      run the tests; arguments go to pytest
  ./bootstrap.sh test --system         run the tests that need Samba, or boot machines
  ./bootstrap.sh test --coverage       run the tests and count the lines that they reach
  ./bootstrap.sh test --thorough       run the tests with more rounds and examples, and count
                                       the branches that they take
  ./bootstrap.sh deb                   make a Debian package in dist/
  ./bootstrap.sh bench [--quick]       measure zsofs beside other file systems
  ./bootstrap.sh --version             and everything else goes to zsofs itself

`./bootstrap.sh mount --help` explains mounting.
END
}

say() {
    printf 'zsofs: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# Runs a command with its output in $log.
logged() {
    printf '+ %s\n' "$*" >>"$log"
    "$@" </dev/null >>"$log" 2>&1
}

# For when a logged command has failed.
die_with_log() {
    if grep -qE "$no_network" "$log"; then
        die "there is no network, from which the first start fetches what zsofs needs; connect to one," \
            "then start again (what happened is in $log)"
    fi
    tail -n 40 "$log" >&2
    die "$*"
}

# What apt-get and pip say where there is none.
no_network='Temporary failure (in name resolution|resolving)|Could not resolve|Network is unreachable'
no_network="$no_network|Failed to establish a new connection|NameResolutionError"

# ---- Installing packages -----------------------------------------------------------------------

# Prints the path of a Python that can build zsofs: the system's own, which the headers fit.
find_python() {
    for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        "$candidate" -I - 2>/dev/null <<'END' && return
import ensurepip, os, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
if sys.version_info < (3, 11) or not os.path.exists(header):
    sys.exit(1)
print(os.path.realpath(sys.executable))
END
    done
    return 1
}

missing_to_mount() {
    find_python >/dev/null || echo 'Python 3.11 or newer with venv and its C headers'
    command -v cc >/dev/null || command -v gcc >/dev/null || echo 'a C compiler'
    command -v fusermount3 >/dev/null || echo 'fusermount3'
    if command -v pkg-config >/dev/null; then
        for library in $mount_libraries; do
            pkg-config --exists "$library" || echo "the development files of $library"
        done
    else
        echo 'pkg-config'
    fi
}

missing_programs() {
    for program in "$@"; do
        command -v "$program" >/dev/null || echo "$program"
    done
}

# Joins lines with commas.
listed() {
    printf '%s\n' "$1" | sed -e ':a' -e '$!N' -e 's/\n/, /' -e 'ta'
}

# install_packages PACKAGES: those of them that are missing, with apt-get.
install_packages() {
    packages=''
    for package in $1; do
        case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) in
        installed) ;;
        *) packages="$packages $package" ;;
        esac
    done
    [ "$packages" ] || return 0
    command="apt-get install --no-install-recommends$packages"
    if [ "$(id -u)" = 0 ]; then
        say "installing with apt-get:$packages"
        set -- env
    elif command -v sudo >/dev/null; then
        say "installing with sudo apt-get:$packages"
        set -- sudo env
    else
        die "some packages are missing; install them as root, then start again:" \
            "apt-get update && $command"
    fi
    set -- "$@" DEBIAN_FRONTEND=noninteractive
    options='-q -o DPkg::Lock::Timeout=300'
    # shellcheck disable=SC2086 # lists of words
    {
        logged "$@" apt-get $options update || : # the installation says whether that mattered
        fetched=$("$@" apt-get $options install --assume-no --no-install-recommends $packages \
            </dev/null 2>/dev/null | sed -n 's/^Need to get \([0-9.,]* [kMG]*B\).*/\1/p')
        [ -z "$fetched" ] || say "apt-get fetches $fetched"
        logged "$@" apt-get $options install -y --no-install-recommends $packages || {
            # An installation that was cut off, perhaps our own, has to be finished first.
            grep -q 'dpkg --configure -a' "$log" && logged "$@" dpkg --configure -a &&
                logged "$@" apt-get $options install -y --no-install-recommends $packages
        }
    } || die_with_log "the packages could not be installed; do it as root, then start again:" \
        "apt-get update && $command"
}

need_to_mount() {
    [ "$(missing_to_mount)" ] || return 0
    if command -v apt-get >/dev/null; then
        install_packages "$mount_packages"
        missing=$(missing_to_mount)
        [ -z "$missing" ] || die "this system does not have what zsofs needs: $(listed "$missing")"
    else
        die "this is missing: $(listed "$(missing_to_mount)");" \
            "install it as root, then start again: $(packages_elsewhere)"
    fi
}

# need_programs PROGRAMS PACKAGES
need_programs() {
    # shellcheck disable=SC2086 # a list of words
    missing=$(missing_programs $1)
    [ "$missing" ] || return 0
    if command -v apt-get >/dev/null; then
        install_packages "$2"
    else
        die "this uses these programs, which are missing: $(listed "$missing")"
    fi
}

# ---- Building ----------------------------------------------------------------------------------

# What .venv was built from: where it is, and everything that an editable install does not follow.
describe_sources() {
    cd -- "$here"
    pwd -P
    cksum pyproject.toml zsofs/*/*.pyx zsofs/*/*.pxd zsofs/*/*.h
}

# What an earlier build has left, maybe by other names.
remove_built() {
    find "$1" \( -name "*.c" -o -name "*.so" \) -type f -exec rm -f {} +
}

stamped() {
    interpreter=$(readlink -f -- "$venv/bin/python") || return 1
    [ -x "$interpreter" ] && [ -d "$venv/lib/${interpreter##*/}" ] && [ "$(cat "$venv/$1" 2>/dev/null)" = "$sources" ]
}

stamp() {
    printf '%s\n' "$sources" >"$venv/$1.new"
    mv -f "$venv/$1.new" "$venv/$1"
}

# Whether the .venv that is there can be brought up to date, rather than made anew.
can_be_updated() {
    if [ -e "$venv/zsofs-built" ]; then
        [ "$(head -n 1 "$venv/zsofs-built")" = "$(printf '%s\n' "$sources" | head -n 1)" ] ||
            return 1
    fi
    "$venv/bin/python" -I -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

pip_install() {
    logged env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 PIP_RETRIES=2 \
        "$1/bin/python" -I -m pip install "$2" "$3" ||
        die_with_log "$4; what happened is above and in $log"
}

# Only one at a time; the lock ends with the process.
lock() {
    command -v flock >/dev/null || return 0
    exec 9<"$here/pyproject.toml"
    flock -n 9 || {
        say "waiting for another start that is building"
        # 124 and more: that took too long; less: no locks on this file system.
        timeout 900 flock 9 || [ $? -lt 124 ] ||
            die "another start has been building for 15 minutes; end it, then start again"
    }
}

unlock() {
    exec 9<&-
}

build() {
    [ -w "$here" ] ||
        die "this has to be built first, and $here is not yours to write to;" \
            "run ./bootstrap.sh --version there as its owner, or make a clone of your own"
    if [ -e "$venv" ] && ! [ -w "$venv" ]; then
        die "$venv belongs to another user, as after a start with sudo; remove it, then start again:" \
            "sudo rm -rf '$venv'"
    fi
    lock
    if ! stamped zsofs-built; then
        can_be_updated || rm -rf "$venv"
        mkdir -p "$venv"
        echo unfinished >"$venv/zsofs-built"
        log=$venv/bootstrap.log
        : >"$log"
        need_to_mount
        say "building (once, about a minute; pip fetches about 13 MB)"
        if ! [ -x "$venv/bin/python" ]; then
            logged "$(find_python)" -I -m venv "$venv" ||
                die_with_log "the virtual environment could not be made; what happened is above and in $log"
        fi
        remove_built "$here/zsofs"
        pip_install "$venv" --editable "$here" "zsofs could not be built"
        stamp zsofs-built
    fi
    unlock
}

# ---- With sudo in front ------------------------------------------------------------------------

# Whether root runs this by sudo in a clone of the user who called it. What is built here then has to be
# that user's, or no later start without sudo could use it.
is_called_by_owner() {
    [ "$(id -u)" = 0 ] && [ "${SUDO_UID:-0}" != 0 ] &&
        [ "$(stat -L -c %u -- "$here")" = "$SUDO_UID" ] && command -v setpriv >/dev/null
}

# as_caller COMMAND...: runs it as the user who called sudo, in that user's environment.
as_caller() {
    setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups --reset-env -- "$@"
}

# Whether a command is for root, given its name and arguments: a mount that names other users, or that is
# in a config of the system's, and whatever may have to do with files or mounts of others.
is_for_root() {
    case $1 in
    mount)
        paths=''
        for word in "$@"; do
            case $word in
            *allow?other* | *setuid*) return 0 ;;
            */* | . | .. | --demo | --help | -h) paths=yes ;;
            esac
        done
        [ -z "$paths" ]
        ;;
    test)
        case " $* " in
        *' --system '*) return 0 ;;
        *) return 1 ;;
        esac
        ;;
    bench | deb | --*) return 1 ;;
    *) return 0 ;;
    esac
}

# Does what was meant: packages are installed as root, all else is built as the caller.
run_for_caller() {
    log=$(mktemp)
    need_to_mount
    case $1 in
    test) need_programs "$test_programs" "$test_packages" ;;
    deb) need_programs "$deb_programs" "$deb_packages" ;;
    bench) need_programs "$bench_programs" "$bench_packages" ;;
    esac
    rm -f "$log"
    if is_for_root "$@"; then
        as_caller "$here/bootstrap.sh" --version >/dev/null || exit
        return 0
    fi
    say "running as $SUDO_USER, not as root: sudo is not needed in front"
    as_caller "$here/bootstrap.sh" "$@"
    exit
}

# ---- Commands ----------------------------------------------------------------------------------

# Prints how tests are distributed, given the arguments for pytest: to 4 processes, because most of them
# wait, unless files are named or the arguments say otherwise. System tests share one machine.
distribution() {
    case " $marks $* " in
    ' system '* | *' no:xdist '* | *' tests/'* | *' ./tests'* | *' --pdb '* | *"/tests/"*) ;;
    *) echo '-n 4 --dist loadgroup' ;;
    esac
}

run_tests() {
    marks='not system'
    runner=''
    more=''
    while :; do
        case ${1-} in
        --system) marks='system' ;;
        --coverage) runner='coverage run -m' ;;
        --thorough) runner='coverage run --branch -m' more='--thorough' ;;
        *) break ;;
        esac
        shift
    done
    log=$venv/bootstrap.log
    need_programs "$test_programs" "$test_packages"
    [ "$marks" != system ] || need_programs "$system_programs" "$system_packages"
    cd -- "$here"
    if ! stamped zsofs-tests; then
        say "installing what the tests need (once)"
        pip_install "$venv" --upgrade 'pip>=25.1' "pip could not be updated"
        pip_install "$venv" --group dev "the tools for the tests could not be installed"
        stamp zsofs-tests
    fi
    [ -z "$runner" ] || "$venv/bin/python" -m coverage erase
    status=0
    # shellcheck disable=SC2046,SC2086 # lists of words
    "$venv/bin/python" -m $runner pytest -m "$marks" $more $(distribution "$@") "$@" || status=$?
    [ -z "$runner" ] || "$venv/bin/python" -m coverage combine --quiet
    return "$status"
}

run_bench() {
    log=$venv/bootstrap.log
    need_programs "$bench_programs" "$bench_packages"
    cd -- "$here"
    if ! stamped zsofs-bench; then
        say "installing what the benchmark needs (once)"
        pip_install "$venv" --upgrade 'pip>=25.1' "pip could not be updated"
        pip_install "$venv" --group bench "the tools for the benchmark could not be installed"
        stamp zsofs-bench
    fi
    exec "$venv/bin/python" -m bench "$@"
}

run_deb() {
    log=$venv/bootstrap.log
    need_programs "$deb_programs" "$deb_packages"
    cd -- "$here"
    say "building (about half a minute)"
    exec "$venv/bin/python" -m release.deb
}

# Where `install` puts things: sets $lib, a folder of our own, and $link. $unit is where `zsofs service
# install` writes how services are started.
find_places() {
    if [ "$(id -u)" = 0 ]; then
        lib=/usr/local/lib/zsofs
        link=/usr/local/bin/zsofs
        unit=/etc/systemd/system/zsofs@.service
        for_user=''
    else
        [ "${HOME-}" ] || die "HOME is not set, so there is no place to install to"
        lib=${XDG_DATA_HOME:-$HOME/.local/share}/zsofs
        link=$HOME/.local/bin/zsofs
        unit=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/zsofs@.service
        for_user=' --user'
    fi
}

link_is_ours() {
    case $(readlink "$link") in
    "$lib"/*) return 0 ;;
    *) return 1 ;;
    esac
}

# starts_it UNIT: whether that starts what is installed. A user's own may be anything, such as on a share
# that hangs.
starts_it() {
    quoted=$(printf '%s\n' "$link" | sed -e 's/%/%%/g') # as it is where it has a blank
    [ -f "$1" ] &&
        timeout 10 grep -qF -e "ExecStart=$link " -e "ExecStart=\"$quoted\" " -- "$1" 2>/dev/null
}

# As root: the users who have made services for themselves, one a line.
users_with_services() {
    [ "$(id -u)" = 0 ] || return 0
    { getent passwd 2>/dev/null || cat /etc/passwd; } |
        while IFS=: read -r user _ _ _ _ home _; do
            ! starts_it "$home/.config/systemd/user/zsofs@.service" || printf '%s\n' "$user"
        done
}

# The new version is built beside the old one; the link changes when it works.
install_zsofs() {
    umask 022
    find_places
    if [ -e "$link" ] || [ -h "$link" ]; then
        link_is_ours || die "$link exists and was not made by this program; remove it first"
    fi
    mkdir -p "$lib" "${link%/*}"
    new=$lib/$(date +%Y%m%d-%H%M%S)-$$
    log=$lib/install.log
    : >"$log"
    trap 'rm -rf "$new"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    need_to_mount
    say "building for $lib (about a minute; pip fetches about 13 MB)"
    logged "$(find_python)" -I -m venv "$new" ||
        die_with_log "the virtual environment could not be made; what happened is above and in $log"
    # From a copy: the build leaves its own files beside the sources.
    mkdir "$new/source"
    cp "$here/pyproject.toml" "$here/README.md" "$here/LICENSE" "$new/source"
    cp -RL "$here/zsofs" "$new/source" # -L: zsofs/mount/units is a link to systemd
    remove_built "$new/source/zsofs"
    pip_install "$new" --no-warn-script-location "$new/source" "zsofs could not be built"
    rm -rf "$new/source"
    logged "$new/bin/python" -I -m pip uninstall -y pip setuptools || :
    logged "$new/bin/zsofs" --version ||
        die_with_log "zsofs was built but does not run; what happened is above and in $log"
    ln -s "$new/bin/zsofs" "$link.$$"
    mv -f "$link.$$" "$link"
    link_helpers
    trap - EXIT
    for old in "$lib"/*; do
        [ "$old" = "$new" ] || rm -rf "$old"
    done
    say "installed: $link"
    if starts_it "$unit"; then
        say "services go on with the version before; start each anew, or all with:" \
            "systemctl$for_user restart 'zsofs@*'"
    fi
    users=$(users_with_services)
    [ -z "$users" ] ||
        say "services of $(listed "$users") go on with the version before, too; as that user start all" \
            "anew with: systemctl --user restart 'zsofs@*'"
    case ":$PATH:" in
    *":${link%/*}:"*) ;;
    *) say "${link%/*} is not on your PATH; log in again, or run: export PATH=\"${link%/*}:\$PATH\"" ;;
    esac
}

# Under the names by which mount(8) looks for what mounts type zsofs; only root's are looked for.
helpers='/sbin/mount.zsofs /sbin/mount.fuse.zsofs'

link_helpers() {
    [ "$(id -u)" = 0 ] || return 0
    for helper in $helpers; do
        if [ -e "$helper" ] && [ "$(readlink "$helper")" != "$link" ]; then
            say "$helper was not made by this program and stays as it is"
        else
            ln -sf "$link" "$helper"
        fi
    done
}

unlink_helpers() {
    for helper in $helpers; do
        [ "$(readlink "$helper")" != "$link" ] || rm -f "$helper"
    done
}

uninstall_zsofs() {
    find_places
    if starts_it "$unit"; then
        list="$link service list$for_user"
        remove="$link service remove$for_user"
        die "there are services that need it; see which with: $list; remove each with: $remove NAME"
    fi
    users=$(users_with_services)
    [ -z "$users" ] ||
        die "there are services of $(listed "$users") that need it; see which, as that user, with:" \
            "$link service list --user; remove each with: $link service remove --user NAME"
    say_what_stays
    [ "$(id -u)" != 0 ] || unlink_helpers
    if [ -h "$link" ] && link_is_ours; then
        rm -f "$link"
        say "removed: $link"
    fi
    if [ -d "$lib" ]; then
        rm -rf "$lib"
        say "removed: $lib"
    else
        say "nothing is installed in $lib"
    fi
}

# Configurations, and what was found out about discs, are not the program's to take away.
say_what_stays() {
    if [ "$(id -u)" = 0 ]; then
        set -- /etc/zsofs /var/cache/zsofs /root/.cache/zsofs /root/.local/state/zsofs
    else
        set -- "${XDG_CONFIG_HOME:-$HOME/.config}/zsofs" "${XDG_CACHE_HOME:-$HOME/.cache}/zsofs" \
            "${XDG_STATE_HOME:-$HOME/.local/state}/zsofs"
    fi
    stays=''
    for place in "$@"; do
        [ ! -e "$place" ] || stays="$stays '$place'"
    done
    stays=${stays# }
    [ -z "$stays" ] ||
        say "configurations, logs and what was found about discs stay; remove them with: rm -r $stays"
}

# ---- Start -------------------------------------------------------------------------------------

case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
if [ -h "$0" ]; then
    here=$(readlink -f -- "$0")
    here=${here%/*}
fi

case ${1-} in
'' | help | -h | --help)
    usage
    exit
    ;;
install)
    here=$(cd -- "$here" && pwd -P)
    install_zsofs
    exit
    ;;
uninstall)
    uninstall_zsofs
    exit
    ;;
esac

! is_called_by_owner || run_for_caller "$@"

sources=$(describe_sources)
venv=$here/.venv
if ! stamped zsofs-built || [ "$1" = test ] || [ "$1" = bench ] || [ "$1" = deb ]; then
    here=$(cd -- "$here" && pwd -P)
    venv=$here/.venv
    stamped zsofs-built || build
fi
if [ "$1" = test ]; then
    shift
    run_tests "$@"
    exit
fi
if [ "$1" = bench ]; then
    shift
    run_bench "$@"
fi
if [ "$1" = deb ]; then
    run_deb
fi
export ZSOFS_COMMAND="$0" # so that zsofs can say how to call it
exec "$venv/bin/python" "$venv/bin/zsofs" "$@"
