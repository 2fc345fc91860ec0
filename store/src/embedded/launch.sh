# Runs the server given as arguments, and ends it when our parent ends.
# Stdin is a pipe with the parent's only write end; nothing is ever written to it.
exec 3<&0 </dev/null

# The server does not need the pipe.
"$@" 3<&- &
server=$!
echo "$server" >server.pid

# The read returns when the pipe closes, which happens however the parent ends. Descriptor 3,
# because a background job has /dev/null as stdin. Each path waits for the nap: an orphan would stay
# as a zombie if process 1 does not collect them, as in many containers.
(
    read -r _ <&3
    # Two races with a server that ends quickly: the nap begins before `$!` names it, and until then
    # `$!` is the server; and a nap that has just been forked handles only KILL, since it still has
    # the handler of this trap.
    trap 'test "$!" = "$server" || kill -KILL "$!"; wait; exit' TERM
    kill -TERM "$server"
    sleep 5 &
    wait "$!"
    kill -KILL "$server"
) 2>/dev/null &
watcher=$!

# The server's status becomes ours, so that the parent sees when and how it ended.
wait "$server"
status=$?

# Some shells report the end of the watcher; in the log it would look like the server's output.
exec 2>/dev/null
kill -TERM "$watcher"
wait
exit "$status"
