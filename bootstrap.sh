#!/bin/sh
# Installs what zsofs needs, builds it once in .venv beside this file, and runs it.
# `./bootstrap.sh help` lists the commands.
set -eu
unset CDPATH

# ---- Required programs and libraries, and their Debian packages --------------------------------

mount_libraries='fuse3 liblz4 libzstd libdeflate' # as pkg-config calls them
mount_packages='python3 python3-venv python3-dev gcc libc6-dev pkg-config
    fuse3 libfuse3-dev liblz4-dev libzstd-dev libdeflate-dev'

test_programs='isoinfo 7z zip bzip2 xz zstd xorriso cmp rsync strace losetup mkfs.ext4 systemd-analyze unshare
    mkfs.xfs mkfs.exfat mount.exfat-fuse git fincore mandoc groff zsh fish bchunk cueprint cd-info'
test_packages='genisoimage p7zip-full zip bzip2 xz-utils zstd libarchive13 xorriso diffutils rsync strace mount e2fsprogs systemd
    xfsprogs exfatprogs exfat-fuse git util-linux util-linux-extra mandoc groff-base zsh fish
    bchunk cuetools libcdio-utils'

system_programs='qemu-system-x86_64 smbd smbclient ip fio debootstrap systemd-nspawn nsenter zstd
    lintian dpkg-deb dpkg-shlibdeps strip xz pipx promtool makeself chromium chromedriver'
system_packages='qemu-system-x86 samba smbclient iproute2 fio debootstrap systemd-container util-linux
    zstd lintian dpkg dpkg-dev binutils xz-utils pipx prometheus
    makeself libarchive-dev libarchive13 nettle-dev libbz2-dev zlib1g-dev chromium chromium-driver'

deb_programs='dpkg-deb dpkg-shlibdeps strip xz'
deb_packages='dpkg dpkg-dev binutils xz-utils'

portable_packages='makeself gcc binutils tar xz-utils gzip libarchive-dev libarchive13 nettle-dev libbz2-dev zlib1g-dev'

bench_programs='squashfuse_ll mksquashfs mkfs.erofs mkfs.exfat mount.exfat-fuse fio smbd smbclient tc'
bench_packages='squashfuse squashfs-tools erofs-utils exfatprogs exfat-fuse fio samba smbclient iproute2'

# The equivalent of mount_packages for systems without apt-get.
packages_elsewhere() {
    # shellcheck source=/dev/null
    case " $(. /etc/os-release 2>/dev/null && echo "${ID-} ${ID_LIKE-}") " in
    *' fedora '* | *' rhel '*)
        echo 'dnf install python3 python3-devel gcc pkgconf-pkg-config' \
            'fuse3 fuse3-devel lz4-devel libzstd-devel libdeflate-devel'
        ;;
    *' arch '*)
        echo 'pacman -S python gcc pkgconf fuse3 lz4 zstd libdeflate'
        ;;
    *' alpine '*)
        echo 'apk add python3 python3-dev gcc musl-dev linux-headers pkgconf' \
            'fuse3 fuse3-dev lz4-dev zstd-dev libdeflate-dev'
        ;;
    *suse*)
        echo 'zypper install python311 python311-devel gcc pkg-config' \
            'fuse3 fuse3-devel liblz4-devel libzstd-devel libdeflate-devel'
        ;;
    *)
        echo 'Python 3.11 or newer with its venv module and C headers, a C compiler, pkg-config,' \
            'fuse3, and the development files of libfuse3, liblz4, libzstd and libdeflate'
        ;;
    esac
}

# ---- Messages ----------------------------------------------------------------------------------

usage() {
    cat <<'END'
Installs what zsofs needs and builds it in .venv beside this file (both once),
then runs it. Every command of zsofs works, such as list, status and pack.

  ./bootstrap.sh mount ~/zso ~/iso     show the discs of ~/zso in ~/iso
  ./bootstrap.sh mount --demo          mount a sample disc at ~/zsofs-demo
  ./bootstrap.sh umount ~/iso          unmount
  ./bootstrap.sh install               install zsofs independently of this
                                       directory: as root for everyone,
                                       otherwise for you
  ./bootstrap.sh uninstall [--purge]   remove that installation; with --purge,
                                       also configs, logs and caches
  ./bootstrap.sh test [ARGUMENTS]      run the tests; pytest gets the arguments
  ./bootstrap.sh test --system         those that boot machines or use Samba
  ./bootstrap.sh test --coverage       run the tests with line coverage
  ./bootstrap.sh test --thorough       run the tests with more rounds and examples, and with
                                       branch coverage; 90 % of all lines have to be run
  ./bootstrap.sh docs                  build the documentation in docs/_build/html
  ./bootstrap.sh deb                   build a Debian package in dist/
  ./bootstrap.sh portable              build zsofs for any Linux in dist/
                                       (on Debian 12)
  ./bootstrap.sh container             build a container image of that in dist/
  ./bootstrap.sh sdist                 build a source distribution in dist/
  ./bootstrap.sh release [--twice]     build all of these, a wheel and the
                                       documentation in dist/, with checksums
  ./bootstrap.sh bench [--quick]       compare zsofs with other file systems
  ./bootstrap.sh --version             print the version

`./bootstrap.sh COMMAND --help` has the options of a command of zsofs.
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

# Exits after a logged command has failed.
die_with_log() {
    if grep -qE "$no_network" "$log"; then
        die "no network connection; the first start downloads what zsofs needs; connect," \
            "then run the command again (the log is $log)"
    fi
    tail -n 40 "$log" >&2
    die "$*"
}

# Error messages of apt-get and pip without a network connection.
no_network='Temporary failure (in name resolution|resolving)|Could not resolve|Network is unreachable'
no_network="$no_network|Failed to establish a new connection|NameResolutionError"

# ---- Installing packages -----------------------------------------------------------------------

# Prints the path of a Python that can build zsofs: that of the system, which matches the headers.
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

# install_packages PACKAGES: installs those that are missing, with apt-get.
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
        die "some packages are missing; install them as root, then run the command again:" \
            "apt-get update && $command"
    fi
    set -- "$@" DEBIAN_FRONTEND=noninteractive
    options='-q -o DPkg::Lock::Timeout=300'
    # shellcheck disable=SC2086 # lists of words
    {
        logged "$@" apt-get $options update || : # a failure shows in the installation
        fetched=$("$@" apt-get $options install --assume-no --no-install-recommends $packages \
            </dev/null 2>/dev/null | sed -n 's/^Need to get \([0-9.,]* [kMG]*B\).*/\1/p')
        [ -z "$fetched" ] || say "apt-get downloads $fetched"
        logged "$@" apt-get $options install -y --no-install-recommends $packages || {
            # An interrupted installation, possibly our own, has to be finished first.
            grep -q 'dpkg --configure -a' "$log" && logged "$@" dpkg --configure -a &&
                logged "$@" apt-get $options install -y --no-install-recommends $packages
        }
    } || die_with_log "the packages could not be installed; install them as root, then run the command again:" \
        "apt-get update && $command"
}

need_to_mount() {
    [ "$(missing_to_mount)" ] || return 0
    if command -v apt-get >/dev/null; then
        install_packages "$mount_packages"
        missing=$(missing_to_mount)
        [ -z "$missing" ] || die "required on this system but missing: $(listed "$missing")"
    else
        die "missing: $(listed "$(missing_to_mount)");" \
            "install as root, then run the command again: $(packages_elsewhere);" \
            "or use the portable build, which needs no Python and no compiler: see docs/install.md"
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
        die "required programs are missing: $(listed "$missing")"
    fi
}

# need_packages PACKAGES: for what only Debian can build.
need_packages() {
    command -v apt-get >/dev/null || die "this is built on Debian 12 only; this system has no apt-get"
    install_packages "$1"
}

# ---- Building ----------------------------------------------------------------------------------

# Prints what .venv was built from: its location, and all files that an editable install does not track.
describe_sources() {
    cd -- "$here"
    pwd -P
    cksum pyproject.toml zsofs/*/*.pyx zsofs/*/*.pxd zsofs/*/*.h
}

# Removes the files of an earlier build, possibly under other names.
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

# Returns whether the existing .venv can be updated, rather than created again.
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
        die_with_log "$4; see above and the log $log"
}

# Allows one build at a time; the lock is released when the process exits.
lock() {
    command -v flock >/dev/null || return 0
    exec 9<"$here/pyproject.toml"
    flock -n 9 || {
        say "waiting for another build to finish"
        # 124 and more: timeout; less: the file system does not support locks.
        timeout 900 flock 9 || [ $? -lt 124 ] ||
            die "another build has been running for 15 minutes; stop it, then run the command again"
    }
}

unlock() {
    exec 9<&-
}

# The programs that fail on a full disk cannot always log why: .venv has 67 MB, and what is compiled 14 MB.
need_space() {
    free=$(df -Pk -- "$here" | awk 'NR == 2 { print int($4 / 1024) }')
    [ "${free:-100}" -ge 100 ] ||
        die "zsofs must be built first, which takes 100 MB in $here; its disk has $free MB of free space"
}

build() {
    [ -w "$here" ] ||
        die "zsofs must be built first, and $here is not writable by this user;" \
            "run ./bootstrap.sh --version there as its owner, or clone the repository"
    if [ -e "$venv" ] && ! [ -w "$venv" ]; then
        die "$venv is owned by another user, for example after a run with sudo; remove it, then run the command again:" \
            "sudo rm -rf '$venv'"
    fi
    lock
    if ! stamped zsofs-built; then
        can_be_updated || rm -rf "$venv"
        [ -x "$venv/bin/python" ] || need_space
        mkdir -p "$venv"
        echo unfinished >"$venv/zsofs-built"
        log=$venv/bootstrap.log
        : >"$log"
        need_to_mount
        say "building (once, about a minute; pip downloads about 13 MB)"
        if ! [ -x "$venv/bin/python" ]; then
            logged "$(find_python)" -I -m venv "$venv" ||
                die_with_log "the virtual environment could not be created; see above and the log $log"
        fi
        remove_built "$here/zsofs"
        pip_install "$venv" --editable "$here[web]" "zsofs could not be built"
        stamp zsofs-built
    fi
    unlock
}

# ---- Called with sudo --------------------------------------------------------------------------

# Returns whether root runs this through sudo in a clone of the calling user. Files built here then have to
# belong to that user, or later runs without sudo could not use them.
is_called_by_owner() {
    [ "$(id -u)" = 0 ] && [ "${SUDO_UID:-0}" != 0 ] &&
        [ "$(stat -L -c %u -- "$here")" = "$SUDO_UID" ] && command -v setpriv >/dev/null
}

# as_caller COMMAND...: runs it as the user who called sudo, with that user's environment.
as_caller() {
    setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups --reset-env -- "$@"
}

# Returns whether a command has to run as root, given its name and arguments: a mount for other users or of a
# system config, and all commands that may involve files or mounts of other users.
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
    bench | container | deb | docs | portable | release | sdist | --*) return 1 ;;
    *) return 0 ;;
    esac
}

# Installs packages as root, and builds everything else as the caller.
run_for_caller() {
    log=$(mktemp)
    need_to_mount
    case $1 in
    test) need_programs "$test_programs" "$test_packages" ;;
    deb) need_programs "$deb_programs" "$deb_packages" ;;
    portable) need_packages "$portable_packages" ;;
    release)
        need_programs "$deb_programs" "$deb_packages"
        need_packages "$portable_packages"
        ;;
    bench) need_programs "$bench_programs" "$bench_packages" ;;
    esac
    rm -f "$log"
    if is_for_root "$@"; then
        as_caller "$here/bootstrap.sh" --version >/dev/null || exit
        return 0
    fi
    say "running as $SUDO_USER, not as root; sudo is not needed"
    as_caller "$here/bootstrap.sh" "$@"
    exit
}

# ---- Commands ----------------------------------------------------------------------------------

# Prints how tests are distributed, given the arguments for pytest: to 6 processes, because most of them
# wait, unless the arguments name files or specify it. On two cores, 4 took 432 s, and 6 took 383 s. System
# tests begin with those that take longest, in the order of tests/system/conftest.py.
distribution() {
    case " $marks $* " in
    *' no:xdist '* | *.py[\ :]* | *' --pdb '*) ;;
    ' system '*) echo '-n 4 --dist loadgroup --no-loadscope-reorder' ;;
    *) echo '-n 6 --dist loadgroup' ;;
    esac
}

run_test() {
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
    # Otherwise each process would compile all tests in each run, and a command that a test starts with
    # its own environment would not come from the fork server (tests/support/fork_server.py).
    unset PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
    need_programs "$test_programs" "$test_packages"
    if [ "$marks" = system ]; then
        need_programs "$system_programs" "$system_packages"
        need_programs npm npm # by itself: a Node.js from elsewhere has its own, and conflicts with Debian's
    fi
    cd -- "$here"
    if ! stamped zsofs-tests; then
        say "installing the test tools (once)"
        pip_install "$venv" --upgrade 'pip>=25.1' "pip could not be updated"
        pip_install "$venv" --group dev "the test tools could not be installed"
        stamp zsofs-tests
    fi
    if [ "$runner" ]; then
        export COVERAGE_FILE="$venv/coverage/lines"
        mkdir -p "$venv/coverage"
        chmod 1777 "$venv/coverage" # tests run processes of other users
        "$venv/bin/python" -m coverage erase
    fi
    status=0
    # shellcheck disable=SC2046,SC2086 # lists of words
    "$venv/bin/python" -m $runner pytest -m "$marks" $more $(distribution "$@") "$@" || status=$?
    if [ "$runner" ]; then
        "$venv/bin/python" -m coverage combine --quiet
        # Some of the tests run some of the lines.
        [ "$#-$marks" != '0-not system' ] || report_coverage || status=1
    fi
    return "$status"
}

# Prints which lines no test runs; fails if these are more than a tenth. Branches do not count.
report_coverage() {
    "$venv/bin/python" -m coverage report
    "$venv/bin/python" -m coverage json --quiet -o "$venv/coverage.json"
    "$venv/bin/python" -I - "$venv/coverage.json" <<'END'
import json, sys
with open(sys.argv[1]) as file:
    totals = json.load(file)["totals"]
percent = 100 * totals["covered_lines"] / totals["num_statements"]
print(f"{percent:.1f} % of all lines were run, and 90 % have to be")
sys.exit(percent < 90)
END
}

run_bench() {
    log=$venv/bootstrap.log
    need_programs "$bench_programs" "$bench_packages"
    cd -- "$here"
    if ! stamped zsofs-bench; then
        say "installing the benchmark tools (once)"
        pip_install "$venv" --upgrade 'pip>=25.1' "pip could not be updated"
        pip_install "$venv" --group bench "the benchmark tools could not be installed"
        stamp zsofs-bench
    fi
    exec "$venv/bin/python" -m bench "$@"
}

need_docs() {
    stamped zsofs-docs || {
        say "installing what the documentation needs (once; pip downloads about 20 MB)"
        pip_install "$venv" --upgrade 'pip>=25.1' "pip could not be updated"
        pip_install "$venv" --group docs "the tools for the documentation could not be installed"
        stamp zsofs-docs
    }
}

run_docs() {
    log=$venv/bootstrap.log
    cd -- "$here"
    need_docs
    exec "$venv/bin/python" -m sphinx -W --keep-going -q docs docs/_build/html "$@"
}

run_sdist() {
    log=$venv/bootstrap.log
    cd -- "$here"
    need_docs
    exec "$venv/bin/python" -m release.sdist
}

run_deb() {
    log=$venv/bootstrap.log
    need_programs "$deb_programs" "$deb_packages"
    cd -- "$here"
    # A source distribution has the man pages; a clone builds them.
    ! [ -e .git ] || need_docs
    say "building (about half a minute)"
    exec "$venv/bin/python" -m release.deb
}

run_portable() {
    log=$venv/bootstrap.log
    need_packages "$portable_packages"
    cd -- "$here"
    need_docs
    say "building (about two minutes; pip downloads about 16 MB)"
    exec "$venv/bin/python" -m release.portable
}

run_container() {
    cd -- "$here"
    exec "$venv/bin/python" -m release.container
}

run_release() {
    log=$venv/bootstrap.log
    need_programs "$deb_programs" "$deb_packages"
    need_packages "$portable_packages"
    cd -- "$here"
    need_docs
    exec "$venv/bin/python" -m release.everything "$@"
}

# Sets the installation paths: $lib, a directory of zsofs only, and $link. $units is the directory in which
# `zsofs service install` writes units.
find_places() {
    if [ "$(id -u)" = 0 ]; then
        lib=/usr/local/lib/zsofs
        link=/usr/local/bin/zsofs
        units=/etc/systemd/system
        for_user=''
    else
        [ "${HOME-}" ] || die "HOME is not set, so the installation directory is unknown"
        lib=${XDG_DATA_HOME:-$HOME/.local/share}/zsofs
        link=$HOME/.local/bin/zsofs
        units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
        for_user=' --user'
    fi
}

link_is_ours() {
    case $(readlink "$link") in
    "$lib"/*) return 0 ;;
    *) return 1 ;;
    esac
}

# starts_it UNIT: returns whether the unit starts the installed program. That of a user may be anything, for
# example on a share that hangs.
starts_it() {
    quoted=$(printf '%s\n' "$link" | sed -e 's/%/%%/g') # as written for a path with a blank
    [ -f "$1" ] &&
        timeout 10 grep -qF -e "ExecStart=$link " -e "ExecStart=\"$quoted\" " -- "$1" 2>/dev/null
}

# service_in UNITS: prints the first unit of a mount, a watch or the web page that starts the installed program.
service_in() {
    for found in "$1"/zsofs@.service "$1"/zsofs-*.service; do
        ! starts_it "$found" || {
            printf '%s\n' "$found"
            return
        }
    done
}

# Prints the users with user services, one per line; for root.
users_with_services() {
    [ "$(id -u)" = 0 ] || return 0
    { getent passwd 2>/dev/null || cat /etc/passwd; } |
        while IFS=: read -r user _ _ _ _ home _; do
            [ -z "$(service_in "$home/.config/systemd/user")" ] || printf '%s\n' "$user"
        done
}

# Builds the new version beside the old one; the link is changed when it works.
install_zsofs() {
    umask 022
    find_places
    if [ -e "$link" ] || [ -h "$link" ]; then
        link_is_ours || die "$link exists and was not created by this program; remove it first"
    fi
    mkdir -p "$lib" "${link%/*}"
    new=$lib/$(date +%Y%m%d-%H%M%S)-$$
    log=$lib/install.log
    : >"$log"
    trap 'rm -rf "$new"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    need_to_mount
    say "building for $lib (about a minute; pip downloads about 13 MB)"
    logged "$(find_python)" -I -m venv "$new" ||
        die_with_log "the virtual environment could not be created; see above and the log $log"
    # From a copy, because the build creates files beside the sources.
    mkdir "$new/source"
    cp "$here/pyproject.toml" "$here/README.md" "$here/LICENSE" "$new/source"
    cp -RL "$here/zsofs" "$new/source" # -L: zsofs/mount/units is a link to systemd
    remove_built "$new/source/zsofs"
    pip_install "$new" --no-warn-script-location "$new/source[web]" "zsofs could not be built"
    rm -rf "$new/source"
    logged "$new/bin/python" -I -m pip uninstall -y pip setuptools || :
    logged "$new/bin/zsofs" --version ||
        die_with_log "zsofs was built but does not run; see above and the log $log"
    ln -s "$new/bin/zsofs" "$link.$$"
    mv -f "$link.$$" "$link"
    link_helpers
    trap - EXIT
    for old in "$lib"/*; do
        [ "$old" = "$new" ] || rm -rf "$old"
    done
    say "installed: $link"
    if [ "$(service_in "$units")" ]; then
        say "services still run the previous version; restart each, or all with:" \
            "systemctl$for_user restart 'zsofs@*' 'zsofs-*'"
    fi
    users=$(users_with_services)
    [ -z "$users" ] ||
        say "services of $(listed "$users") also still run the previous version; as that user, restart all" \
            "with: systemctl --user restart 'zsofs@*' 'zsofs-*'"
    case ":$PATH:" in
    *":${link%/*}:"*) ;;
    *) say "${link%/*} is not on your PATH; run this, and add it to ~/.bashrc unless a new login does so: export PATH=\"${link%/*}:\$PATH\"" ;;
    esac
}

# The names of mount helpers for type zsofs; mount(8) searches only system directories.
helpers='/sbin/mount.zsofs /sbin/mount.fuse.zsofs'

link_helpers() {
    [ "$(id -u)" = 0 ] || return 0
    for helper in $helpers; do
        if [ -e "$helper" ] && [ "$(readlink "$helper")" != "$link" ]; then
            say "$helper was not created by this program and is left unchanged"
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
    case $#-${1-} in
    0-) purge='' ;;
    1---purge) purge=yes ;;
    *) die "uninstall has no such option: $*; its only option is --purge" ;;
    esac
    find_places
    remove="$link service remove$for_user"
    case $(service_in "$units") in
    '') ;;
    */zsofs-web.service) die "the service of the web page is still installed; remove it with: $remove --web" ;;
    *)
        list="$link service list$for_user"
        die "zsofs services are still installed; list them with: $list; remove each with: $remove NAME"
        ;;
    esac
    users=$(users_with_services)
    [ -z "$users" ] ||
        die "services of $(listed "$users") are still installed; as that user, list them with:" \
            "$link service list --user; remove each with: $link service remove --user NAME"
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
    purge_or_name
}

# Removes configs, logs and caches if $purge is set; otherwise prints where they are.
purge_or_name() {
    if [ "$(id -u)" = 0 ]; then
        set -- /etc/zsofs /var/cache/zsofs /var/cache/zsofs-watch /var/lib/zsofs-watch \
            /root/.cache/zsofs /root/.local/state/zsofs
    else
        set -- "${XDG_CONFIG_HOME:-$HOME/.config}/zsofs" "${XDG_CACHE_HOME:-$HOME/.cache}/zsofs" \
            "${XDG_STATE_HOME:-$HOME/.local/state}/zsofs"
    fi
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
    stays=${stays# }
    [ -z "$stays" ] ||
        say "configs, logs and caches were kept; remove them with: rm -r $stays"
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
    shift
    uninstall_zsofs "$@"
    exit
    ;;
esac

! is_called_by_owner || run_for_caller "$@"

sources=$(describe_sources)
venv=$here/.venv
case $1 in
test | bench | container | deb | docs | portable | release | sdist)
    is_own=yes # a command of this script
    ;;
*) is_own='' ;;
esac
if [ "$is_own" ] || ! stamped zsofs-built; then
    here=$(cd -- "$here" && pwd -P)
    venv=$here/.venv
    stamped zsofs-built || build
fi
if [ "$is_own" ]; then
    command=$1
    shift
    "run_$command" "$@"
    exit
fi
export ZSOFS_COMMAND="$0" # so that zsofs can show the command in hints
exec "$venv/bin/python" "$venv/bin/zsofs" "$@"
