# Case hvm-speed: the same direct transfers on our stick and on the peer's, in turn; dom0 counts.
place_of() { # SERIAL
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        [ -f "$path/serial" ] && read -r serial <"$path/serial" && [ "$serial" = "$1" ] && { place=${path##*/}; return 0; }
    done
    return 1
}
both_there() { place_of ours && disk_on "$place" && ours=$disk && place_of peer && disk_on "$place" && peer=$disk; }

# measure WORD SIDE ROUND read|write BYTES COUNT
measure() {
    eval "device=/dev/\$$2"
    step "$*"
    answer=$(timeout 120 bench "$device" "$4" "$5" "$6" 1 2>&1) || { fail "$*: $answer"; answer="0 0 0 0 -"; }
    step "done $answer"
}

run() {
    open_line || { fail "no line to dom0"; return; }
    await 60 both_there || { fail "ours '$ours', peer '$peer'"; return; }
    for round in $(seq "$ROUNDS"); do
        for kind in read write; do
            for pair in 4096:40 65536:40 1048576:12; do
                for side in ours peer; do measure bench $side "$round" $kind "${pair%:*}" "${pair#*:}"; done
            done
        done
    done
    for kind in read write; do
        for size in 4096 65536 1048576; do
            for side in ours peer; do measure traced $side 1 $kind $size 6; done
        done
    done
    step end
}
