# Kills what a parent holds when that parent ends. A line of standard input is a place, and the
# process there (a group with a minus in front); without a process the place is free again.
trap '' HUP INT QUIT TERM USR1 USR2
most=0
while read -r place process; do
    eval "process_$place=\$process"
    [ "$place" -lt "$most" ] || most=$((place + 1))
done
# The pipe has closed, which no way of dying can prevent.
place=0
while [ "$place" -lt "$most" ]; do
    eval "process=\$process_$place"
    # Without `--`, which not every shell's own kill understands.
    [ -z "$process" ] || kill -KILL "$process"
    place=$((place + 1))
done
