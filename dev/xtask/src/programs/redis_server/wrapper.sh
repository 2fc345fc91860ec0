#!/bin/sh
# Runs the server that lies next to this file, with the libraries unpacked with it.
here=${0%/*}
for folder in @LIBRARIES@; do
    LD_LIBRARY_PATH=$here/$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
# exec: the starting process must get the server's own process id.
exec "$here/unpacked/usr/bin/@PROGRAM@" "$@"
