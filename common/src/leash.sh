# Kills what a parent has listed when that parent ends. Standard input is a pipe of which the parent
# has the only write end, standard output the list: a process per line, or a group with a minus in
# front, or nothing.
trap '' HUP INT QUIT TERM USR1 USR2
# Returns when the pipe closes, which no way of dying can prevent; nothing is ever written to it.
read -r _
while read -r process <&1; do
    # Without `--`, which not every shell's own kill understands.
    [ -z "$process" ] || kill -KILL "$process"
done
