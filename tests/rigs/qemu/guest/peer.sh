# Case peer: the same transfers on our controller and on QEMU's in the same guest, one after the other.
. /case/storage.sh

# where CONTROLLER: USB device name of the stick behind the PCI function with that address
where() {
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        case $path in *:*) continue ;; esac
        case $(readlink -f "$path") in */"$1"/*) [ "$(cat "$path/idVendor")" = 46f4 ] && { echo "${path##*/}"; return 0; } ;; esac
    done
    return 1
}

there() { ours=$(where "$CASE_OURS") && peer=$(where "$CASE_PEER") && have_disk "$ours" && have_disk "$peer"; }

run() {
    await 60 there || { fail "not both sticks"; devices; return; }
    have_disk "$ours"; ours=/dev/$disk
    have_disk "$peer"; peer=/dev/$disk
    for round in 1 2 3; do
        # KIND SIZE COUNT THREADS
        while read -r kind size count threads; do
            for side in ours peer; do
                say "phase $side $round $kind $size $threads"
                sleep 0.4
                eval "device=\$$side"
                answer=$(timeout 120 bench "$device" "$kind" "$size" "$count" "$threads" 2>&1) || fail "bench $side $kind $size: $answer"
                say "phase idle"
                sleep 0.4
                say "bench $side $round $kind $size $threads $answer"
            done
        done </case/peer.list
    done
}
