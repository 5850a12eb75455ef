#!/bin/sh
# `zsofs` of the portable build: starts the program, which runs Python's library and needs its glibc.
glibc='@GLIBC@'

die() {
    printf 'zsofs: %s\n' "$*" >&2
    exit 5 # the system does not permit it
}

# "glibc 2.36"; systems with another C library have no such variable. One without getconf has to try.
found=$(getconf GNU_LIBC_VERSION 2>/dev/null) || [ $? -eq 127 ] ||
    die "this build needs glibc $glibc or newer, and this system has another C library"
found=${found#glibc }
minor=${found#*.}
if [ "${found%%.*}" = "${glibc%%.*}" ] && [ "${minor%%.*}" -lt "${glibc#*.}" ]; then
    die "this build needs glibc $glibc or newer, and this system has $found"
fi
ZSOFS_STARTED_AS=$0 # such as mount.zsofs, or the link that units name
export ZSOFS_STARTED_AS
here=$(readlink -f -- "$0")
exec "${here%/*}/program/zsofs" "$@"
