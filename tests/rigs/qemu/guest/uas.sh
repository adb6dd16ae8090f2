# Case uas: which driver took each stick, its data read and written, and many transfers at once on all of them in turn.
. /case/storage.sh

# at PCI PORT SPEED: the USB device there
at() {
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        case $path in *:*) continue ;; esac
        case $(readlink -f "$path") in */"$1"/*) ;; *) continue ;; esac
        [ "$(cat "$path/devpath")" = "$2" ] && [ "$(cat "$path/speed")" = "$3" ] && { echo "${path##*/}"; return 0; }
    done
    return 1
}

have_side() { name=$(at "$pci" "$port" "$speed") && have_disk "$name"; }

run() {
    : >/tmp/sides
    while read -r side where driver port speed hash; do
        pci=$CASE_OURS
        [ "$where" = ours ] || pci=$CASE_PEER
        await 60 have_side || { fail "no disk $side at port $port with $speed Mbit/s"; devices; continue; }
        bound=$(readlink "/sys/bus/usb/devices/$name:1.0/driver")
        [ "${bound##*/}" = "$driver" ] || fail "$side: driver ${bound##*/}, not $driver"
        depth=$(cat "/sys/block/$disk/device/queue_depth")
        got=$(dd if="/dev/$disk" bs=1M 2>>/out/errors | sha256sum | cut -d' ' -f1)
        if [ "$got" = "$hash" ]; then say "ok $side $speed Mbit/s is $disk on ${bound##*/}, queue depth $depth, read whole"; else fail "hash of $side: $got, not $hash"; fi
        echo "$side $disk" >>/tmp/sides
    done </case/expect
    [ "$(wc -l </tmp/sides)" -eq "$(wc -l </case/expect)" ] || return
    measure
    while read -r side disk; do
        case $side in super | high) write "$side" "$disk" ;; esac
    done </tmp/sides
    dmesg | grep -iE 'uas|xhci' >/out/dmesg-uas
    dmesg | grep -iE 'uas_eh|reset (high|Super)|cmd cmplt err|bogus|unexpected' >/out/complaints
    [ ! -s /out/complaints ] || fail "the kernel complained: $(head -n 1 /out/complaints)"
}

measure() {
    times=$((CASE_LONG ? 4 : 1))
    for round in $(seq "$((CASE_LONG ? 5 : 3))"); do
        while read -r kind size threads count; do
            sums=
            while read -r side disk; do
                answer=$(timeout 120 bench "/dev/$disk" "$kind" "$size" "$((count * times))" "$threads" 2>&1) || fail "bench $side $kind $size: $answer"
                say "bench $side $round $kind $size $threads $answer"
                # The image of the stick at high speed is another one.
                [ "$side" = high ] || [ "$kind" = write ] || sums="$sums ${answer##* }"
            done </tmp/sides
            [ "$(echo "$sums" | tr ' ' '\n' | grep . | sort -u | wc -l)" -le 1 ] || fail "$kind $size x$threads: the sides read different data:$sums"
        done <<ROWS
random 4096 1 100
random 4096 8 400
random 4096 16 400
read 65536 4 100
read 1048576 4 24
write 65536 4 100
ROWS
    done
}

# write SIDE DISK: four writers at once, a MiB each, read again from the disk
write() {
    dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
    for part in 0 1 2 3; do
        dd if=/tmp/data of="/dev/$2" bs=1M count=1 skip=$part seek=$part conv=fsync 2>>/out/errors &
    done
    wait
    echo 3 >/proc/sys/vm/drop_caches
    want=$(sha256sum </tmp/data | cut -d' ' -f1)
    got=$(dd if="/dev/$2" bs=1M count=4 2>>/out/errors | sha256sum | cut -d' ' -f1)
    if [ "$got" = "$want" ]; then say "ok $1 written and read again"; else fail "$1: what was written does not come back"; fi
    say "written $1 $want"
}
