#!/bin/sh
# Runs the valgrind that stands beside this file, with the tools unpacked with it.
here=${0%/*}
for folder in "$here"/unpacked/usr/libexec/valgrind "$here"/unpacked/usr/lib/*/valgrind; do
    if [ -d "$folder" ]; then
        VALGRIND_LIB=$folder
    fi
done
export VALGRIND_LIB
exec "$here/unpacked/usr/bin/valgrind" "$@"
