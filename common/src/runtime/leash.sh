# Kills the listed processes when the parent ends. Standard input is a pipe with the parent's only
# write end, standard output the list: a process per line, or a group with a leading minus, or a
# blank line.
trap '' HUP INT QUIT TERM USR1 USR2
# Returns when the pipe closes, which happens however the parent ends; nothing is written to it.
read -r _
while read -r process <&1; do
    # Without `--`, which some shells' own kill does not understand.
    [ -z "$process" ] || kill -KILL "$process"
done
