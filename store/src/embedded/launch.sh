# Runs the server given as arguments, and ends it when our parent ends.
# Stdin is a pipe of which the parent holds the only write end; nothing is ever written to it.
exec 3<&0 </dev/null

# The server has no business with the pipe.
"$@" 3<&- &
server=$!
echo "$server" >server.pid

# The read returns when the pipe closes, which no way of dying can prevent. Descriptor 3, because
# a background job has /dev/null as stdin. The nap is waited for on each path: an orphan would
# stay as a zombie where process 1 does not collect them, as in many containers.
(
    read -r _ <&3
    # Two ways to wait the nap out after a server that ends quickly: a name for the nap comes after
    # the nap has begun, so `$!`, which is the server until then; and a nap that has just been
    # forked loses any signal but KILL, since it still has the handler of this trap.
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

# Some shells report the end of the watcher; in the log it would pass for the server's words.
exec 2>/dev/null
kill -TERM "$watcher"
wait
exit "$status"
