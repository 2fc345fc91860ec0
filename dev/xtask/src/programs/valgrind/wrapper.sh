#!/bin/sh
# Runs the valgrind that lies next to this file, with the tools unpacked with it. Debian has them in
# the first place, older and other systems in the second.
here=${0%/*}
for tool in "$here"/unpacked/usr/libexec/valgrind/callgrind-* \
    "$here"/unpacked/usr/lib/*/valgrind/callgrind-*; do
    if [ -e "$tool" ]; then
        VALGRIND_LIB=${tool%/*}
    fi
done
export VALGRIND_LIB
exec "$here/unpacked/usr/bin/valgrind" "$@"
